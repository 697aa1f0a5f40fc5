"""Metrics that look at one class at a time."""
