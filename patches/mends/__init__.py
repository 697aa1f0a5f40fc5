"""One file a patch: what it mends, when it applies, how it is undone."""
