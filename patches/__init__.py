"""Runs an NVLabs checkout, and the plugin inside of it, under a current PyTorch: `python -m patches PATH`.

A patch is a module with MENDS (one line: what breaks), DELETE (when the patch may go), applies(checkout) -> bool (whether it
breaks here) and patched() -> context manager, which undoes it at its end. Nothing in the checkout is changed. This package
imports none of the packages that a checkout has too, or they would take the place of the checkout's.
"""
