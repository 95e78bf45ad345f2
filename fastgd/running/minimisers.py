"""Minimisers of fits of a group, in closed form: from moments if these suffice, else from samples.

1. The moments of the data as they are (kernels/cpu/solving.py).
2. With an intercept and without a penalty, where these do not suffice or the answer may have lost
   half of its digits: the moments of columns from which a constant was subtracted, exactly. It is
   another read of the data, of these fits only. Standardised features are centred: they need no
   such shift.
3. The singular value decomposition of the samples (svd.py), in stacks of fits. Of long fits a
   triangular factor is decomposed, which is made block after block, so that the memory is small:
   once for all fits of one X. LAPACK cannot be interrupted: what takes long is done apart
   (kernels/apart.py), and only its results are written.
"""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from ..data.fit_order import FitOrder
from ..data.problem import Problem
from ..kernels import cpu
from ..kernels.apart import run_apart_if
from ..kernels.chunk import LSTSQ, MOMENTS, Samples
from ..kernels.forks import lapack_lock
from ..planning.plan import STACK_NUMBERS, TALL
from .eigen import solve_from_moments
from .groups import Group, select
from .moments import compress_shifted
from .pool import Control
from .samples import ScaledSamples, blocks_of, even_exponent, read_samples, scale_samples, weights_of
from .svd import factor

LONG_WORK = 2**26  # n · D · min(n, D): from here on LAPACK takes longer than a tenth of a second
SHARED = 8  # fits of one X: from here on it is factored once; fewer are solved in stacks with others


@dataclass
class Minimisers:
    """The minimisers of some fits; a row for each."""

    w: np.ndarray  # (m, D) float64
    loss: np.ndarray  # (m,) float64
    condition: np.ndarray  # (m,) float64
    rank: np.ndarray  # (m,) int64
    algorithm: np.ndarray  # (m,) int8: MOMENTS or LSTSQ

    @classmethod
    def empty(cls, count: int, n_parameters: int) -> Minimisers:
        """Rows to be filled."""
        return cls(np.empty((count, n_parameters)), np.empty(count), np.empty(count), np.empty(count, np.int64), np.empty(count, np.int8))


class LastMatrices:
    """The matrices that were asked for last, for other tasks whose fits have the same.

    leading: leading axes of the X and weights of the fits, which are in this order.
    """

    def __init__(self, order: FitOrder, leading: tuple[int, ...]) -> None:
        self._order, self._leading, self._lock = order, leading, threading.Lock()
        self._last: _OfOneKey | None = None

    def find(self, fit: np.ndarray, decay: float, make: Callable[[], Matrices]) -> Matrices:
        """The matrices of a fit, whose number is (1,); made where the last ones are others.

        Only threads that need the same matrices wait while these are made.
        """
        key = int(self._order.index(self._leading, fit)[0]), decay
        with self._lock:
            if self._last is None or key != self._last.key:
                self._last = _OfOneKey(key)
            last = self._last
        with last.lock:
            if last.matrices is None:
                last.matrices = make()
            return last.matrices


@dataclass
class _OfOneKey:
    key: tuple[int, float]
    matrices: Matrices | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


Shared = tuple[LastMatrices, np.ndarray]  # what tasks share, and (m,) the numbers of the fits


@functools.cache
def most_condition(dtype: np.dtype) -> float:
    """1/√u: beyond, a change of the data in their last digit can change half of the digits of w."""
    return 1.0 / math.sqrt(np.finfo(dtype).eps / 2.0)


