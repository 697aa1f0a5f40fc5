"""Pickles and weight files, read without running them."""
