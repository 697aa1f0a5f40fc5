"""The page of view.py."""
