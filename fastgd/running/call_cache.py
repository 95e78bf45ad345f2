"""repeating: small fits that are like an earlier one but for the numbers in X and y, and lr.

1. What `fit` checks and decides depends on shapes, dtypes and options, never on the numbers in X and y: of a small fit that is most of the
   time. So it is kept, under a key of all that it depends on, and a like call goes straight to the kernels.
2. Kept are only calls with NumPy arrays that the kernels take as they are, plain values for all options, and so little work that the
   calling thread does it. Every other call takes the long way; so does one whose data turn out not to be finite, from the start.
3. What the kernels are given besides the data and the results is kept too, with scratch that they write into. A call takes a set of it
   for itself, and puts it back: calls in several threads, or one inside another, never share one. Nothing of a result lies in it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import numpy as np

from ..input.arrays import NUMPY
from ..kernels.chunk import WRITTEN, Chunk, Samples
from ..optimizers import optimizer_classes
from ..planning.job import Job
from ..results.buffers import Outputs
from ..results.result import FitResult, History, State, Status
from .chunks import algorithm_name, prepared_chunk, safe_rates

MOST_KEPT = 64  # keys; more, and all are forgotten
MOST_FITS = 64  # of a call
MOST_SETS = 8  # of scratch that are kept for a key, for as many threads
N_STATE = 6  # of WRITTEN: the state; what follows are results
_READABLE = 0x0001 | 0x0100  # the flags of NumPy: C-contiguous, aligned
_STATUSES = tuple(Status)  # by their codes
_PLAIN = frozenset((type(None), bool, int, float, str))
_SMALL = (type(None), float)
_OPTIMIZERS = frozenset(optimizer_classes())  # these, not what is made of them
Key = tuple[Any, ...]


class _Scratch:
    """What the kernels are given besides the data and the results, and write into: for one call at a time."""

    def __init__(self, chunk: Chunk) -> None:
        from ..kernels import cpu

        m = len(chunk.n_used)
        self.moments = cpu.Moments.empty(m, m, chunk.w_out.shape[1], chunk.w_out.dtype)
        self.chunk = replace(chunk, lr=chunk.lr.copy())
        self.rates = self.chunk.lr[0]
        self.to_compress = cpu.given_to_compress(self.chunk, chunk.intercept, self.moments)
        self.to_descend = cpu.given_to_descend(self.chunk, self.moments, chunk.x_index, chunk.x_index)
        self.counter = np.zeros(1, np.int64)


class _Known:
    """A call that was made, without its data: what the kernels are given, and how its result is made."""

    def __init__(self, job: Job) -> None:
        """job: without its data, its outputs empty."""
        from ..kernels import cpu

        problem, m = job.problem, job.order.n_fits
        n, d, dtype = problem.n_samples, problem.n_features, problem.dtype
        each, no_weights = np.arange(m), np.empty((0, n), dtype)  # fit f has data of its own, or the only fit the only ones
        no_weights.flags.writeable = False
        samples = Samples(
            np.empty((0, n, d), dtype), np.empty((0, n), dtype), each, each, no_weights, np.zeros(m, np.int64),
            np.empty((0, n), np.int32), np.full(m, -1), np.full(m, n),
        )  # fmt: skip
        _, self.steps_of_x, _, self.steps_of_y, *self.weights = cpu.flat_data(samples)
        chunk = prepared_chunk(job, samples, 0, m)
        self.start = [getattr(chunk, name) for name in WRITTEN[:N_STATE]]  # to be copied
        self.room = [(array.shape, array.dtype) for array in (getattr(chunk, name) for name in WRITTEN[N_STATE:])]  # to be made
        self.chunk = replace(chunk, **{name: getattr(chunk, name)[:, :0] for name in ("history_w", "history_loss")})  # they may be long
        self.scratch: list[_Scratch] = []
        self.cancel = np.zeros(1, np.int32)
        self.safe_rates = job.rates is None
        self.shape = job.order.shape
        self.epoch = np.append(np.arange(0, job.epochs, job.every), job.epochs) if job.every else None
        self.features = 0 if problem.one_feature else slice(d)  # of the last axis
        self.of_state = job.rule.name, problem.intercept, str(dtype)
        self.words = job.plan.backend, algorithm_name(job.plan.algorithm), job.plan.explanation

    def fit(self, X: np.ndarray, y: np.ndarray, lr: float | None) -> FitResult | None:
        """The result for other data; None where they are not finite."""
        try:
            scratch = self.scratch.pop()
        except IndexError:
            scratch = _Scratch(self.chunk)
        result = self._fit(X, y, lr, scratch)
        if len(self.scratch) < MOST_SETS:
            self.scratch.append(scratch)
        return result

    def _fit(self, X: np.ndarray, y: np.ndarray, lr: float | None, scratch: _Scratch) -> FitResult | None:
        """The same, in scratch that is nobody else's."""
        from ..kernels import cpu

        X, y = X.ravel(), y.ravel()  # views
        X.setflags(write=False)
        y.setflags(write=False)
        data = (X, self.steps_of_x, y, self.steps_of_y, *self.weights)
        if not cpu.compress_alike(data, scratch.to_compress, self.cancel):
            return None
        if lr is not None:
            scratch.rates.fill(lr)
        elif self.safe_rates:
            self._find_rates(scratch)
        written = [array.copy() for array in self.start]
        written += [np.empty(shape, dtype) for shape, dtype in self.room]
        cpu.descend_alike(data, scratch.to_descend, written, self.cancel, scratch.counter)
        return self._result(written, scratch.rates)

    def _find_rates(self, scratch: _Scratch) -> None:
        """The safe rate of each fit, from its moments."""
        chunk, moments = scratch.chunk, scratch.moments
        moments.gram_exponents[:] = moments.exponents
        eigenvalues = moments.largest_eigenvalues(0, len(chunk.n_used), self.cancel)
        safe_rates(chunk, moments.curvature(chunk.x_index, eigenvalues, chunk.reduction == "sum"))

    def _result(self, written: list[np.ndarray], rates: np.ndarray) -> FitResult:
        """What fitting.py makes of such a job: nothing in it belongs to anybody else."""
        shape, n_used, history = self.shape, self.chunk.n_used, None
        code: Any
        if not shape:  # index 0 of an axis gives an array of the others, or a number; with … always an array
            w, slots, products, steps, algorithm, status = (array[0, ...] for array in written[:N_STATE])
            w_out, loss, epochs_run, history_w, history_loss = (array[0] for array in written[N_STATE:])
            n_used, lr, code = n_used[0], rates[0], _STATUSES[int(status)]
        else:
            shaped = [array.reshape(shape + array.shape[1:]) for array in written]
            w, slots, products, steps, algorithm, status, w_out, loss, epochs_run, history_w, history_loss = shaped
            n_used, lr, code = n_used.reshape(shape).copy(), rates.reshape(shape).copy(), status
        rule, has_intercept, dtype = self.of_state
        if self.epoch is not None:
            history_intercept = history_w[..., -1] if has_intercept else None
            history = History(self.epoch.copy(), history_w[..., self.features], history_loss, history_intercept)
        backend, algorithm_in_words, explanation = self.words
        return FitResult(
            w=w_out[..., self.features][()],
            loss=loss,
            epochs=epochs_run,
            status=code,
            n_used=n_used,
            lr=lr,
            backend=backend,
            algorithm=algorithm_in_words,
            explanation=explanation,
            state=State(w, slots, products, steps, algorithm, status, rule, has_intercept, dtype),
            intercept=w_out[..., -1][()] if has_intercept else None,
            history=history,
            _one_feature=self.features == 0,
        )


_known: dict[Key, _Known | Job] = {}  # a job, without its data, until a like call comes


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
    if len(_known) >= MOST_KEPT:
        _known.clear()
    _known[key] = replace(job, problem=problem, rooms=[], outputs=Outputs(replace(job.outputs.layout, problem=problem), {}))


def repeat(key: Key | None, X: np.ndarray, y: np.ndarray, lr: float | None) -> FitResult | None:
    """The result of a call like one that was made; None where the long way must be taken."""
    known = _known.get(key) if key is not None else None
    if known is None or X.flags.num & y.flags.num & _READABLE != _READABLE:
        return None
    if isinstance(known, Job):
        assert key is not None
        known = _known[key] = _Known(known)
    return known.fit(X, y, lr)
