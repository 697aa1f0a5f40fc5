"""Operators in Triton, for CUDA."""
