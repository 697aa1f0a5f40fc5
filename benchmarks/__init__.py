"""Experiments: each one command, each writes a table and a plot. `python -m benchmarks.demo`, `.speed`, `.transfer`."""
