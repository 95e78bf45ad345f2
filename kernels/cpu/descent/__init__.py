"""Gradient descent, one fit at a time."""
