"""Stability: the rates at which gradient descent is stable, and how fast it is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..input.float_mode import computes
from ..input.messages import shown
from ..input.options import read_tol
from ..input.reading import check_all, read_numbers
from .table import html_table, in_line


@dataclass(frozen=True, eq=False, repr=False)
class Stability:
    """What the curvature of the loss says of full-batch descent, before an epoch is run.

    `fastgd.stability` makes it. λ are the eigenvalues of the Hessian of the objective: s·XᵀX +
    weight_decay·I with s = 2/n ("mean"; with weights 2/Σω and Xᵀ diag(ω) X) or 2 ("sum"). "…" are
    the leading axes of the fits. A fit without data, or with invalid ones, has NaN.

    Attributes
    ----------
    lambda_max, lambda_min : ndarray (…)
        The largest and the least eigenvalue. Both are off by at most D · 2^-44 λ_max, D parameters;
        λ_min is 0 where that hides it, below D · 2^-40 λ_max.
    condition : ndarray (…)
        λ_max / λ_min; inf where λ_min is 0.
    lr_limit : ndarray (…)
        2/λ_max: plain gradient descent comes near the minimum at every rate below, and diverges
        above, unless it starts at a minimum.
    best_lr : ndarray (…)
        2/(λ_max + λ_min): the fixed rate of the fastest plain descent from the worst start. An
        epoch multiplies the distance to the minimum by (κ−1)/(κ+1) or less, κ the condition.
    heavy_ball_lr, heavy_ball_momentum : ndarray (…)
        4/(√λ_max + √λ_min)² and ((√κ−1)/(√κ+1))²: the fastest pair of ``SGD(lr, momentum)``
        (Polyak, 1964).

    Examples
    --------
    >>> import numpy as np, fastgd
    >>> found = fastgd.stability(np.diag([2.0, 1.0]), [1.0, 1.0])
    >>> float(found.condition), float(found.lr_limit), float(found.best_lr)
    (4.0, 0.5, 0.4)
    >>> float(found.epochs(1e-6)), float(found.epochs(1e-6, lr=0.1))
    (14.0, 66.0)
    >>> float(found.heavy_ball_epochs(1e-6))
    9.0
    """

    lambda_max: NDArray[np.float64]
    lambda_min: NDArray[np.float64]

    @property
    @computes
    def condition(self) -> NDArray[np.float64]:
        """λ_max / λ_min."""
        with np.errstate(all="ignore"):
            return self.lambda_max / self.lambda_min

    @property
    def lr_limit(self) -> NDArray[np.float64]:
        """2 / λ_max."""
        return self.lr_limit_of(0.0)

    @property
    @computes
    def best_lr(self) -> NDArray[np.float64]:
        """2 / (λ_max + λ_min)."""
        with np.errstate(all="ignore"):
            return 2.0 / (self.lambda_max + self.lambda_min)

    @property
    @computes
    def heavy_ball_lr(self) -> NDArray[np.float64]:
        """4 / (√λ_max + √λ_min)²."""
        with np.errstate(all="ignore"):
            return 4.0 / (np.sqrt(self.lambda_max) + np.sqrt(self.lambda_min)) ** 2

    @property
    @computes
    def heavy_ball_momentum(self) -> NDArray[np.float64]:
        """((√κ − 1) / (√κ + 1))²."""
        return self._root() ** 2

    @computes
    def lr_limit_of(self, momentum: Any) -> NDArray[np.float64]:
        """The largest stable rate of ``SGD(lr, momentum)``: 2 (1 + momentum) / λ_max.

        Parameters
        ----------
        momentum : float or array
            From 0 up to, but without, 1; broadcast with the fits.

        Returns
        -------
        ndarray
        """
        values = read_numbers(momentum, "momentum")
        check_all(values, (values >= 0.0) & (values < 1.0), "momentum", "at least 0 and below 1")
        with np.errstate(all="ignore"):
            return 2.0 * (1.0 + values) / self.lambda_max

    @computes
    def epochs(self, tol: float, lr: Any = None) -> NDArray[np.float64]:
        """How many epochs of plain gradient descent are enough for `tol`, from any start.

        F(w_t) − F* ≤ ρ^(2t) (F(w_0) − F*) with ``ρ = max |1 − lr·λ|``, and from some starts no
        less: so it is the least t ≥ 1 with ρ^(2t) ≤ tol. Rounding is left out.

        Parameters
        ----------
        tol : float
            As in `fit`: F(w_t) − F* ≤ tol · (F(w_0) − F*).
        lr : float or array, optional
            The rate, broadcast with the fits. None: `best_lr`.

        Returns
        -------
        ndarray
            Whole numbers; inf where the descent never gets there.
        """
        goal = _read_goal(tol)
        rate = self.best_lr if lr is None else read_numbers(lr, "lr")
        with np.errstate(all="ignore"):
            rho = np.maximum(np.abs(1.0 - rate * self.lambda_max), np.abs(1.0 - rate * self.lambda_min))
            found = np.ceil(math.log(goal) / (2.0 * np.log(rho)) if goal > 0.0 else np.where(rho == 0.0, 1.0, np.inf))
            return np.where(np.isnan(rho), np.nan, np.where(rho >= 1.0, np.inf if goal < 1.0 else 1.0, np.maximum(found, 1.0)))

    @computes
    def heavy_ball_epochs(self, tol: float) -> NDArray[np.float64]:
        """How many epochs of the best heavy ball are enough for `tol`, from any start.

        With r = (√κ−1)/(√κ+1) it is F(w_t) − F* ≤ (r^t (1 + t (1 + r)))² (F(w_0) − F*), and no less
        from a start along the eigenvector of λ_max.

        Parameters
        ----------
        tol : float
            As in `epochs`.

        Returns
        -------
        ndarray
            Whole numbers; inf where the descent never gets there.
        """
        goal, r = _read_goal(tol), self._root()
        half = 0.5 * math.log(goal) if goal > 0.0 else -math.inf
        with np.errstate(all="ignore"):
            rate = np.log(r)

            def falls_short(t: np.ndarray) -> np.ndarray:
                return t * rate + np.log1p(t * (1.0 + r)) > half

            # from `most` on the bound falls
            most = np.maximum(1.0, np.ceil(-1.0 / rate - 1.0 / (1.0 + r)))
            possible = (r < 1.0) & (goal > 0.0)
            low, high = np.where(possible, most, 1.0), np.where(possible, most, 1.0)
            while (short := possible & falls_short(high)).any():
                low, high = np.where(short, high, low), np.where(short, 2.0 * high, high)
            while (wide := high - low > 1.0).any():
                middle = np.floor(0.5 * (low + high))
                short = falls_short(middle)
                low, high = np.where(wide & short, middle, low), np.where(wide & ~short, middle, high)
            found = np.where(falls_short(low), high, low)
        found = np.where(possible, found, np.inf if goal < 1.0 else 1.0)
        return np.where(np.isnan(r), np.nan, np.where(r == 0.0, 1.0, found))

    def _root(self) -> NDArray[np.float64]:
        """(√κ − 1) / (√κ + 1)."""
        with np.errstate(all="ignore"):
            high, low = np.sqrt(self.lambda_max), np.sqrt(self.lambda_min)
            return (high - low) / (high + low)

    @computes
    def __repr__(self) -> str:
        return in_line("Stability", self._rows())

    @computes
    def _repr_html_(self) -> str:
        return html_table("Stability", self._rows())

    def _rows(self) -> list[tuple[str, str]]:
        rows = [] if self.lambda_max.ndim == 0 else [("fits", f"{self.lambda_max.size:,}")]
        rows += [(name, _span(getattr(self, name))) for name in ("lambda_max", "lambda_min", "condition", "lr_limit", "best_lr")]
        return [*rows, ("heavy ball", f"lr {_span(self.heavy_ball_lr)}, momentum {_span(self.heavy_ball_momentum)}")]


def _read_goal(tol: float) -> float:
    if tol is None:
        raise TypeError(f"tol must be a number of at least 0, not {shown(tol)}")
    return read_tol(tol)


def _span(values: np.ndarray) -> str:
    """'0.01 to 3'; one number where both ends read the same."""
    known = values[~np.isnan(values)]
    if not known.size:
        return "not known"
    low, high = (f"{end:g}" for end in (known.min(), known.max()))
    return low if low == high else f"{low} to {high}"
