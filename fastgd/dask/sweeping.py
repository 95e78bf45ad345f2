"""sweep() of chunked arrays: the data become Moments once, and blocks of cells are tasks."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import dask
import numpy as np

from ..compressing import compress
from ..input.annotations import OptimizerName
from ..input.options import read_count
from ..input.wrong_names import helps_with_keywords
from ..optimizers import Optimizer
from ..results.moments import Moments
from ..results.sweep_building import Parts
from ..results.sweep_result import SweepResult
from ..sweeping import read_cells, sweep_cells
from .blocks import Blocks, Chunked
from .fitting import OF_COMPRESS, compress_blocks, example_of, refuse_options

_OF_BOTH = ("threads", "memory_limit")  # options of a task, whatever it does


@helps_with_keywords
def sweep(
    X: Chunked | Moments,
    y: Chunked | None = None,
    *,
    grid: Mapping[str, Any] | None = None,
    points: Any = None,
    optimizer: OptimizerName | Optimizer | type[Optimizer] = "sgd",
    epochs: int | None = 100,
    sample_weight: Chunked | None = None,
    X_val: Chunked | Moments | None = None,
    y_val: Chunked | None = None,
    sample_weight_val: Chunked | None = None,
    history: bool | int = False,
    tasks: int = 16,
    threads: int = 1,
    **fit_options: Any,
) -> Any:
    """Fit chunked data at many hyperparameters: the data are read once, cells are tasks.

    ::

        sweep(X, y, grid=grid) = fastgd.sweep(compress(X, y), grid=grid)

    Nothing is computed yet. `compress` makes Moments of the chunks; each task then fits a block of
    cells to them. Cells have the bits of the call above, however many tasks there are.

    Parameters
    ----------
    X : dask array or ndarray (…, n_samples, n_features) or (n_samples,), or Moments
        Features, one chunk along the last axis and along all leading axes; or Moments, in place of
        X and y.
    y : dask array or ndarray (…, n_samples), optional
        Targets, one chunk along all leading axes. None where X is Moments.
    grid : mapping of str to list, optional
        Values of each axis, as in `fastgd.sweep`.
    points : list of mappings, data frame, or mapping of columns, optional
        In place of a grid: the values of each point.
    optimizer : str or optimizer object, default "sgd"
        The update rule, with values that all cells share, where the grid has none.
    epochs : int or None, default 100
        Passes over the data, ≥ 0. None: until ``tol`` ends each fit.
    sample_weight : dask array or ndarray (…, n_samples), optional
        Weights ≥ 0.
    X_val, y_val, sample_weight_val : optional
        Validation data, arrays or Moments like X, y and sample_weight: for ``val_loss``.
    history : bool or int, default False
        True: record w and loss of every epoch; k: of epochs 0, k, 2k, … and the last.
    tasks : int, default 16
        The number of blocks that the cells are cut into, at most; a few for each worker are good.
    threads : int, default 1
        Threads of one task; Dask runs tasks side by side.
    **fit_options
        Further options of `fastgd.sweep` with one value for all cells, such as ``intercept``,
        ``standardize``, ``tol`` or ``nan_policy``; without ``w0``, which can be an axis of the
        grid, ``checkpoint`` and ``progress``.

    Returns
    -------
    dask.delayed.Delayed
        ``compute()`` gives the `fastgd.SweepResult`.

    Raises
    ------
    ValueError, TypeError
        At once where shapes, chunks, the grid or options do not match; what is wrong with the
        numbers themselves when they are computed.
    ImportError
        When Dask is not installed: ``pip install 'fastgd[dask]'``.

    Examples
    --------
    >>> import dask.array, fastgd.dask
    >>> X = dask.array.random.default_rng(0).normal(size=(1000, 2), chunks=(250, 2))
    >>> grid = {"lr": [0.01, 0.1, 0.5], "momentum": [0.0, 0.9]}
    >>> found = fastgd.dask.sweep(X, X @ [1.0, -2.0], grid=grid, epochs=50, tasks=4).compute()
    >>> found.loss.shape, found.best()["lr"]
    ((3, 2), 0.5)
    """
    arguments = {"grid": grid, "points": points, "optimizer": optimizer, "fit_options": fit_options}
    refuse_options(fit_options, 'values that differ between cells are an axis, grid={"lr": [...]}')
    cells, options = read_cells(arguments)
    blocks = _blocks(cells.dims, read_count(tasks, "tasks", 1))
    options |= {"threads": threads}
    compressing = {name: value for name, value in options.items() if name in OF_COMPRESS}
    if isinstance(X, Moments):
        options |= {"sample_weight": sample_weight}  # for `fastgd.sweep` to refuse, like y and other options
    else:
        options = {name: value for name, value in options.items() if name not in OF_COMPRESS or name in _OF_BOTH}
    data, example = _compressed(X, y, sample_weight, compressing)
    asked: dict[str, Any] = {"epochs": epochs, "history": history, "sample_weight_val": None, "y_val": None}
    validation, of_validation = None, None
    if X_val is not None:
        validation, of_validation = _compressed(X_val, y_val, sample_weight_val, compressing)
    first = cells.take(dict.fromkeys(cells.dims, slice(0, 1)))
    told = asked | {"X": example, "y": y if isinstance(X, Moments) else None, "X_val": of_validation}
    if X_val is None or isinstance(X_val, Moments):
        told |= {"y_val": y_val, "sample_weight_val": sample_weight_val}
    sweep_cells(first, options, told)  # what is wrong about the options is said at once
    made = [dask.delayed(_sweep_block)(cells.take(block), data, validation, options, asked) for block in blocks]
    return dask.delayed(_put_together)(made, blocks, cells)


def _compressed(X: Any, y: Any, weights: Any, options: Mapping[str, Any]) -> tuple[Any, Moments]:
    """(the Moments, delayed; the Moments of three samples like them)."""
    if isinstance(X, Moments):
        sample = np.ones((3,) if X.one_feature else (3, X.n_features), X.dtype)
        targets = np.ones((*(1 for _ in X.leading), 3), X.dtype)
        return dask.delayed(X), compress(sample, targets, intercept=X.intercept)
    blocks = Blocks.of(X, y, weights)
    return compress_blocks(blocks, options), example_of(compress, blocks, options)


def _blocks(dims: Mapping[str, int], count: int) -> list[dict[str, slice]]:
    """Blocks of cells, by stretches of the axes: about `count` of them, where there are so many.

    Again and again the axis whose pieces are longest is cut once more.
    """
    pieces = dict.fromkeys(dims, 1)
    while math.prod(pieces.values()) < count:
        longest = max(dims, key=lambda name: dims[name] / pieces[name])
        if pieces[longest] == dims[longest]:
            break
        pieces[longest] += 1
    cuts = [[dims[name] * k // pieces[name] for k in range(pieces[name] + 1)] for name in dims]
    stretches = [[slice(*ends) for ends in itertools.pairwise(ends)] for ends in cuts]
    return [dict(zip(dims, block, strict=True)) for block in itertools.product(*stretches)]


# -- tasks -----------------------------------------------------------------------------------------


def _sweep_block(cells: Any, data: Moments, validation: Moments | None, options: dict[str, Any], asked: dict[str, Any]) -> SweepResult:
    """Task: the fits of some cells."""
    return sweep_cells(cells, options, {**asked, "X": data, "y": None, "X_val": validation})


def _put_together(made: Sequence[SweepResult], blocks: Sequence[dict[str, slice]], cells: Any) -> SweepResult:
    """Task: the sweep of all blocks."""
    grid = tuple(cells.dims.values())
    parts = Parts(grid, made[0].loss.shape[len(grid) :])
    for result, block in zip(made, blocks, strict=True):
        parts.put(result, tuple(block.values()), result.stability_limit)
    return parts.build(cells.coordinates, None, made[0].tol)
