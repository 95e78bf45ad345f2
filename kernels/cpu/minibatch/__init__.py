"""Mini-batches: the order of an epoch, gathered rows, and the epochs of a descent on batches."""
