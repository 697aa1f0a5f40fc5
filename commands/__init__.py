"""What the scripts call: options, configuration, and the plan and start of a run."""
