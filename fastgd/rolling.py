"""fit_rolling(): least squares of every window of a series, from moments that are only added.

1. The moments of a window are sums that are only added: data/window_sums.py.
2. With `by`, groups of equal size are series side by side; no sum takes more than one series, so
   each has the bits of its own call.
3. `solve` takes the moments of all windows as one batch.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .compressing import compress
from .data.labels import Groups, groups_by, groups_of_offsets
from .data.problem import read_data
from .data.window_sums import CHUNK, Series, expanding_sums, rolling_sums
from .input.annotations import AnyArray, DType, NanPolicy, NoData, NumberOrArray, Progress, Stats
from .input.arrays import arrive_on_host
from .input.float_mode import in_ieee_mode
from .input.messages import amount
from .input.options import read_count, read_memory_limit, read_switch
from .input.room import SHARE, free_memory
from .input.wrong_names import helps_with_keywords
from .results.checkpoint import Part, opened_part, refuse_checkpoint
from .results.moments import Moments, join_moments
from .results.result import FitResult
from .solving import solve

Array = np.ndarray
_OF_COMPRESS = ("intercept", "dtype", "sample_weight", "nan_policy", "nodata", "threads", "memory_limit")
_OF_SOLVE = ("ridge", "stats", "min_samples", "threads", "memory_limit", "progress")


@helps_with_keywords
def fit_rolling(
    X: AnyArray,
    y: AnyArray,
    window: int,
    *,
    step: int = 1,
    expanding: bool = False,
    by: Any = None,
    intercept: bool = False,
    ridge: NumberOrArray | None = None,
    sample_weight: AnyArray | None = None,
    nan_policy: NanPolicy = "raise",
    nodata: NoData | None = None,
    min_samples: int | None = None,
    stats: Stats = False,
    dtype: DType | None = None,
    threads: int | None = None,
    memory_limit: int | str | None = None,
    progress: Progress | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
) -> FitResult:
    """Fit every window of a series by least squares, in closed form.

    ::

        window k: the samples k·step … k·step + window − 1
        expanding: the samples 0 … k·step + window − 1

    Each window has the moments of its samples, summed in twice the precision of the data by
    additions alone, so there is no drift along the series: every answer is that of `solve` on the
    window's samples, but for rounding in twice the precision.

    Parameters
    ----------
    X : array (…, n_samples, n_features) or (n_samples,)
        Features, in the order of the series, in the computer's memory; leading axes are series.
    y : array (…, n_samples)
        Targets.
    window : int
        Samples of a window, ≥ 1; of the first one where expanding.
    step : int, default 1
        Samples from a window to the next, ≥ 1.
    expanding : bool, default False
        Whether every window begins with the first sample.
    by : array (n_samples,), or several in a tuple or mapping, optional
        A label for each sample, as the groups of `fit_groups`: the samples of each group are a
        series of its own, and the samples of a group need not be neighbours. Each group has the
        windows, and their bits, of the call with its samples alone; one with fewer samples than the
        window has none.
    intercept : bool, default False
        Whether to fit an intercept, as one more feature of value 1.
    ridge : float or array, optional
        As in `solve`. An array broadcasts against (…, n_windows).
    sample_weight : array (…, n_samples), optional
        Weights ≥ 0, as in `solve`.
    nan_policy : {"raise", "omit", "propagate"}, default "raise"
        What happens when a number is not finite or is missing, as in `solve`: under "omit" the
        sample is left out of its windows, under "propagate" they are ``INVALID_DATA``.
    nodata : number, several numbers, or mapping, optional
        Values that mean "missing", as in `solve`.
    min_samples : int, optional
        Windows that keep fewer samples get NaN and the status ``TOO_FEW_SAMPLES``. Default: the
        number of parameters for ``nan_policy="omit"``, else 1.
    stats : bool, default False
        Whether ``result.stats`` has standard errors, t, p, R² and so on, as in `solve`; not those
        of a second pass over the samples.
    dtype : {"float32", "float64"}, optional
        Convert the data, as in `solve`.
    threads : int, optional
        Number of threads of `solve`. None: as many as this process may use.
    memory_limit : int or str, optional
        Bytes that the moments of all windows, and then the call of `solve`, may take. None: 80 % of
        the free memory.
    progress : bool or callable, optional
        As in `solve`; a function is called with (done, total), both in windows.
    checkpoint : str or path, optional
        A folder in which finished windows are stored, as in `fit`. A call that goes on makes the
        moments of all windows again.

    Returns
    -------
    FitResult
        As `solve` returns it for Moments, with NumPy arrays; the windows are the last of the
        leading axes, (…, n_windows), n_windows = (n_samples − window) // step + 1. Windows whose
        moments do not determine w are ``ill_conditioned``. A number below 2^-480 of the largest of
        its column counts as 0. With ``by`` a GroupResult: the windows of a group follow each other,
        groups have the order of their first samples, and ``keys`` are the labels of each window.

    Raises
    ------
    ValueError, TypeError
        When an argument is wrong, as in `solve`, or the window is longer than every series.
    MemoryError
        When the moments of all windows do not fit into the memory limit.

    Examples
    --------
    >>> import numpy as np, fastgd
    >>> t = np.arange(10.0)
    >>> result = fastgd.fit_rolling(t, np.abs(t - 5.0), 3, intercept=True)
    >>> result.w.round(6).tolist()
    [-1.0, -1.0, -1.0, -1.0, 0.0, 1.0, 1.0, 1.0]
    >>> fastgd.fit_rolling(t, t, 4, step=3, expanding=True).n_used.tolist()
    [4, 7, 10]
    >>> both = fastgd.fit_rolling(t, t, 4, by=["a"] * 5 + ["b"] * 5)
    >>> both.keys["group"].tolist()
    ['a', 'a', 'b', 'b']
    """
    return in_ieee_mode(_fit_rolling, locals())


def _fit_rolling(arguments: Mapping[str, Any]) -> FitResult:
    window, step = read_count(arguments["window"], "window", 1), read_count(arguments["step"], "step", 1)
    expanding = read_switch(arguments["expanding"], "expanding")
    stats = arguments["stats"]
    if not isinstance(stats, bool):
        raise ValueError(f"stats of fit_rolling is True or False: other errors need the samples of every window; it is {stats!a:.60}")
    if arguments["checkpoint"] is not None:
        refuse_checkpoint(arguments["checkpoint"], None, None)
    # it checks the data, and names what is wrong with them
    whole = compress(arguments["X"], arguments["y"], progress=False, **{name: arguments[name] for name in _OF_COMPRESS})
    table = _read(arguments, whole)
    n = table.y.shape[-1]
    by = arguments["by"]
    groups, keys = (groups_of_offsets([0, n], n), {}) if by is None else groups_by(by, n, "by")
    longest = int(groups.sizes.max())
    if window > longest:
        what = "series" if by is None else "longest group"
        raise ValueError(f"window must be at most the {longest:,} samples of the {what}; it is {window:,}")
    counts = np.maximum(0, (groups.sizes - window) // step + 1)
    _check_memory(whole, int(counts.sum()), longest, arguments["memory_limit"])
    with opened_part(arguments, "fit_rolling", "windows", X=table.X, y=table.y, sample_weight=table.weights) as part:
        return _solve(arguments, (window, step, expanding), table, whole, groups, keys, counts, part)


def _solve(
    arguments: Mapping[str, Any], windows: tuple[int, int, bool], table: _Table, whole: Moments, groups: Groups, keys: Mapping[str, Any],
    counts: Array, part: Part | None,
) -> FitResult:  # fmt: skip
    """Solve all windows, of this length, step and kind.

    counts: of the windows of each group; part: of a checkpoint, where windows are stored.
    """
    window, step, expanding = windows
    before, places, parts = np.cumsum(counts) - counts, [], []
    for size in np.unique(groups.sizes[counts > 0]).tolist():
        which = np.flatnonzero(groups.sizes == size)
        series, starts = _series(table, whole, _rows_of(groups, which)), np.arange(0, size - window + 1, step)
        with np.errstate(all="ignore"):  # of windows with invalid data
            sums = expanding_sums(series, starts + window) if expanding else rolling_sums(series, starts, window)
            parts.append(_moments(series, sums, whole, len(starts)))
        places.append((before[which, None] + np.arange(len(starts))).ravel())
    moments = parts[0] if len(parts) == 1 else join_moments(places, parts)
    moments = replace(moments, keys={name: np.repeat(labels, counts) for name, labels in keys.items()})
    of_solve: dict[str, Any] = {name: arguments[name] for name in _OF_SOLVE} | {"checkpoint": part}
    return solve(moments, **of_solve)


def _rows_of(groups: Groups, which: np.ndarray) -> Array | None:
    """(k, n): the samples of k groups of equal size; None: all samples, one group."""
    if groups.count == 1 and groups.rows is None:
        return None
    rows = groups.starts[which, None] + np.arange(int(groups.sizes[which[0]]))
    return rows if groups.rows is None else groups.rows[rows]


@dataclass
class _Table:
    """The data of a call in float64, as they are."""

    X: Array  # (…, n, d)
    y: Array  # (…, n)
    weights: Array | None  # (…, n)


def _read(arguments: Mapping[str, Any], whole: Moments) -> _Table:
    """The data of a call, which `compress` took."""
    given = arrive_on_host(X=arguments["X"], y=arguments["y"], sample_weight=arguments["sample_weight"])

    def rounded(values: Any) -> Array:
        return np.asarray(values.filled()).astype(whole.dtype).astype(np.float64)

    of_x, of_y, of_weights = read_data(given, arguments["nodata"])
    X = rounded(of_x)
    return _Table(X[:, None] if whole.one_feature else X, rounded(of_y), None if of_weights is None else rounded(of_weights))


def _series(table: _Table, whole: Moments, rows: Array | None) -> Series:
    """The series of k groups with the samples rows (k, n); None: of all samples."""
    X, y, weights = table.X, table.y, table.weights
    leading, k = whole.leading, 1 if rows is None else len(rows)
    if rows is not None:
        X, y, leading = X[..., rows, :], y[..., rows], (*whole.leading, k)
        weights = None if weights is None else weights[..., rows]
    n, m = y.shape[-1], math.prod(leading)
    X = X.reshape(1, *X.shape[-2:]) if math.prod(X.shape[:-2]) == 1 else np.broadcast_to(X, (*leading, *X.shape[-2:])).reshape(m, n, -1)
    y = np.broadcast_to(y, (*leading, n)).reshape(m, n)
    of_all, least = np.zeros(k, np.int64), np.ones(k)
    finite = np.isfinite(X).all(axis=-1) & np.isfinite(y)
    there = finite.copy()
    if weights is not None:
        weights = np.broadcast_to(weights, (*leading, n)).reshape(m, n)
        finite = (finite & np.isfinite(weights)) | (weights == 0.0)
        there = finite & (weights > 0.0)
        some = there.reshape(-1, k, n).any(axis=(0, 2))
        least = np.where(some, np.where(there, weights, np.inf).reshape(-1, k, n).min(axis=(0, 2)), 1.0)
        if whole.dtype == "float64":
            largest = np.where(there, weights, 0.0).reshape(-1, k, n).max(axis=(0, 2))
            of_all = np.where(some, np.frexp(largest)[1] - 1, 0)
        weights = np.ldexp(np.where(there, weights, 0.0), -np.tile(of_all, m // k)[:, None])
    X, y = np.where(there[..., None], X, 0.0) if not there.all() else X, np.where(there, y, 0.0)
    if whole.intercept:
        X = np.concatenate([X, np.ones((*X.shape[:2], 1))], axis=2)
        X[..., -1] = there if not there.all() else 1.0
    powers = np.zeros((m, X.shape[2] + 1), np.int64)
    if whole.dtype == "float64":
        powers[:, :-1], powers[:, -1] = np.frexp(np.abs(X).max(axis=1))[1], np.frexp(np.abs(y).max(axis=1))[1]
        X, y = np.ldexp(X, -powers[: len(X), None, :-1]), np.ldexp(y, -powers[:, -1:])
        if len(X) == 1:
            powers[:, :-1] = powers[:1, :-1]
    return Series(X, y, weights, there, ~finite, powers, np.tile(of_all, m // k), np.tile(least, m // k))


def _check_memory(whole: Moments, n_windows: int, n: int, limit: Any) -> None:
    """Raise where the sums of all windows, and those of a chunk, are too large.

    n_windows: of all groups; n: samples of the longest one.
    """
    m = math.prod(whole.leading)
    n_entries = (whole.n_parameters + 1) * (whole.n_parameters + 2) // 2 + 3
    most, said = read_memory_limit(limit), "memory_limit is"
    if most is None:
        free = free_memory()
        if free is None:
            return
        most, said = int(SHARE * free), f"{SHARE:.0%} of what is free is"
    needed = 16 * n_entries * (2 * m * n_windows + 6 * min(m * n, max(CHUNK, 2 * n)))
    if needed > most:
        raise MemoryError(f"the moments of {m * n_windows:,} windows take {amount(needed)}, and {said} {amount(most)}: give a larger step")


def _moments(series: Series, sums: Array, whole: Moments, n_windows: int) -> Moments:
    """Moments of all windows, from their sums (2, m, windows, entries)."""
    m, size = series.y.shape[0], series.X.shape[2]
    k = m // math.prod(whole.leading)  # groups
    pairs, n_gram = (*whole.leading, k * n_windows), size * (size + 1) // 2
    planes = 1 if whole.dtype == "float32" else 2
    records = sums[:planes].transpose(1, 2, 0, 3).reshape(m * n_windows, planes, -1)
    powers = np.repeat(series.exponents, n_windows, axis=0)
    weighing = np.empty((m * n_windows, 4))
    weighing[:, :2] = sums[..., n_gram + size + 1].reshape(2, -1).T
    weighing[:, 2], weighing[:, 3] = np.repeat(series.of_weights, n_windows), np.repeat(series.least, n_windows)
    count, bad = (sums[0, ..., n_gram + size + 1 + k].reshape(pairs) for k in (1, 2))
    propagates = whole.nan_policy == "propagate"
    invalid = np.asarray(bad > 0.0) & propagates
    return Moments(
        gram=np.ascontiguousarray(records[..., :n_gram]),
        gram_exponents=powers,
        weighing=weighing,
        gram_index=np.arange(m * n_windows, dtype=np.int64).reshape(pairs),
        target=np.ascontiguousarray(records[..., n_gram : n_gram + size + 1]).reshape(*pairs, planes, size + 1),
        exponents=powers.copy().reshape(*pairs, size + 1),
        n_used=(count + bad if propagates else count).astype(np.int64),  # of invalid windows all, as `solve` has it
        invalid=invalid,
        leading=pairs,
        n_features=whole.n_features,
        one_feature=whole.one_feature,
        intercept=whole.intercept,
        weighted=whole.weighted,
        dtype=whole.dtype,
        nan_policy=whole.nan_policy,
    )
