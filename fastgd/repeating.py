"""repeating: small fits that are like an earlier one but for the numbers in X and y, and lr.

1. What `fit` checks and decides depends on shapes, dtypes and options, never on the numbers in X and y: of a small fit that is most of the
   time. So it is kept, under a key of all that it depends on, and a like call goes straight to the kernels.
2. Kept are only calls with NumPy arrays that the kernels take as they are, plain values for all options, and so little work that the
   calling thread does it. Every other call takes the long way; so does one whose data turn out not to be finite, from the start.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from .arrays import NUMPY
from .execute import Job, prepared_chunk, safe_rates
from .kernels.chunk import Samples
from .optimizers import optimizer_classes
from .outputs import Outputs

MOST_KEPT = 64  # keys; more, and all are forgotten
MOST_FITS = 64  # of a call
_PLAIN = frozenset((type(None), bool, int, float, str))
_SMALL = (type(None), float)
_OPTIMIZERS = frozenset(optimizer_classes())  # these, not what is made of them

Key = tuple[Any, ...]


@dataclass
class _Known:
    """A call that was made: its job, without its data."""

    job: Job
    index: np.ndarray  # 0, 1, …: fit f has data of its own, or all have the only ones
    zeros: np.ndarray
    every_sample: np.ndarray  # n_samples, for each fit
    no_weights: np.ndarray
    none_kept: np.ndarray


_known: dict[Key, _Known] = {}


def key_of(options: Mapping[str, Any]) -> Key | None:
    """What the checks and decisions of a call depend on; None where that is more than plain values tell. options: all of fit's."""
    X, y, lr = options["X"], options["y"], options["lr"]
    if type(X) is not np.ndarray or type(y) is not np.ndarray or type(lr) not in _SMALL:
        return None
    if lr is not None and not 0.0 <= lr < math.inf:
        return None
    values = tuple(options.values())[3:]
    kinds = tuple(map(type, values))
    if kinds[1] in _OPTIMIZERS:  # of fit's options from `epochs` on
        inside = _inside(values[1])
        if inside is None:
            return None
        values, kinds = (values[0], inside, *values[2:]), (kinds[0], str, *kinds[2:])
    if not _PLAIN.issuperset(kinds) or options["progress"]:
        return None
    signs = tuple(math.copysign(1.0, value) for value in values if type(value) is float)  # 0.0 == -0.0
    return X.shape, y.shape, X.dtype, y.dtype, lr is None, kinds, values, signs


def _inside(optimizer: Any) -> Key | None:
    """The class and the values of an optimizer object; None where they are not plain."""
    parts: list[Any] = [type(optimizer)]
    for field in fields(optimizer):
        value = getattr(optimizer, field.name)
        several = value if type(value) is tuple else (value,)
        if not _PLAIN.issuperset(map(type, several)):
            return None
        signs = tuple(math.copysign(1.0, part) for part in several if type(part) is float)
        parts.append((type(value), tuple(map(type, several)), several, signs))
    return tuple(parts)


def remember(key: Key | None, job: Job) -> None:
    """Keep the decisions of a call that was carried out."""
    problem, order, plan = job.problem, job.order, job.plan
    small = plan.inline and plan.backend == "cpu" and not plan.staged and plan.needs_moments and order.n_fits <= MOST_FITS
    if (
        key is None
        or not small
        or order.n_cells > 1
        or not order.natural
        or problem.library is not NUMPY
        or problem.n_samples < problem.min_samples
    ):
        return
    for items in (problem.X, problem.y):
        if items.array.dtype != problem.dtype or items.count != order.n_fits:
            return
    nothing = np.empty(0, problem.dtype)
    problem = replace(problem, X=replace(problem.X, array=nothing), y=replace(problem.y, array=nothing))
    layout = replace(job.outputs.layout, problem=problem)
    m, n = order.n_fits, problem.n_samples
    kept = replace(job, problem=problem, outputs=Outputs(layout, {}))
    if len(_known) >= MOST_KEPT:
        _known.clear()
    weights, none_kept = np.empty((0, n), problem.dtype), np.empty((0, n), np.int32)
    weights.flags.writeable = False
    _known[key] = _Known(kept, np.arange(m), np.zeros(m, np.int64), np.full(m, n), weights, none_kept)


def repeat(key: Key | None, X: np.ndarray, y: np.ndarray, lr: float | None, result_of: Callable[[Job], Any]) -> Any:
    """The result of a call like one that was made; None where the long way must be taken."""
    known = _known.get(key) if key is not None else None
    if known is None or not (X.flags.carray and y.flags.carray):
        return None
    from .kernels import cpu

    job = known.job
    problem, m = job.problem, job.order.n_fits
    outputs = Outputs(job.outputs.layout, {})
    outputs.allocate()
    job = replace(job, outputs=outputs, rates=job.rates if lr is None else np.array(lr))
    X, y = X.reshape(m, problem.n_samples, problem.n_features), y.reshape(m, problem.n_samples)
    X.flags.writeable = y.flags.writeable = False
    index = known.index
    samples = Samples(X, y, index, index, known.no_weights, known.zeros, known.none_kept, known.zeros - 1, known.every_sample)
    moments = cpu.Moments.empty(m, m, problem.n_parameters, problem.dtype)
    cancel, counter = np.zeros(1, np.int32), np.zeros(1, np.int64)
    if not cpu.compress_fits(samples, problem.intercept, moments, cancel):
        return None
    chunk = prepared_chunk(job, samples, 0, m)
    if job.rates is None:
        safe_rates(job, chunk, moments.curvature(index, moments.largest_eigenvalues(0, m, cancel), job.reduction == "sum"))
    cpu.descend(chunk, moments, index, index, cancel, counter)
    return result_of(job)
