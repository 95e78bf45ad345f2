"""robust(): least squares again and again, each time with weights from the residuals before.

1. A fit is solved by `solve` with sample weights, nothing else: its checks, its statuses, its bits.
   Residuals are sums over the features in order, so a fit goes the same way in any company.
2. Each fit stops on its own; those that go on are solved together. The last w is that of one call
   of `solve` on the caller's data, with the last weights.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from .data.problem import read_data
from .input.annotations import AnyArray, DType, NanPolicy, NoData, RobustLoss
from .input.arrays import arrive_on_host
from .input.float_mode import in_ieee_mode
from .input.messages import shown
from .input.options import read_choice, read_count, read_tol
from .input.wrong_names import helps_with_keywords
from .results.checkpoint import Block, Part, opened_part, refuse_checkpoint
from .results.result import FitResult
from .results.robust import Robust
from .results.statistics import parameters_of
from .results.status import Status, named
from .running.pool import Control
from .running.storing import Ranges, Store
from .solving import solve

Array = np.ndarray
NORMAL = 0.6744897501960817  # the upper quartile of the normal distribution: of its residuals MAD/NORMAL is σ


@dataclass(frozen=True)
class Loss:
    """A loss ρ of z = residual / scale, and the weights ψ(z)/z that it gives."""

    tuning: tuple[float, ...]  # 95 % as good as least squares where the residuals are normal
    names: tuple[str, ...]  # of these constants
    rho: Callable[..., Array]
    weight: Callable[..., Array]


def _huber(z: Array, t: float) -> Array:
    return np.where(z <= t, 0.5 * z * z, t * z - 0.5 * t * t)


def _bisquare(z: Array, c: float) -> Array:
    inside = 1.0 - (z / c) ** 2
    return c * c / 6.0 * np.where(z <= c, 1.0 - inside * inside * inside, 1.0)


def _bisquare_weight(z: Array, c: float) -> Array:
    inside = 1.0 - (z / c) ** 2
    return np.where(z <= c, inside * inside, 0.0)


def _hampel(z: Array, a: float, b: float, c: float) -> Array:
    most = 0.5 * a * (b - a + c)
    falling = a * b - 0.5 * a * a + 0.5 * a * (c - b) * (1.0 - ((c - z) / (c - b)) ** 2)
    return np.where(z <= a, 0.5 * z * z, np.where(z <= b, a * z - 0.5 * a * a, np.where(z <= c, falling, most)))


def _hampel_weight(z: Array, a: float, b: float, c: float) -> Array:
    return np.where(z <= a, 1.0, np.where(z <= b, a / z, np.where(z <= c, a * (c - z) / (z * (c - b)), 0.0)))


LOSSES = {
    "huber": Loss((1.345,), ("t",), _huber, lambda z, t: np.where(z <= t, 1.0, t / z)),
    "bisquare": Loss((4.685,), ("c",), _bisquare, _bisquare_weight),
    "hampel": Loss((2.0, 4.0, 8.0), ("a", "b", "c"), _hampel, _hampel_weight),
}


@helps_with_keywords
def robust(
    X: AnyArray,
    y: AnyArray,
    *,
    loss: RobustLoss = "huber",
    tuning: float | tuple[float, ...] | None = None,
    intercept: bool = False,
    tol: float = 1e-8,
    max_iterations: int = 50,
    dtype: DType | None = None,
    nan_policy: NanPolicy = "raise",
    nodata: NoData | None = None,
    min_samples: int | None = None,
    threads: int | None = None,
    memory_limit: int | str | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
) -> FitResult:
    """Fit linear models that outliers pull less, by iteratively reweighted least squares.

    ::

        scale = median(|residual|) / 0.6745        z = |residual| / scale
        w minimises Σ weight(z) · residual²        again, until Σ ρ(z) stays

    * huber: up to t = 1.345 ρ = z²/2 and weight 1; beyond, ρ = t z − t²/2 and weight t/z
    * bisquare (Tukey): up to c = 4.685 ρ = c²/6 (1 − (1 − (z/c)²)³) and weight (1 − (z/c)²)²;
      beyond, ρ = c²/6 and weight 0
    * hampel: as huber with a = 2 up to b = 4; from there the weight a (c − z)/(z (c − b)), which
      ends at c = 8

    It begins with least squares. These are the steps and the scale of statsmodels' RLM, whose
    answers it gives; RLM ends by another measure, so the number of steps may differ. Bisquare and
    hampel have several minima: one of them near the start is found.

    Parameters
    ----------
    X : array (…, n_samples, n_features) or (n_samples,)
        Features, as in `solve`, in the computer's memory. Leading axes broadcast.
    y : array (…, n_samples)
        Targets.
    loss : {"huber", "bisquare", "hampel"}, default "huber"
        Which loss ρ.
    tuning : float or tuple of float, optional
        The constant t or c, or (a, b, c). None: those above, which are 95 % as good as least
        squares where the residuals are normal (hampel's are not made for that).
    intercept : bool, default False
        Whether to fit an intercept, as one more feature of value 1.
    tol : float, default 1e-8
        A fit ends where Σ ρ(z) changes by at most this.
    max_iterations : int, default 50
        The most least-squares problems of one fit, the first included, ≥ 1.
    dtype : {"float32", "float64"}, optional
        Convert the data, as in `solve`.
    nan_policy : {"raise", "omit", "propagate"}, default "raise"
        What happens when a number is not finite or is missing, as in `solve`.
    nodata : number, several numbers, or mapping, optional
        Values that mean "missing", as in `solve`.
    min_samples : int, optional
        Fits that have fewer samples get NaN and the status ``TOO_FEW_SAMPLES``, as in `solve`.
    threads : int, optional
        Number of threads. None: as many as this process may use.
    memory_limit : int or str, optional
        Bytes that each call of `solve` may take. Besides it some ten arrays of the size of y, and a
        copy of X where each fit has its own, are made.
    checkpoint : str or path, optional
        A folder in which the weights of all fits are stored after a step, about once a second. The
        same call goes on from there after it was ended in any way, with the same bits, as in `fit`.

    Returns
    -------
    FitResult
        As `solve` returns it for the last weights: ``loss`` is the weighted mean of the squared
        residuals, and n_used counts samples of weight above 0. ``status`` is ``CONVERGED`` where
        the fit ended by tol, ``COMPLETED`` where max_iterations came first. ``result.robust`` has
        ``scale``, ``iterations``, ``deviance`` (Σ ρ(z)) and ``weights`` (…, n_samples).

    Raises
    ------
    ValueError, TypeError
        When an argument is wrong, as in `solve`.

    References
    ----------
    P. J. Huber, Robust Statistics (1981); statsmodels.robust.robust_linear_model.RLM.

    Examples
    --------
    >>> import fastgd
    >>> X, y = [1.0, 2, 3, 4, 5, 6, 7, 8], [2.1, 3.9, 6.2, 7.8, 10.1, 11.9, 14.2, 90.0]
    >>> line = fastgd.robust(X, y, loss="bisquare", intercept=True)
    >>> float(line.w.round(2)), float(line.robust.weights[-1])
    (2.01, 0.0)
    >>> float(fastgd.solve(X, y, intercept=True).w.round(2))
    8.17
    """
    return in_ieee_mode(_robust, locals())


def _robust(arguments: Mapping[str, Any]) -> FitResult:
    kind = LOSSES[read_choice(arguments["loss"], "loss", tuple(LOSSES))]
    tuning, tol = _read_tuning(arguments["tuning"], kind), read_tol(arguments["tol"])
    most = read_count(arguments["max_iterations"], "max_iterations", 1)
    if tol < 0.0:
        raise TypeError("tol must be a number, not None: max_iterations is the most that is done in any case")
    if arguments["checkpoint"] is not None:
        refuse_checkpoint(arguments["checkpoint"], None, None)
    own = ("loss", "tuning", "tol", "max_iterations", "checkpoint", "X", "y")
    options = {name: value for name, value in arguments.items() if name not in own}
    X, y = arguments["X"], arguments["y"]
    first = solve(X, y, **options)
    data, target, there = _read(X, y, arguments, first)
    with np.errstate(all="ignore"):
        found = _Iterations(kind, tuning, tol, most, data, target, there, first, options)
        with opened_part(arguments, "robust", "steps", X=data, y=target) as part:
            found.run(part)
    return found.result(X, y)


def _read_tuning(tuning: Any, kind: Loss) -> tuple[float, ...]:
    """The constants of a loss."""
    if tuning is None:
        return kind.tuning
    needed = f"tuning must be {'a number above 0' if len(kind.names) == 1 else '(a, b, c), numbers with 0 < a <= b < c'}"
    try:
        values = tuple(read_tol(value) for value in (tuning if isinstance(tuning, tuple | list) else (tuning,)))
    except (TypeError, ValueError) as error:
        raise type(error)(f"{needed}, not {shown(tuning)}") from None
    if len(values) != len(kind.names):
        raise TypeError(f"{needed}, not {shown(tuning)}")
    ordered = all(a <= b for a, b in pairwise(values)) and (len(values) < 3 or values[1] < values[2])
    if not (all(0.0 < value < math.inf for value in values) and ordered):
        raise ValueError(f"{needed}; it is {shown(tuning)}")
    return values


def _read(X: Any, y: Any, arguments: Mapping[str, Any], first: FitResult) -> tuple[Array, Array, Array]:
    """(X (…, n, d), y (m, n), which samples are there (m, n)) in float64, of the m fits."""
    numbers, of_y, _ = read_data(arrive_on_host(X=X, y=y, sample_weight=None), arguments["nodata"])
    rounded = np.float32 if first.state.dtype == "float32" else np.float64
    data = np.asarray(numbers.filled()).astype(rounded).astype(np.float64)
    target = np.asarray(of_y.filled()).astype(rounded).astype(np.float64)
    data = data[:, None] if data.ndim == 1 else data
    shape = np.shape(first.loss)
    target = np.broadcast_to(target, (*shape, target.shape[-1])).reshape(-1, target.shape[-1])
    there = np.broadcast_to(np.isfinite(data).all(axis=-1), (*shape, target.shape[-1])).reshape(target.shape) & np.isfinite(target)
    return data, target, there


class _Iterations:
    """The fits of one call, and where each of them is."""

    def __init__(
        self, kind: Loss, tuning: tuple[float, ...], tol: float, most: int, data: Array, target: Array, there: Array, first: FitResult,
        options: Mapping[str, Any],
    ) -> None:  # fmt: skip
        self.kind, self.tuning, self.tol, self.most = kind, tuning, tol, most
        self.data, self.target, self.there, self.first, self.options = data, target, there, first, options
        self.shape, m = np.shape(first.loss), len(target)
        status = np.asarray(first.status).reshape(m)
        self.going = (status == Status.COMPLETED) | (status == Status.CONVERGED)
        self.fitted = self.going.copy()
        self.weights = np.where(there | ~self.going[:, None], 1.0, 0.0)
        self.scale, self.deviance = np.full((2, m), np.nan)
        self.iterations, self.converged = np.zeros(m, np.int64), np.zeros(m, bool)
        self.scaled = np.zeros_like(target)  # |residual| / scale, of the last w

    def run(self, part: Part | None) -> None:
        """Solve until all fits have ended. part: of a checkpoint, where steps are stored."""
        store = None if part is None else Store(_Steps(self, part), Control(1))
        self._run(store)
        if store is not None:  # after an error the fits may be in the midst of a step
            store.close()

    def _run(self, store: Store | None) -> None:
        note = (lambda step: None) if store is None else (lambda step: store.note(step, step + 1))
        intercept = bool(self.options["intercept"])
        done = 0 if store is None else store.load(self.most)
        if not done:
            w = parameters_of(self.first, intercept).reshape(len(self.target), -1)
            self._look(np.flatnonzero(self.going), w[self.going])
            note(0)
        of_solve = {**self.options, "nan_policy": "propagate", "nodata": None, "min_samples": 1, "progress": False}
        for step in range(max(1, done), self.most):
            fits = np.flatnonzero(self.going)
            if not len(fits):
                return
            self.weights[fits] = np.where(self.there[fits], self.kind.weight(self.scaled[fits], *self.tuning), 0.0)
            again = solve(
                self._features(fits), self._of_dtype(self.target[fits]), sample_weight=self._of_dtype(self.weights[fits]), **of_solve
            )
            before = self.deviance[fits]
            self._look(fits, parameters_of(again, intercept))
            ended = np.abs(self.deviance[fits] - before) <= self.tol
            self.converged[fits[ended]] = True
            self.going[fits[ended]] = False
            note(step)

    def _look(self, fits: Array, w: Array) -> None:
        """Note scale and deviance of some fits at w (k, D); a fit without a scale has ended."""
        d = self.data.shape[-1]
        X = self._features(fits).astype(np.float64)
        residual = self.target[fits].copy()
        for j in range(d):
            residual -= X[..., j] * w[:, j, None]
        if w.shape[1] > d:
            residual -= w[:, d:]
        size = np.where(self.there[fits], np.abs(residual), np.nan)
        self.scale[fits] = np.nanmedian(size, axis=1) / NORMAL
        self.scaled[fits] = size / self.scale[fits, None]
        self.deviance[fits] = np.where(self.there[fits], self.kind.rho(self.scaled[fits], *self.tuning), 0.0).sum(axis=1)
        self.iterations[fits] += 1
        exact = fits[self.scale[fits] == 0.0]  # more than half of the residuals are 0
        self.converged[exact], self.going[exact], self.deviance[exact] = True, False, 0.0
        self.going[fits[~np.isfinite(self.deviance[fits])]] = False

    def _features(self, fits: Array) -> Array:
        """X of some fits, of the data's dtype; one for all where they share it."""
        leading = self.data.shape[:-2]
        if math.prod(leading) == 1:
            return self._of_dtype(self.data.reshape(self.data.shape[-2:]))
        whole = np.broadcast_to(self.data, (*self.shape, *self.data.shape[-2:]))
        return self._of_dtype(whole[np.unravel_index(fits, self.shape)])

    def _of_dtype(self, values: Array) -> Array:
        return values.astype(self.first.state.dtype)

    def result(self, X: Any, y: Any) -> FitResult:
        """The last fits, on the caller's data."""
        n = self.target.shape[1]
        before = np.asarray(self.first.status).reshape(-1)
        self.weights[before == Status.TOO_FEW_SAMPLES] = 0.0  # they stay without a fit
        weights = self._of_dtype(self.weights).reshape(*self.shape, n)
        last = solve(X, y, sample_weight=weights, **{**self.options, "min_samples": 1})
        wrap = arrive_on_host(X=X, y=y).library.wrap

        def shaped(values: Array) -> Any:
            return np.asarray(values).reshape(self.shape)[()]

        after = np.where(self.fitted, np.asarray(last.status).reshape(-1), before)
        after = np.where(self.converged & (after == Status.COMPLETED), int(Status.CONVERGED), after).astype(np.int8).reshape(self.shape)
        n_used = np.where(shaped(self.fitted), np.asarray(last.n_used), np.asarray(self.first.n_used))
        robust = Robust(
            scale=shaped(self.scale),
            iterations=shaped(self.iterations),
            deviance=shaped(self.deviance),
            weights=np.where(shaped(self.fitted)[..., None], weights, np.nan).astype(weights.dtype),
        )
        status = wrap(named(after)) if self.shape else Status(int(after))
        return replace(last, status=status, n_used=wrap(n_used[()]), robust=robust)


class _Steps:
    """The steps of the fits of one call, and the part of a checkpoint that has all up to one."""

    _ARRAYS = ("going", "weights", "scale", "deviance", "iterations", "converged", "scaled")

    def __init__(self, fits: _Iterations, part: Part) -> None:
        self.fits, self.part, self.folder = fits, part, part.checkpoint.folder

    def read(self) -> Ranges:
        """Take up the last step that is stored; returns which steps are done."""
        blocks = list(self.part.read(self._holds))
        if not blocks:
            return []
        last = max(blocks, key=lambda block: block.stop)
        for name in self._ARRAYS:
            getattr(self.fits, name)[:] = last.arrays[name]
        return [(0, last.stop)]

    def _holds(self, block: Block) -> bool:
        def kind(values: Any) -> tuple[Any, Any]:
            return values.shape, values.dtype

        arrays = block.arrays
        return arrays.keys() == set(self._ARRAYS) and all(kind(arrays[name]) == kind(getattr(self.fits, name)) for name in self._ARRAYS)

    def pieces(self, first: int, stop: int) -> Ranges:
        """What is stored of steps: where the fits are after the last one."""
        return [(0, stop)]

    def write(self, first: int, stop: int) -> None:
        """Store where the fits are now, and remove where they were."""
        self.part.write(first, stop, {name: getattr(self.fits, name) for name in self._ARRAYS}, None)
        self.part.keep(first, stop)
