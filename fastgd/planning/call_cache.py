"""The call cache: the decisions of small calls of `fit`, for later calls of the same kind.

1. Checks and decisions depend on shapes, dtypes and options, never on the numbers in X and y; they
   take half of the time of a small fit. So the job is remembered under a key of everything that
   they depend on, and a later call with an equal key gets a copy of the job with its own data.
2. Only calls are remembered whose X and y are NumPy arrays that the kernels read as they are, whose
   options are plain values, and whose work is so small that the calling thread does it.
3. A remembered job has neither data nor results. It has scratch memory: a call takes one piece out
   and puts it back, so that calls in several threads never share one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from ..data.problem import Problem
from ..input.arrays import NUMPY
from ..input.float_mode import quietly
from ..optimizers import optimizer_classes
from ..results.buffers import Buffers
from .job import FitJob, prepare_anew

MOST_REMEMBERED = 64  # keys; before one more is added, all are forgotten
MOST_FITS = 64  # per call
MOST_MOMENTS = 2**12  # numbers in the Gram matrices of a call: 64 KiB of scratch in float64
_READABLE = 0x0001 | 0x0100  # the flags of NumPy: C-contiguous, aligned
_PLAIN = frozenset((type(None), bool, int, float, str))
_OPTIMIZERS = frozenset(optimizer_classes())  # a subclass is not among them

Key = tuple[Any, ...]
remembered: dict[Key, FitJob] = {}


def prepare(arguments: Mapping[str, Any]) -> FitJob:
    """Make the job for a call of `fit`. arguments: those of `fit`, by name."""
    key = key_of(arguments)
    job = recall(key, arguments)
    if job is None:
        job = quietly(prepare_anew, arguments)
        remember(key, job)
    return job


def forget() -> None:
    """Empty the cache."""
    remembered.clear()


def recall(key: Key | None, arguments: Mapping[str, Any]) -> FitJob | None:
    """The job for a call whose key was seen before, with the data of this call; else None."""
    known = remembered.get(key) if key is not None else None
    X, y = arguments["X"], arguments["y"]
    if known is None or X.flags.num & y.flags.num & _READABLE != _READABLE:
        return None
    job = _twin(known)
    job.recalled = True
    job.problem = _with_data(known.problem, X, y)
    if known.rates is not None and arguments["lr"] is not None:
        job.rates = np.array(arguments["lr"])
    job.buffers = Buffers(known.buffers.layout, {})
    job.buffers.allocate(tightly=arguments["memory_limit"] is not None)
    return job


def remember(key: Key | None, job: FitJob) -> None:
    """Put the decisions of a call into the cache, if the call is small."""
    if key is None or not (_as_they_are(key, job.problem) and _is_small(job)):
        return
    known, layout = _twin(job), _twin(job.buffers.layout)
    known.problem = layout.problem = _with_data(job.problem, None, None)
    known.buffers, known.scratch = Buffers(layout, {}), []
    if len(remembered) >= MOST_REMEMBERED:
        remembered.clear()
    remembered[key] = known


def _is_small(job: FitJob) -> bool:
    """Whether the calling thread runs the job, and little memory is kept for it."""
    problem, order, plan = job.problem, job.order, job.plan
    moments = order.n_fits * problem.n_parameters**2
    return (
        plan.inline
        and plan.backend.has_threads
        and plan.needs_moments
        and not plan.staged
        and order.n_fits <= MOST_FITS
        and moments <= MOST_MOMENTS
        and order.n_cells == 1
        and order.natural
        and problem.library is NUMPY
        and problem.X.count == problem.y.count == order.n_fits
    )


def _as_they_are(key: Key, problem: Problem) -> bool:
    """Whether the kernels read X and y as the caller gave them, whatever numbers are in them."""
    dtypes = key[2:4]
    return dtypes[0] == dtypes[1] == problem.dtype and not (problem.X.may_miss or problem.y.may_miss)


def _twin(one: Any) -> Any:
    """A shallow copy of an object; copy.copy takes 3 µs longer."""
    other = object.__new__(type(one))
    other.__dict__.update(one.__dict__)
    return other


def _with_data(problem: Problem, X: np.ndarray | None, y: np.ndarray | None) -> Problem:
    """A copy of the problem with other data, or with none."""
    other = _twin(problem)
    other.X, other.y = problem.X.of_another(X), problem.y.of_another(y)
    return other


def key_of(arguments: Mapping[str, Any]) -> Key | None:
    """Everything that the checks and decisions of a call depend on; None: not to be cached."""
    options = dict(arguments)
    X, y, lr = options.pop("X"), options.pop("y"), options.pop("lr")
    if type(X) is not np.ndarray or type(y) is not np.ndarray:
        return None
    if not (lr is None or (type(lr) is float and 0.0 <= lr < math.inf)):
        return None
    if type(options["optimizer"]) in _OPTIMIZERS:
        options["optimizer"] = inside = _inside(options["optimizer"])
        if inside is None:
            return None
    values = tuple(options.values())
    kinds = tuple(map(type, values))
    if not _PLAIN.issuperset(kinds) or options["progress"] or options["checkpoint"] is not None:
        return None
    # the signs, because 0.0 == -0.0
    signs = tuple([math.copysign(1.0, value) for value in values if type(value) is float])
    return X.shape, y.shape, X.dtype, y.dtype, lr is None, kinds, values, signs


def _inside(optimizer: Any) -> str | None:
    """The class and the values of an optimizer as a text; None where a value is not plain."""
    parts: list[Any] = [type(optimizer).__name__]
    for field in fields(optimizer):
        value = getattr(optimizer, field.name)
        several = value if type(value) is tuple else (value,)
        if not _PLAIN.issuperset(map(type, several)):
            return None
        parts.append(value)
    return repr(parts)  # exact for plain values: 0.0 and -0.0 differ, and 1, True and 1.0
