"""How far gradient descent may still be from the closed-form least-squares solution."""

from __future__ import annotations

import numpy as np

from ..verification.bound import propagated_bound


def share_of_distance(X: np.ndarray, y: np.ndarray, history: np.ndarray, *, lr: float, intercept: bool, higher: bool = False) -> float:
    """Return the distance of the last w from closed-form least squares, as a share of its bound.

    The start is 0. With the eigenvalues λ and eigenvectors V of the Hessian of the mean loss, after
    t epochs::

        |w_t − w*| ≤ |V| |1 − lr λ|ᵗ |Vᵀw*|  +  propagated rounding errors  +  ‖∇loss(ŵ)‖ / λ_min

    The first term is the distance that exact gradient descent still has. The last term bounds the
    error of the computed solution ŵ: its gradient is evaluated in extended precision, with a bound
    of the rounding. No term grows with an error of w_t.
    """
    n, wide = len(X), np.longdouble
    design = (np.column_stack([X, np.ones(n)]) if intercept else X).astype(np.float64)
    closed = np.linalg.lstsq(design, y.astype(np.float64))[0]
    eigenvalues, V = np.linalg.eigh(2 / n * design.T @ design)
    left = np.abs(V) @ (np.abs(1 - lr * eigenvalues) ** (len(history) - 1) * np.abs(V.T @ closed))
    rounding = propagated_bound(X, y, history, lr=lr, dtype=X.dtype, intercept=intercept, held_higher=higher)[0][-1]
    D, target = design.astype(wide), y.astype(wide)
    gradient = 2 / n * np.abs(D.T @ (D @ closed - target))
    gradient += 2 / n * (n + 4) * np.finfo(wide).eps * (np.abs(D).T @ (np.abs(D) @ np.abs(closed) + np.abs(target)))
    own = float(np.sqrt((gradient * gradient).sum()) / eigenvalues[0])
    return float((np.abs(history[-1] - closed) / (left + rounding + own)).max())
