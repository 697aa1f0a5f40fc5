"""report.html of a training run: `python -m training.report`."""
