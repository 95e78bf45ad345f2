"""Samples to second moments: the sums over pairs of columns that a fit descends on."""
