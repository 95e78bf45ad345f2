"""Curvatures: the Hessians of some fits whose end is to be explained, and what they tell."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from ..data.fit_order import FitOrder
from ..kernels.forks import lapack_lock
from ..kernels.update_rules import UPDATE_RULES

_RESOLVED = 2.0**40  # λ_max/λ_min · D: from here on rounding may be a sixteenth of λ_min; see `eigenvalues`


@dataclass(frozen=True, eq=False)
class Curvatures:
    """Of k fits: what says how fast, and at which rates, a descent comes near the minimum.

    Attributes
    ----------
    index : ndarray (k,) of int64
        Number of each fit in the flattened leading axes.
    gram : ndarray (k, D(D+1)/2) of float64
        Rows of the lower triangle of each fit's Gram matrix Σ ω z zᵀ, as its moments hold it.
    exponents : ndarray (k, D) of int64
        Entry (i, j) of the matrix is gram · 2^(exponents_i + exponents_j).
    scale : ndarray (k,) of float64
        Times this it is the Hessian of the (mean or sum) loss, without a penalty.
    hyper : ndarray (k, n_values) of float64
        Hyperparameters of the update rule, as in a Chunk; NaN where a schedule changes the rate,
        which then has no limit.
    """

    index: np.ndarray
    gram: np.ndarray
    exponents: np.ndarray
    scale: np.ndarray
    hyper: np.ndarray

    def __getitem__(self, which: np.ndarray) -> Curvatures:
        return Curvatures(*(getattr(self, each.name)[which] for each in fields(self)))

    @property
    def size(self) -> int:
        """D, the number of parameters."""
        return self.exponents.shape[1]

    def hessians(self) -> np.ndarray:
        """(k, D, D): the Hessians of the loss, without a penalty."""
        rows, columns = np.tril_indices(self.size)
        found = np.empty((len(self.index), self.size, self.size))
        with np.errstate(all="ignore"):  # beyond float64: not finite, and then nothing is said of it
            values = self.scale[:, None] * np.ldexp(self.gram, self.exponents[:, rows] + self.exponents[:, columns])
        found[:, rows, columns] = found[:, columns, rows] = values
        return found

    def eigenvalues(self) -> np.ndarray:
        """(k, D): of the Hessians, ascending; NaN where one has no numbers of ordinary size.

        Errors: an entry is off by at most 2^-45 √(H_ii H_jj), as in a lane of `compress` at most
        128 products are added, and lanes and chunks pairwise. That and LAPACK's error are below D ·
        2^-44 λ_max together.
        """
        matrices = self.hessians()
        trace = np.trace(matrices, axis1=1, axis2=2)
        ordinary = np.isfinite(matrices).all(axis=(1, 2)) & (trace > 2.0**-900) & (trace < 2.0**900)
        found = np.full((len(matrices), self.size), np.nan)
        with lapack_lock():
            found[ordinary] = np.linalg.eigvalsh(matrices[ordinary])
        return found

    def conditions(self, eigenvalues: np.ndarray) -> np.ndarray:
        """(k,): λ_max/λ_min; inf where rounding hides λ_min, NaN where it is not known."""
        least, largest = eigenvalues[:, 0], eigenvalues[:, -1]
        with np.errstate(all="ignore"):
            return np.where(least * self.most_condition < largest, np.inf, largest / least)

    @property
    def most_condition(self) -> float:
        """A larger condition is inf."""
        return _RESOLVED / self.size

    def bounds(self, optimizer: str) -> np.ndarray:
        """(k,): a descent is stable where lr · (λ_max + weight_decay) is below; NaN: no such limit.

        It is 2, and for the heavy ball of momentum μ 2 (1 + μ): along an eigenvector it is w_{t+1}
        = (1 + μ − lr·λ) w_t − μ w_{t−1} (Polyak, 1964), and both roots of its polynomial are below
        1 where 0 ≤ μ < 1 and lr·λ < 2 (1 + μ).
        """
        if optimizer != "sgd":
            return np.full(len(self.index), np.nan)
        names = list(UPDATE_RULES[optimizer].hyperparameters)
        momentum, dampening, nesterov, maximize = (
            self.hyper[:, names.index(name)] for name in ("momentum", "dampening", "nesterov", "maximize")
        )
        ball = (momentum < 1.0) & (dampening == 0.0) & (nesterov == 0.0)
        return np.where(((momentum == 0.0) | ball) & (maximize == 0.0), 2.0 * (1.0 + momentum), np.nan)

    def above_limit(self, optimizer: str, eigenvalues: np.ndarray, lr: np.ndarray, eps: float) -> np.ndarray:
        """(k,) bool: whether the rate is above the stability limit, by more than rounding.

        lr (k,): rates, which were rounded to a dtype of this eps.
        """
        slack = 1.0 + eps + self.size / _RESOLVED
        with np.errstate(all="ignore"):
            curvature = eigenvalues[:, -1] + UPDATE_RULES[optimizer].coupled_decay(self.hyper)
            return lr * curvature > self.bounds(optimizer) * slack


def concatenated(parts: list[Curvatures]) -> Curvatures:
    """Several as one, in their order."""
    if len(parts) == 1:
        return parts[0]
    return Curvatures(*(np.concatenate([getattr(part, each.name) for part in parts]) for each in fields(Curvatures)))


def joined(parts: list[Curvatures], order: FitOrder) -> Curvatures:
    """Parts whose `index` counts in the order of computation, as one in that of the results."""
    found = concatenated(parts)
    if order.natural and len(parts) == 1:
        return found
    places = found.index
    if not order.natural:
        along = np.unravel_index(places, tuple(order.shape[axis] for axis in order.axes))
        of_axis = dict(zip(order.axes, along, strict=True))
        places = np.ravel_multi_index(tuple(of_axis[axis] for axis in range(len(order.shape))), order.shape)
    return replace(found, index=places)[np.argsort(places)]
