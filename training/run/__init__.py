"""The files of a run: its directory, record, lock and progress."""
