"""Histories of torch.autograd, right and with planted defects, and the verdict on them."""

from typing import NamedTuple

import numpy as np
import torch

from fastgd.testing import NamedProblem
from fastgd.verification.bound import check_history

SOMEBODY_ELSES = 8.0  # the share of the bound that any correct implementation stays below (docs/error-bound.md)
DTYPES = ("float32", "float64")


class History(NamedTuple):
    w: np.ndarray  # (epochs + 1, D)
    loss: np.ndarray  # (epochs + 1,)


def torch_history(problem: NamedProblem, lr: float, epochs: int, reduction="mean", gradient_factor=1.0, loss_after=False) -> History:
    """Descend with torch.autograd; the factor on the gradient and the late loss are planted
    defects."""
    X, y, w = torch.tensor(problem.X), torch.tensor(problem.y), torch.tensor(problem.w0, requires_grad=True)
    history = History([], [])
    for _ in range(epochs + 1):
        residual = X @ w[: problem.n_features] + (w[-1] if problem.intercept else 0) - y
        squares = residual * residual
        gradient = torch.autograd.grad(squares.mean() if reduction == "mean" else squares.sum(), w)[0]
        history.w.append(w.detach().numpy().copy())
        with torch.no_grad():
            w -= lr * (gradient_factor * gradient)
            if loss_after:
                squares = (X @ w - y) ** 2
        history.loss.append(squares.mean().item())
    return History(np.array(history.w), np.array(history.loss))


def judge(problem: NamedProblem, history: History, lr, **options):
    dtype = problem.X.dtype
    return check_history(problem.X, problem.y, history.w, history.loss, lr=lr, dtype=dtype, intercept=problem.intercept, **options)
