"""How good the transfer is: ways to start, methods, amounts of data."""
