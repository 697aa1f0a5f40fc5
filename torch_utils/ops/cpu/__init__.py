"""Operators in C++ for the CPU."""
