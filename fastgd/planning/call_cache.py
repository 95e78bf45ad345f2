"""The call cache: decisions of small calls of `fit` and `solve`, for later ones of the same kind.

1. Checks and decisions depend on shapes, dtypes and options, never on the numbers in X and y; they
   take half of the time of a small fit. So the job is remembered under a key of everything that
   they depend on, and a later call with an equal key gets a copy of the job with its own data.
2. Only calls are remembered whose X and y are NumPy arrays that the kernels read as they are, whose
   options are plain values, and whose work is so small that the calling thread does it.
3. A remembered job has neither data nor results. It has scratch memory: a call takes one piece out
   and puts it back, so that calls in several threads never share one.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any, TypeVar

import numpy as np

from ..data.problem import Problem
from ..input.arrays import NUMPY
from ..input.float_mode import quietly
from ..results.buffers import Buffers
from .job import FitJob, prepare_anew
from .options import NAMES, Key, key_of_options, key_of_values
from .options import forget as forget_options
from .solve_job import SolveJob, prepare_solve

MOST_REMEMBERED = 64  # keys; before one more is added, all are forgotten
MOST_FITS = 64  # per call
MOST_MOMENTS = 2**12  # numbers in the Gram matrices of a call: 64 KiB of scratch in float64
DATA = ("X", "y")
NOT_AMONG_OTHERS = (*DATA, "lr", *NAMES)  # arguments of `fit` that its key has in another form
MOST_COPIED = 2**8  # bytes of an array that is copied though nothing in it is needed
_READABLE = 0x0001 | 0x0100  # the flags of NumPy: C-contiguous, aligned

Made = TypeVar("Made", FitJob, SolveJob)

remembered: dict[Key, Any] = {}  # jobs


def prepare(arguments: Mapping[str, Any]) -> FitJob:
    """Make the job for a call of `fit`. arguments: those of `fit`, by name."""
    options = key_of_options(arguments)
    return _prepare(key_of(arguments, options), prepare_anew, arguments, options)


def prepare_solution(arguments: Mapping[str, Any]) -> SolveJob:
    """Make the job for a call of `solve`. arguments: those of `solve`, by name."""
    return _prepare(key_of_solve(arguments), prepare_solve, arguments)


def _prepare(key: Key | None, anew: Callable[..., Made], arguments: Mapping[str, Any], *more: Any) -> Made:
    job = recall(key, arguments)
    if job is None:
        job = quietly(anew, arguments, *more)
        remember(key, job)
    return job


def forget() -> None:
    """Empty the cache."""
    remembered.clear()
    forget_options()


def recall(key: Key | None, arguments: Mapping[str, Any]) -> Any:
    """The job for a call whose key was seen before, with the data of this call; else None."""
    known = remembered.get(key) if key is not None else None
    X, y = arguments["X"], arguments["y"]
    if known is None or X.flags.num & y.flags.num & _READABLE != _READABLE:
        return None
    job = _twin(known)
    job.recalled = True
    job.problem = _with_data(known.problem, X, y)
    if arguments.get("lr") is not None:
        job.rates = np.array(arguments["lr"])
    if not known.buffers.begun:
        known.buffers.begun = _begun(known)
    job.buffers = buffers = _twin(known.buffers)
    buffers.arrays, buffers.curvatures, buffers.noted = {}, [], []
    buffers.allocate(tightly=arguments["memory_limit"] is not None)
    return job


def remember(key: Key | None, job: FitJob | SolveJob) -> None:
    """Put the decisions of a call into the cache, if the call is small."""
    if key is None or not (_as_they_are(key, job.problem) and _is_small(job)):
        return
    known, layout = _twin(job), _twin(job.buffers.layout)
    known.problem = layout.problem = _with_data(job.problem, None, None)
    known.buffers, known.scratch = Buffers(layout, {}), []
    if len(remembered) >= MOST_REMEMBERED:
        remembered.clear()
    remembered[key] = known


def _begun(job: FitJob | SolveJob) -> dict[str, np.ndarray]:
    """{name in a chunk: (m, …)}: the state before the first epoch of all fits of a job.

    And other arrays that are short: a copy is made in half of the time of a new array.
    """
    order, made = job.order, {}
    for name, (shape, dtype) in job.buffers.layout.shapes.items():
        if name in job.begin or order.n_fits * math.prod(shape) * dtype.itemsize <= MOST_COPIED:
            made[name] = np.zeros((order.n_fits, *shape), dtype)
    for name, (values, n_last) in job.begin.items():
        made[name][...] = order.pick_range(values, 0, order.n_fits, n_last)
    return made


def _is_small(job: FitJob | SolveJob) -> bool:
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


def key_of(arguments: Mapping[str, Any], options: Key | None) -> Key | None:
    """Everything that the checks and decisions of a call depend on; None: not to be cached.

    options: the key of its options, as of `key_of_options`.
    """
    lr = arguments["lr"]
    if options is None or not (lr is None or (type(lr) is float and 0.0 <= lr < math.inf)):
        return None
    return _key(arguments, NOT_AMONG_OTHERS, lr is None, options)


def key_of_solve(arguments: Mapping[str, Any]) -> Key | None:
    """What a call of `solve` and calls that are like it have in common; None: not to be cached."""
    return _key(arguments, DATA, "solve")


def _key(arguments: Mapping[str, Any], apart: tuple[str, ...], *parts: Any) -> Key | None:
    """The key of a call. parts: what it has in place of the arguments that are named in `apart`."""
    X, y = arguments["X"], arguments["y"]
    if type(X) is not np.ndarray or type(y) is not np.ndarray or arguments["checkpoint"] is not None:
        return None
    if arguments["progress"] is not None and arguments["progress"] is not False:
        return None
    others = key_of_values(_others(tuple(arguments), apart)(arguments))
    return None if others is None else (X.shape, y.shape, X.dtype, y.dtype, others, *parts)


@functools.cache
def _others(names: tuple[str, ...], apart: tuple[str, ...]) -> Callable[[Any], tuple[Any, ...]]:
    """What picks the arguments that are not looked at one by one."""
    return itemgetter(*[name for name in names if name not in apart])
