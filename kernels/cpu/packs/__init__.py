"""Gradient descent of SGD on moments, 32 fits at a time."""
