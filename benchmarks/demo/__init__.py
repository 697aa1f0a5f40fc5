"""The main job on built-in data, judged."""