def minimise(
    problem: Problem, group: Group, pairs: np.ndarray, decay: np.ndarray, of_the_sum: bool, found: Minimisers, places: np.ndarray,
    control: Control, counter: np.ndarray, shared: Shared | None = None,
) -> bool:  # fmt: skip
    """Write the minimisers of fits of a group, whose data are finite, to these rows of `found`.

    pairs (m,): the number of each fit's pair in the group; decay (m,) weight_decay. Fits of one
    Gram matrix and one decay should follow each other. A group without moments is solved from its
    samples. shared: what tasks share, and (m,) the numbers of the fits. Returns whether all are
    settled: solved from the moments of the data as they are, of full rank and not ill-conditioned,
    with w and loss that a float32 can hold.
    """
    samples = _scaled(group)
    found.algorithm[places] = LSTSQ
    if group.moments is not None:
        some, rows, own_decay = pairs, places, decay
        needed = problem.n_parameters + (group.middle is not None)  # an intercept that is no parameter any more
        if group.standard is not None or not (group.is_whole and problem.n_samples >= needed):
            enough = group.samples.n_used[pairs] >= needed
            if group.standard is not None:
                enough &= ~group.standard.doubtful[group.gram_index[pairs]]
            if not enough.all():
                some, rows, own_decay = pairs[enough], places[enough], decay[enough]
        settled = cpu.solve(
            group.moments, group.gram_index[some], some, own_decay, rows, of_the_sum,
            found.w, found.loss, found.condition, found.rank, found.algorithm, control.cancel, counter, most_condition(problem.dtype),
        )  # fmt: skip
        if settled == len(places):
            return True
        if problem.intercept and group.has_samples and not isinstance(samples, ScaledSamples):
            lost = found.algorithm[rows] == LSTSQ
            lost[~lost] = found.condition[rows[~lost]] > most_condition(problem.dtype)
            lost &= own_decay == 0.0
            if lost.any():
                _solve_shifted(problem, group, some[lost], found, rows[lost], control, counter)
    left = np.flatnonzero(found.algorithm[places] == LSTSQ)
    if not len(left):
        return False
    if not group.has_samples:
        _solve_grams(problem, group, pairs[left], decay[left], of_the_sum, found, places[left], counter)
        return False
    if shared is not None:
        shared = shared[0], shared[1][left]
    with np.errstate(all="ignore"):  # a solution that overflows is a status
        _solve_samples(problem, samples, pairs[left], decay[left], of_the_sum, found, places[left], control, counter, shared)
    return False


