"""fit(), solve() and compress() of chunked arrays.

Where the samples lie in one chunk, a task is one call of `fastgd.fit`. Where they lie in several,
each becomes Moments, which are added in the order of `Moments.merge`: the bits depend neither on
workers and threads nor on which task is done first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any

import dask
import dask.array as da
import numpy as np

from ..compressing import compress as compress_arrays
from ..fitting import fit as fit_arrays
from ..input.annotations import NanPolicy
from ..input.messages import shown
from ..input.wrong_names import helps_with_keywords
from ..results.result import FitResult
from ..results.special import has_scipy
from ..solving import solve as solve_arrays
from .blocks import Blocks, Chunked, compress_block, fit_block, fit_moments, merged, value_of

_STATISTICS = ("std_error", "t", "p", "r2")
OF_COMPRESS = ("intercept", "dtype", "nan_policy", "nodata", "threads", "memory_limit")
_NOT_HERE = {
    "history": "it has a row for every epoch of every fit; fastgd.fit keeps it",
    "state": "blocks keep no state; fastgd.fit continues fits",
    "out": "the results are arrays of Dask",
    "checkpoint": "blocks are tasks of Dask, which makes those anew that are lost",
    "w0": "all fits begin at zero; fastgd.fit takes a start",
    "progress": "Dask shows its own: dask.diagnostics.ProgressBar, or the dashboard",
}


@dataclass(frozen=True, eq=False)
class Fits:
    """The fits of all blocks, as arrays of Dask; ``dask.compute(fits)`` computes them together.

    Attributes
    ----------
    w : dask array (…, n_features), or (…) when X was 1-D
        Weights; "…" are the leading axes of X and y, in their chunks.
    intercept : dask array (…), or None without an intercept
        Intercept.
    loss : dask array (…)
        Mean of the squared residuals at w.
    excess_loss : dask array (…), or None
        By how much the objective is above its least value, as in `fastgd.FitResult`.
    status : dask array (…) of int8
        Codes of `fastgd.Status`.
    n_used : dask array (…) of int64
        Number of kept samples.
    epochs : dask array (…) of int64
        Epochs that were run; 0 from `solve`.
    rank, condition, ill_conditioned : dask array (…), or None
        Only from `solve`, as in `fastgd.FitResult`.
    std_error, t, p : dask array (…, n_parameters), or None without ``stats``
        Standard errors, t and p values of w, and of the intercept last; p is None without SciPy.
    r2 : dask array (…), or None without ``stats``
        Share of the variance that is explained.
    """

    w: Any
    loss: Any
    status: Any
    n_used: Any
    epochs: Any
    intercept: Any = None
    excess_loss: Any = None
    rank: Any = None
    condition: Any = None
    ill_conditioned: Any = None
    std_error: Any = None
    t: Any = None
    p: Any = None
    r2: Any = None


@helps_with_keywords
def fit(X: Chunked, y: Chunked, *, sample_weight: Chunked | None = None, threads: int = 1, **fit_options: Any) -> Fits:
    """Fit linear models to chunked arrays by gradient descent, a task for each block of fits.

    ::

        prediction = X w (+ intercept)        loss = mean((prediction − y)²)

    Nothing is computed yet: ``dask.compute(fits)`` or ``fits.w.compute()`` does. Chunks along the
    samples become Moments, which are added. The results have the bits of ``fastgd.fit(X, y)`` where
    the samples lie in one chunk; and those of ``fastgd.fit(X, y, algorithm="moments")`` where they
    are cut every 4,096 · 2^k samples and none is missing. Cut otherwise, sums differ by rounding in
    twice the precision of the data. Workers, threads and order of the tasks change no bit.

    Parameters
    ----------
    X : dask array or ndarray (…, n_samples, n_features) or (n_samples,)
        Features, one chunk along the last axis. A NumPy array is cut as y is.
    y : dask array or ndarray (…, n_samples)
        Targets. Chunks along axes that X, y and the weights share must be the same.
    sample_weight : dask array or ndarray (…, n_samples), optional
        Weights ≥ 0.
    threads : int, default 1
        Threads of one task; Dask runs tasks side by side.
    **fit_options
        Further options of `fastgd.fit` with one value for all fits, such as ``lr``, ``epochs``,
        ``optimizer``, ``intercept``, ``standardize``, ``tol`` or ``nan_policy``; without
        ``history``, ``state``, ``out``, ``w0`` and ``progress``.

    Returns
    -------
    Fits
        w, intercept, loss, excess_loss, status, n_used, epochs as arrays of Dask, and with
        ``stats`` std_error, t, p and r2.

    Raises
    ------
    ValueError, TypeError
        At once where shapes, chunks or options do not match. What is wrong with the numbers
        themselves, such as NaN under ``nan_policy="raise"``, is raised when they are computed.
    ImportError
        When Dask is not installed: ``pip install 'fastgd[dask]'``.

    Examples
    --------
    >>> import dask, dask.array, fastgd.dask
    >>> X = dask.array.random.default_rng(0).normal(size=(1000, 2), chunks=(250, 2))
    >>> fits = fastgd.dask.fit(X, X @ [1.0, -2.0], epochs=200)
    >>> fits.w.compute().round(6).tolist()
    [1.0, -2.0]
    """
    return _fit_blocks(fit_arrays, X, y, sample_weight, {"threads": threads, **fit_options})


@helps_with_keywords
def solve(X: Chunked, y: Chunked, *, sample_weight: Chunked | None = None, threads: int = 1, **solve_options: Any) -> Fits:
    """Fit linear models to chunked arrays by least squares, a task for each block of fits.

    ::

        Xᵀ(X w − y) = 0

    As `fit`, by `fastgd.solve`: nothing is computed yet, and chunks along the samples become
    Moments, which are added. Where moments do not determine w well, the samples are not at hand to
    be looked at again: such a fit is ``ill_conditioned``.

    Parameters
    ----------
    X : dask array or ndarray (…, n_samples, n_features) or (n_samples,)
        Features, one chunk along the last axis. A NumPy array is cut as y is.
    y : dask array or ndarray (…, n_samples)
        Targets. Chunks along axes that X, y and the weights share must be the same.
    sample_weight : dask array or ndarray (…, n_samples), optional
        Weights ≥ 0.
    threads : int, default 1
        Threads of one task; Dask runs tasks side by side.
    **solve_options
        Further options of `fastgd.solve` with one value for all fits, such as ``intercept``,
        ``weight_decay`` or ``nan_policy``.

    Returns
    -------
    Fits
        w, intercept, loss, status, n_used, rank, condition, ill_conditioned as arrays of Dask, and
        with ``stats`` std_error, t, p and r2.

    Raises
    ------
    ValueError, TypeError
        At once where shapes, chunks or options do not match; what is wrong with the numbers
        themselves when they are computed.
    ImportError
        When Dask is not installed: ``pip install 'fastgd[dask]'``.

    Examples
    --------
    >>> import dask.array, numpy as np, fastgd.dask
    >>> t = np.arange(12.0)
    >>> cube = dask.array.from_array(np.outer([1.0, 2, 3], t) + 5, chunks=(2, 6))
    >>> fits = fastgd.dask.solve(t, cube, intercept=True)
    >>> fits.w.compute().tolist(), fits.w.chunks
    ([1.0, 2.0, 3.0], ((2, 1),))
    """
    return _fit_blocks(solve_arrays, X, y, sample_weight, {"threads": threads, **solve_options})


@helps_with_keywords
def compress(
    X: Chunked,
    y: Chunked,
    *,
    sample_weight: Chunked | None = None,
    intercept: bool = False,
    dtype: Any = None,
    nan_policy: NanPolicy = "raise",
    nodata: Any = None,
    threads: int = 1,
    memory_limit: int | str | None = None,
) -> Any:
    """Compress chunked arrays to Moments, chunk by chunk along the samples.

    ::

        XᵀX, Xᵀy, yᵀy        with sample weights ω: Xᵀ diag(ω) X and so on

    Parameters
    ----------
    X : dask array or ndarray (…, n_samples, n_features) or (n_samples,)
        Features, one chunk along the last axis and along all leading axes. A NumPy array is cut as
        y is.
    y : dask array or ndarray (…, n_samples)
        Targets, one chunk along all leading axes.
    sample_weight : dask array or ndarray (…, n_samples), optional
        Weights ≥ 0.
    intercept : bool, default False
        Whether fits of these moments have an intercept.
    dtype : {"float32", "float64"}, optional
        Convert the data, as in `fastgd.compress`.
    nan_policy : {"raise", "omit", "propagate"}, default "raise"
        What happens with missing samples, as in `fastgd.compress`.
    nodata : number, several numbers, or mapping, optional
        Values that mean "missing".
    threads : int, default 1
        Threads of one task.
    memory_limit : int or str, optional
        Bytes that one task may take beside its chunk.

    Returns
    -------
    dask.delayed.Delayed
        ``compute()`` gives the Moments, which `fastgd.fit`, `solve`, `sweep` and `stability` take.

    Raises
    ------
    ValueError, TypeError
        When shapes or chunks do not match.
    ImportError
        When Dask is not installed: ``pip install 'fastgd[dask]'``.

    Examples
    --------
    >>> import dask.array, fastgd.dask
    >>> X = dask.array.random.default_rng(0).normal(size=(1000, 2), chunks=(250, 2))
    >>> moments = fastgd.dask.compress(X, X @ [1.0, -2.0]).compute()
    >>> fastgd.solve(moments).w.round(6).tolist()
    [1.0, -2.0]
    """
    options = {"intercept": intercept, "dtype": dtype, "nan_policy": nan_policy, "nodata": nodata}
    return compress_blocks(Blocks.of(X, y, sample_weight), {**options, "threads": threads, "memory_limit": memory_limit})


def compress_blocks(blocks: Blocks, options: Mapping[str, Any]) -> Any:
    """The Moments of all chunks, delayed. options: of `fastgd.compress`."""
    if any(len(chunks) > 1 for chunks in blocks.leading):
        raise ValueError(
            f"the leading axes of X and y have the chunks {blocks.leading}: moments are of one block of fits. Rechunk them to one, or "
            "call fit or solve, which take any chunks"
        )
    return dask.delayed(np.ndarray.item)(merged(blocks.apply(compress_block, options)).to_delayed().item())


def _fit_blocks(run: Callable[..., FitResult], X: Chunked, y: Chunked, weights: Chunked | None, options: dict[str, Any]) -> Fits:
    """The fits of all blocks, each by one call of `run`."""
    refuse_options(options, "call fit once for each")
    blocks = Blocks.of(X, y, weights)
    compressing = {name: value for name, value in options.items() if name in OF_COMPRESS}
    others = {name: value for name, value in options.items() if name not in ("intercept", "dtype", "nan_policy", "nodata")}
    if len(blocks.samples) == 1:
        example = example_of(run, blocks, options)
        results = blocks.apply(fit_block, {"run": run, **options})
    else:
        example = run(example_of(compress_arrays, blocks, compressing), **others)
        moments = merged(blocks.apply(compress_block, compressing))
        results = moments.map_blocks(fit_moments, options={"run": run, **others}, dtype=object, meta=np.empty((0,) * moments.ndim, object))
    names = {field.name: field.name for field in fields(Fits) if field.name not in _STATISTICS}
    if example.stats is not None:
        names |= {name: f"stats.{name}" for name in _STATISTICS if name != "p" or has_scipy()}
    examples = {name: (path, attrgetter(path)(example)) for name, path in names.items()}
    return Fits(
        **{name: _field(results, path, np.asarray(value), blocks.leading) for name, (path, value) in examples.items() if value is not None}
    )


def refuse_options(options: Mapping[str, Any], instead: str) -> None:
    """Raise where an option cannot be given to blocks. instead: of an array of values."""
    for name, why in _NOT_HERE.items():
        if name in options:
            raise TypeError(f"fastgd.dask has no option {name!r}: {why}")
    several = next((name for name, value in options.items() if isinstance(value, np.ndarray | list | da.Array) and np.ndim(value)), None)
    if several is not None and several != "nodata":
        raise TypeError(f"{several} must be one value for all fits; it is {shown(options[several])}: {instead}")


def example_of(run: Callable[..., Any], blocks: Blocks, options: Mapping[str, Any]) -> Any:
    """What `run` makes of three samples: a check of the options, and the fields that there are."""
    chosen = {name: value for name, value in options.items() if name != "memory_limit"}
    if chosen.get("nodata") is not None:
        chosen["nan_policy"] = "omit"  # the samples below may be such a value
    if blocks.weights is not None:
        chosen["sample_weight"] = np.ones(3, blocks.weights.dtype)
    X = np.ones((3, *blocks.X.shape[blocks.X.ndim - 1 :]) if blocks.X.ndim > 1 else 3, blocks.X.dtype)
    return run(X, np.ones((1,) * len(blocks.leading) + (3,), blocks.y.dtype), **chosen)


def _field(results: da.Array, name: str, example: np.ndarray, leading: tuple[tuple[int, ...], ...]) -> da.Array:
    """One field of the results of all blocks; the axes after the fits are whole."""
    n_fits, tail = len(leading), example.shape[len(leading) :]
    return results.map_blocks(
        value_of, options={"name": name}, drop_axis=n_fits, new_axis=[*range(n_fits, n_fits + len(tail))] or None,
        chunks=leading + tuple((length,) for length in tail), dtype=example.dtype, meta=np.empty((0,) * example.ndim, example.dtype),
    )  # fmt: skip
