"""Helpers for torch that know nothing of GANs."""