def _solve_shifted(
    problem: Problem, group: Group, pairs: np.ndarray, found: Minimisers, places: np.ndarray, control: Control, counter: np.ndarray
) -> None:
    """Solve fits from moments of shifted columns, as far as that can be done."""
    size = problem.n_parameters
    step = max(1, STACK_NUMBERS * 8 // cpu.record_bytes(size, problem.dtype))
    for first in range(0, len(pairs), step):
        samples = select(group.samples, pairs[first : first + step])
        shift = cpu.find_shifts(samples, size, control.cancel)
        if control.cancel[0]:
            return
        useful = np.flatnonzero(shift[:, : problem.n_features].any(axis=1))
        if not len(useful):
            continue
        some, rows = pairs[first : first + step][useful], places[first : first + step][useful]
        moments = compress_shifted(problem, group, some, shift[useful], control)
        if control.cancel[0]:
            return
        better, order = Minimisers.empty(len(some), size), np.arange(len(some), dtype=np.int64)
        cpu.solve(
            moments, order, order, np.zeros(len(some)), order, False,
            better.w, better.loss, better.condition, better.rank, better.algorithm, control.cancel, np.zeros(1, np.int64),
            shift=shift[useful],
        )  # fmt: skip
        solved = better.algorithm == MOMENTS
        counter[0] += int((found.algorithm[rows[solved]] == LSTSQ).sum())
        for name in ("w", "loss", "condition", "rank", "algorithm"):
            getattr(found, name)[rows[solved]] = getattr(better, name)[solved]


def _solve_grams(
    problem: Problem, group: Group, pairs: np.ndarray, decay: np.ndarray, of_the_sum: bool, found: Minimisers, places: np.ndarray,
    counter: np.ndarray,
) -> None:  # fmt: skip
    """Solve fits without samples whose moments do not determine w: all are ill-conditioned."""
    step = max(1, STACK_NUMBERS // problem.n_parameters**2)
    for first in range(0, len(pairs), step):
        some, rows = pairs[first : first + step], places[first : first + step]
        w, loss, rank, condition = solve_from_moments(group.moments, group.gram_index[some], some, decay[first : first + step], of_the_sum)
        found.w[rows], found.loss[rows], found.rank[rows] = w, loss, rank
        least = np.where(rank < problem.n_parameters, 1.0, np.nextafter(most_condition(problem.dtype), np.inf))
        found.condition[rows] = np.maximum(condition, least)
        counter[0] += len(some)


# -- from samples ----------------------------------------------------------------------------------


def _scaled(group: Group) -> Samples:
    """The samples of a group, scaled where the group is standardised."""
    samples, standard, index = group.samples, group.standard, group.gram_index
    if standard is None or not group.has_samples or isinstance(samples, ScaledSamples):
        return samples
    own = index if standard.apart else index * 0
    return scale_samples(samples, standard.center[index], standard.scale[index], own, np.dtype(np.float64), group.middle)


def _solve_samples(
    problem: Problem, samples: Samples, pairs: np.ndarray, decay: np.ndarray, of_the_sum: bool, found: Minimisers, places: np.ndarray,
    control: Control, counter: np.ndarray, shared: Shared | None,
) -> None:  # fmt: skip
    """Solve fits by the singular value decomposition."""
    size = problem.n_parameters
    for stack, one in _stacks(samples, pairs, decay, size):
        n = int(samples.n_used[pairs[stack[0]]])
        long = _is_long(n, size)
        step = max(1, STACK_NUMBERS // (size if long else n * (1 if one else size)))
        apart = n * size * min(n, size) > LONG_WORK
        matrices: Matrices | None = None
        for first in range(0, len(stack), step):
            if control.cancel[0]:
                return
            some = stack[first : first + step]
            if long:
                solution = run_apart_if(apart, _solve_long, problem, samples, pairs[some], decay[some[:1]], of_the_sum)
            else:
                if matrices is None or not one:
                    of_matrices = some[:1] if one else some
                    make = partial(Matrices, problem, samples, pairs[of_matrices], decay[of_matrices], of_the_sum)
                    if one and shared is not None:
                        make = partial(shared[0].find, shared[1][some[:1]], float(decay[some[0]]), make)
                    matrices = run_apart_if(apart, make)
                solution = run_apart_if(apart, matrices.solve, read_samples(samples, "y", pairs[some]))
            rows = places[some]
            found.w[rows], found.loss[rows], found.rank[rows], found.condition[rows] = solution
            counter[0] += len(some)


def _is_long(n: int | np.ndarray, size: int) -> bool | np.ndarray:
    """Whether fits of n samples are solved block after block."""
    return (n * size > STACK_NUMBERS) & (n > TALL * size)


def _stacks(samples: Samples, pairs: np.ndarray, decay: np.ndarray, size: int) -> Iterator[tuple[np.ndarray, bool]]:
    """Fits that are solved together: (their positions in `pairs`, whether all have one matrix).

    All have as many samples, and a penalty, or none has. Long fits have one matrix.
    """
    shape = np.stack([samples.n_used[pairs], decay > 0.0])
    own = [samples.own[pairs]] if isinstance(samples, ScaledSamples) else []
    matrix = np.stack([decay, samples.x_index[pairs], samples.weight_index[pairs], samples.kept_index[pairs], *own])
    order = np.lexsort((*matrix, *shape))
    first, last = _runs(order, np.concatenate([shape, matrix]))
    one = (last - first >= SHARED) | _is_long(samples.n_used[pairs[order[first]]], size)
    for start, stop in zip(first[one], last[one], strict=True):
        yield order[start:stop], True
    alone = order[np.repeat(~one, last - first)]
    for start, stop in zip(*_runs(alone, shape), strict=True):
        yield alone[start:stop], False


def _runs(order: np.ndarray, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(first, last + 1) of the stretches of `order` in which no key (k, m) changes."""
    changes = (np.diff(keys[:, order], axis=1) != 0).any(axis=0)
    cuts = np.flatnonzero(np.concatenate([[True], changes, [True]])) if len(order) else np.zeros(1, np.int64)
    return cuts[:-1], cuts[1:]


def _design(problem: Problem, X: np.ndarray) -> np.ndarray:
    """X (m, n, d), with a column of ones for an intercept."""
    return np.concatenate([X, np.ones((*X.shape[:2], 1))], axis=2) if problem.intercept else X


class Matrices:
    """The design matrices of a stack of fits, or the one that they share, factored."""

    def __init__(self, problem: Problem, samples: Samples, pairs: np.ndarray, decay: np.ndarray, of_the_sum: bool) -> None:
        self.design = _design(problem, read_samples(samples, "X", pairs))
        self.weights: np.ndarray | None = None
        self.roots: np.ndarray | float = 1.0
        power = np.zeros(len(pairs), np.int64)
        self.total = np.full(len(pairs), float(self.design.shape[1]))
        weighed = self.design
        if len(samples.weights):
            weights = read_samples(samples, "weights", pairs)
            power = even_exponent(weights.max(axis=1))
            self.weights = np.ldexp(weights, -power[:, None])
            roots = np.sqrt(self.weights)
            self.total, self.roots = self.weights.sum(axis=1), roots
            weighed = self.design * roots[..., None]
        self.factored = factor(weighed, _penalty(decay, self.total, power, of_the_sum))

    def solve(self, y: np.ndarray) -> tuple[np.ndarray, ...]:
        """(w, loss, rank, condition) of fits with these y (m, n)."""
        w = self.factored.solve(y * self.roots)
        with np.errstate(all="ignore"), lapack_lock():
            residual = np.matmul(self.design, w[..., None])[..., 0] - y
            squares = residual * residual if self.weights is None else self.weights * residual * residual
            return w, squares.sum(axis=1) / self.total, self.factored.rank, self.factored.condition


def _solve_long(problem: Problem, samples: Samples, pairs: np.ndarray, decay: np.ndarray, of_the_sum: bool) -> tuple[np.ndarray, ...]:
    """(w, loss, rank, condition) of fits of many samples and one matrix, block after block.

    decay (1,).
    """
    one, size, n = pairs[:1], problem.n_parameters, int(samples.n_used[pairs[0]])
    blocks = blocks_of(samples, one, size)
    read_weights, total, power = weights_of(samples, one, blocks)
    triangle, right, squares = np.empty((0, size)), np.empty((len(pairs), 0)), np.zeros(len(pairs))
    step = max(1, STACK_NUMBERS // (blocks[0][1] + size))  # y that are read at a time
    parts = [slice(first, first + step) for first in range(0, len(pairs), step)]
    for block in blocks:
        roots = np.sqrt(read_weights(block))
        rows = _design(problem, read_samples(samples, "X", one, *block))[0] * roots[:, None]
        with lapack_lock():
            q, triangle = np.linalg.qr(np.concatenate([triangle, rows]))
        turned = np.empty((len(pairs), size))
        for part in parts:  # one by one: see svd.py
            y = read_samples(samples, "y", pairs[part], *block) * roots
            with lapack_lock():
                turned[part] = np.matmul(q.T, np.concatenate([right[part], y], axis=1)[..., None])[..., 0]
        right = turned
    factored = factor(triangle[None], _penalty(decay, np.array([total]), power, of_the_sum), n)
    w = factored.solve(right)
    for block in blocks:
        design, weights = _design(problem, read_samples(samples, "X", one, *block)), read_weights(block)
        for part in parts:
            with lapack_lock():
                prediction = np.matmul(design, w[part][..., None])[..., 0]
            residual = prediction - read_samples(samples, "y", pairs[part], *block)
            squares[part] += (weights * residual * residual).sum(axis=1)
    return w, squares / total, factored.rank, factored.condition


def _penalty(decay: np.ndarray, total: np.ndarray, power: np.ndarray, of_the_sum: bool) -> np.ndarray:
    """√λ of each fit, whose weights, of this total, were scaled by 2^-power."""
    return np.sqrt(0.5 * decay) * (np.ldexp(1.0, -power // 2) if of_the_sum else np.sqrt(total))
