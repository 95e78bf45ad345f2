"""Somebody's own gradient descent for linear models, in plain NumPy."""

import numpy as np


def train(X, y, lr, epochs, w0):
    """Fit y ≈ X w by full-batch gradient descent; return w and loss at every epoch.

    The loss is the mean of the squared residuals.
    """
    w = np.array(w0)
    w_history, loss_history = [w], []
    for _ in range(epochs):
        residual = X @ w - y
        loss_history.append(np.mean(residual**2))  # of the w before the update
        gradient = 2 / len(y) * X.T @ residual
        w = w - lr * gradient
        w_history.append(w)
    return np.array(w_history), np.array(loss_history)
