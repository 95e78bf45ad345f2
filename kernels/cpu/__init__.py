"""The CPU backend: Numba kernels. This module allocates, launches and returns; the arithmetic is in its neighbours.

Importing it imports Numba: `fastgd` does so when the first fit runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import numpy as np

from ..chunk import MOMENTS, STREAM, WRITTEN, Chunk, Samples
from ..update_rules import UPDATE_RULES, UpdateRule
from .descent.fit_by_fit import NOT_RUN
from .descent.fit_by_fit import descend as _descend
from .moments.compress import CHUNK, RANGE, W_EXPONENT, W_HIGH, W_LEAST, compress, join
from .moments.curvature import largest_eigenvalues
from .moments.samples import FINE, NEGATIVE, NOT_FINITE, keep
from .packs.descend_packs import descend_packs
from .packs.plain_epochs import MOST_UNROLLED
from .packs.state import FEWEST, MOST_PARAMETERS
from .simd.double_double import LOWEST_EXPONENT
from .solving import solve as _solve

KERNELS: dict[str, Any] = {
    "keep": keep,
    "compress": compress,
    "join": join,
    "largest_eigenvalues": largest_eigenvalues,
    "descend_packs": descend_packs,
    "descend": _descend,
    "solve": _solve,
}
# how many compiled versions `prepare` makes for both dtypes
OF_FIT = {"compress": 2, "join": 1, "largest_eigenvalues": 1, "descend_packs": 2, "descend": 2}
OF_ALL = OF_FIT | {"keep": 2, "solve": 1}  # and all the others
LONGEST_LINE = CHUNK
PARTS = frozenset(("moments", "batches", "alone"))  # of what `prepare` makes
_prepared: set[tuple[str, np.dtype]] = set()
_written_of = attrgetter(*WRITTEN)


@dataclass(slots=True)
class Moments:
    """Second moments of fits. packing and scaling: compress.py, docs/arithmetic.md sections 3 and 4."""

    gram: np.ndarray  # (n_gram, planes, D(D+1)/2) float64; planes: 1 for float32 data, 2 (hi, lo) for float64 data
    gram_exponents: np.ndarray  # (n_gram, D+1) int64; the last is not used
    weighing: np.ndarray  # (n_gram, 4) float64: W, W′, k_ω, the least weight
    target: np.ndarray  # (n_target, planes, D+1) float64: XᵀY and yᵀy
    exponents: np.ndarray  # (n_target, D+1) int64

    @classmethod
    def empty(cls, n_gram: int, n_target: int, n_parameters: int, dtype: np.dtype) -> Moments:
        """Room for so many records; the weights are those of no weights."""
        planes = 1 if dtype == np.float32 else 2
        return cls(
            np.empty((n_gram, planes, n_parameters * (n_parameters + 1) // 2)),
            np.empty((n_gram, n_parameters + 1), np.int64),
            no_weighing(n_gram),
            np.empty((n_target, planes, n_parameters + 1)),
            np.empty((n_target, n_parameters + 1), np.int64),
        )

    def of_first(self, count: int) -> Moments:
        """The first `count` records, in the same memory."""
        return Moments(*(part[:count] for part in (self.gram, self.gram_exponents, self.weighing, self.target, self.exponents)))

    def finite_gram(self) -> np.ndarray:
        """(n_gram,) bool: whether the features of each record are finite."""
        size = self.gram_exponents.shape[1] - 1
        diagonal = [j * (j + 1) // 2 + j for j in range(size)]
        return np.isfinite(self.gram[:, 0, diagonal]).all(axis=1)

    def finite_target(self) -> np.ndarray:
        """(n_target,) bool: whether y of each record is finite."""
        return np.isfinite(self.target[:, 0, -1])

    def curvature(self, gram_index: np.ndarray, eigenvalues: np.ndarray, of_the_sum: bool) -> np.ndarray:
        """s·λ_max of fits with these records: the largest eigenvalue of the Hessian of the loss (docs/arithmetic.md, section 5)."""
        weighing = self.weighing[gram_index]
        with np.errstate(all="ignore"):  # no sample may have stayed
            scales = np.ldexp(2.0, weighing[:, W_EXPONENT].astype(np.int64)) if of_the_sum else 2.0 / weighing[:, W_HIGH]
            return scales * eigenvalues[gram_index]

    def largest_eigenvalues(self, first: int, stop: int, cancel: np.ndarray) -> np.ndarray:
        """(stop - first,) float64: λ_max of XᵀX of Gram records first … stop-1."""
        result = np.empty(stop - first)
        records = slice(first, stop)
        largest_eigenvalues(self.gram[records], self.gram_exponents[records], self.exponents.shape[1] - 1, result, cancel)
        return result


def read_only(array: np.ndarray) -> np.ndarray:
    """A view that says so: the kernels are compiled once, for read-only inputs."""
    view = array.view()
    view.flags.writeable = False
    return view


def no_weighing(count: int) -> np.ndarray:
    """Rows of `Moments.weighing` before the moments are known, without weights."""
    weighing = np.zeros((count, 4))
    weighing[:, W_LEAST] = 1.0
    return weighing


def _flat(array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(flat, steps): the memory that an array spans, from its lowest address, and its steps in numbers; see samples.py."""
    steps = np.zeros(1 + array.ndim, np.int64)
    if array.flags.c_contiguous:
        size = 1
        for axis in range(array.ndim, 0, -1):
            steps[axis] = size
            size *= array.shape[axis - 1]
        return array.reshape(-1), steps
    steps[1:] = np.array(array.strides) // array.itemsize
    reach = steps[1:] * (np.array(array.shape) - 1)
    first = tuple(n - 1 if step < 0 else 0 for n, step in zip(array.shape, steps[1:], strict=True))  # of the lowest address
    lowest = array[tuple(slice(i, i + 1) for i in first)]
    steps[0] = -reach[reach < 0].sum()
    span = int(np.abs(reach).sum()) + 1
    return read_only(np.lib.stride_tricks.as_strided(lowest, (span,), (array.itemsize,))), steps


def flat_data(samples: Samples) -> tuple[np.ndarray, ...]:
    """The data as the kernels take them."""
    return (*_flat(samples.X), *_flat(samples.y), *_flat(samples.weights))


def find_kept(samples: Samples, omit: bool, look: bool, cancel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Leave out the samples of weight 0, with `look` those that are not finite: (faults, spread) of the fits; see samples.py.

    Fills `kept`, `kept_index` and `n_used` of the samples.
    """
    m, n = len(samples.n_used), samples.X.shape[1]
    kept, spread, faults = np.empty((m, n), np.int32), np.ones((m, 2)), np.zeros(m, np.int8)
    index = (samples.x_index, samples.y_index, samples.weight_index)
    keep(flat_data(samples), index, n, samples.X.shape[2], omit, look, kept, samples.n_used, spread, faults, cancel)
    lost = samples.n_used < n
    if lost.any() and not cancel[0]:  # a search that was cancelled has found nothing
        samples.kept, samples.kept_index = kept, np.where(lost, np.arange(m), -1)
    return faults, spread


def weigh(moments: Moments, spread: np.ndarray) -> None:
    """Enter the least and the largest weight of each Gram record, before its moments are made."""
    moments.weighing[:, W_LEAST] = spread[:, 0]
    if moments.gram.shape[1] == 2:  # float64 data
        moments.weighing[:, W_EXPONENT] = np.maximum(np.frexp(spread[:, 1])[1] - 1, LOWEST_EXPONENT)


def compress_fits(samples: Samples, intercept: bool, moments: Moments, cancel: np.ndarray) -> bool:
    """Moments of whole fits, each with its own X and y, into the first records; whether all are finite."""
    starts = np.zeros(len(samples.n_used), np.int64)
    finite = compress_items(
        samples, starts, samples.n_used, intercept, moments.gram, moments.target, moments.exponents, moments.weighing, cancel
    )
    moments.gram_exponents[:] = moments.exponents
    return finite


def given_to_compress(samples: Samples, intercept: bool, moments: Moments) -> tuple[Any, ...]:
    """What `compress_fits` hands to the kernel after the data."""
    index = (samples.x_index, samples.y_index, samples.weight_index, samples.kept, samples.kept_index)
    starts = np.zeros(len(samples.n_used), np.int64)
    return index, starts, samples.n_used, intercept, moments.gram, moments.target, moments.exponents, moments.weighing


def compress_alike(data: tuple[np.ndarray, ...], given: tuple[Any, ...], cancel: np.ndarray) -> bool:
    """`compress_fits` with what `flat_data` and `given_to_compress` gave, but for the exponents of the Gram records."""
    return compress(data, *given, cancel)


def compress_items(samples: Samples, start, stop, intercept: bool, gram, target, exponents, weighing, cancel) -> bool:
    """Moments of ranges of the samples that stay, each a power of two times RANGE long, starting at a multiple of that: see compress.py.

    Pass a `gram` or a `target` of length 0 to leave it out.
    """
    index = (samples.x_index, samples.y_index, samples.weight_index, samples.kept, samples.kept_index)
    return compress(flat_data(samples), index, start, stop, intercept, gram, target, exponents, weighing, cancel)


def descend(chunk: Chunk, moments: Moments, gram_index: np.ndarray, target_index: np.ndarray, cancel, progress) -> None:
    """All epochs of a chunk. gram_index, target_index (m,) int64: the records of each fit, not read where its algorithm is STREAM."""
    descend_alike(flat_data(chunk), given_to_descend(chunk, moments, gram_index, target_index), _written_of(chunk), cancel, progress)


def given_to_descend(chunk: Chunk, moments: Moments, gram_index: np.ndarray, target_index: np.ndarray) -> tuple[Any, ...]:
    """Whether some fits run side by side; and what goes to the kernels between the data and what is written: views of the same memory."""
    index = (chunk.x_index, chunk.y_index, chunk.weight_index, chunk.kept, chunk.kept_index)
    one_row = len(chunk.hyper) > 1 and chunk.hyper.strides[0] == 0  # for all fits
    hyper = read_only(np.ascontiguousarray(chunk.hyper[:1] if one_row else chunk.hyper))  # as a broadcast one is
    lr = read_only(np.ascontiguousarray(chunk.lr))
    in_batches = runs_in_batches(chunk.rule, chunk.w.shape[1]) and bool((chunk.algorithm == MOMENTS).any())
    return (
        in_batches, index, chunk.n_used, chunk.X.shape[2], chunk.intercept, chunk.reduction == "sum", chunk.rule.code, lr, hyper,
        chunk.epochs, chunk.tol, chunk.every, moments.gram, gram_index, moments.target, target_index, moments.exponents, moments.weighing,
    )  # fmt: skip


def descend_alike(data: tuple[np.ndarray, ...], given: tuple[Any, ...], written: Sequence[np.ndarray], cancel, progress) -> None:
    """`descend` with what `flat_data` and `given_to_descend` gave, and arrays to write into (`WRITTEN`)."""
    in_batches, given = given[0], given[1:]
    if in_batches:
        _descend_in_batches(False, data, given, written, cancel, progress)
        return
    m = len(written[0])
    left = np.full((m, 3), NOT_RUN)
    left[:, 0] = np.arange(m)
    _descend(data, *given, *written, left, np.empty((m, 2)), cancel, progress)


def descend_lines(chunk: Chunk, cancel, progress) -> bool:
    """Moments and all epochs of a chunk of lines that begins anew. False: some numbers are not finite, nothing is of use."""
    before, nothing = int(progress[0]), Moments.empty(0, 0, chunk.w.shape[1], chunk.X.dtype)
    given = given_to_descend(chunk, nothing, chunk.x_index, chunk.y_index)[1:]
    finite = _descend_in_batches(True, flat_data(chunk), given, _written_of(chunk), cancel, progress)
    if not finite:
        progress[0] = before
    return finite


def _descend_in_batches(
    from_samples: bool, data: tuple[np.ndarray, ...], given: tuple[Any, ...], written: Sequence[np.ndarray], cancel, progress
) -> bool:
    """Fits side by side, then those that these leave; False where lines have numbers that are not finite."""
    m = len(written[0])
    left, losses = np.empty((m, 3), np.int64), np.empty((m, 2))
    n_handed_over = descend_packs(from_samples, data, *given, *written, left, losses, cancel, progress)
    if n_handed_over > 0 and not cancel[0]:
        _descend(data, *given, *written, left[:n_handed_over], losses[:n_handed_over], cancel, progress)
    return n_handed_over >= 0


def runs_in_batches(rule: UpdateRule, n_parameters: int) -> bool:
    """Whether fits on moments run side by side under this rule."""
    return rule.code == UPDATE_RULES["sgd"].code and n_parameters <= MOST_PARAMETERS


def fewest_in_batches(dtype: np.dtype, n_parameters: int, tol: float, plain: bool) -> int:
    """How many fits run side by side at least; fewer go one after the other. plain: SGD without momentum, decay and maximize."""
    if plain and tol < 0 and dtype == np.float32 and n_parameters <= MOST_UNROLLED:
        return 1
    return FEWEST[min(n_parameters, len(FEWEST) - 1)]


def is_single_feature(samples: Samples) -> bool:
    """Whether `descend_lines` may be asked."""
    X, y = samples.X, samples.y
    one_run = X.dtype == np.float32 and X.shape[2] == 1 and X.strides[1] == 4 and y.strides[1] == 4 and X.shape[1] <= LONGEST_LINE
    return one_run and not len(samples.weights) and not len(samples.kept)


def solve(
    moments: Moments, gram_index, target_index, decay, places, of_the_sum: bool, w, loss, condition, algorithm, cancel, progress
) -> None:
    """Minimisers from moments: see solving.py."""
    _solve(
        moments.gram, moments.gram_exponents, gram_index, moments.target, moments.exponents, target_index, decay, places, moments.weighing,
        of_the_sum, w, loss, condition, algorithm, cancel, progress,
    )  # fmt: skip


def prepare(dtype: np.dtype, parts: frozenset[str] = PARTS) -> None:
    """Load kernels for a dtype from the disk cache, or compile them: once per process, by running one sample.

    parts: "moments"; "batches", of fits that run side by side; "alone", of all others. What is left out is loaded when it is needed.
    """
    missing = sorted(part for part in parts if (part, dtype) not in _prepared)
    if not missing:
        return
    samples, moments, cancel, counter = _one_sample(dtype), Moments.empty(1, 1, 1, dtype), np.zeros(1, np.int32), np.zeros(1, np.int64)
    for array in (moments.gram, moments.gram_exponents, moments.weighing, moments.target, moments.exponents):
        array.fill(1)
    rule, one, m = UPDATE_RULES["sgd"], np.zeros(1, np.int64), np.ones((1, 1))
    for part in missing:
        if part == "moments":
            _compress_one(dtype)[1].largest_eigenvalues(0, 1, cancel)
        else:
            algorithm = MOMENTS if part == "batches" else STREAM
            chunk = Chunk(
                samples.X, samples.y, one, one, samples.weights, one, samples.kept, samples.kept_index, samples.n_used,
                False, rule, m, np.zeros((1, len(rule.hyperparameters))), 1, "mean", -1.0, 1,
                np.zeros((1, 1)), np.zeros((1, len(rule.slots), 1)), np.ones((1, 0)), one.copy(),
                np.full(1, algorithm, np.int8), np.zeros(1, np.int8),
                np.empty((1, 1), dtype), np.empty(1, dtype), one.copy(), np.empty((1, 2, 1), dtype), np.empty((1, 2), dtype),
            )  # fmt: skip
            descend(chunk, moments, one, one, cancel, counter)
        _prepared.add((part, dtype))


def prepare_gaps(dtype: np.dtype) -> None:
    """The same for what weights and missing values need besides."""
    if ("gaps", dtype) in _prepared:
        return
    find_kept(_one_sample(dtype), True, True, np.zeros(1, np.int32))
    _prepared.add(("gaps", dtype))


def prepare_solve(dtype: np.dtype) -> None:
    """The same for `solve`."""
    if ("solve", dtype) in _prepared:
        return
    _, moments, cancel, counter = _compress_one(dtype)
    one, m = np.zeros(1, np.int64), np.zeros(1)
    solve(moments, one, one, m, one, False, m[:, None], m, m, np.zeros(1, np.int8), cancel, counter)
    _prepared.add(("solve", dtype))


def compiled_and_loaded() -> dict[str, int]:
    """How many versions of kernels this process compiled, and how many it found on disk."""
    counts = [kernel.stats for kernel in KERNELS.values()]
    return {
        "compiled": sum(sum(count.cache_misses.values()) for count in counts),
        "loaded": sum(sum(count.cache_hits.values()) for count in counts),
    }


def _one_sample(dtype: np.dtype) -> Samples:
    """X, y = 1."""
    zero = np.zeros(1, np.int64)
    X, y, weights = (read_only(np.ones(shape, dtype)) for shape in ((1, 1, 1), (1, 1), (0, 1)))
    return Samples(X, y, zero, zero, weights, zero, np.empty((0, 1), np.int32), zero - 1, zero + 1)


def _compress_one(dtype: np.dtype) -> tuple[Samples, Moments, np.ndarray, np.ndarray]:
    """The moments of one sample: (samples, moments, cancel, counter)."""
    samples = _one_sample(dtype)
    moments, cancel, counter = Moments.empty(1, 1, 1, dtype), np.zeros(1, np.int32), np.zeros(1, np.int64)
    compress_fits(samples, False, moments, cancel)
    join(moments.gram, moments.target, moments.exponents, moments.weighing, 1)
    return samples, moments, cancel, counter


__all__ = [
    "FINE",
    "KERNELS",
    "NEGATIVE",
    "NOT_FINITE",
    "OF_ALL",
    "OF_FIT",
    "RANGE",
    "Moments",
    "is_single_feature",
    "compiled_and_loaded",
    "compress_alike",
    "compress_fits",
    "compress_items",
    "descend",
    "descend_alike",
    "descend_lines",
    "fewest_in_batches",
    "find_kept",
    "flat_data",
    "given_to_compress",
    "given_to_descend",
    "join",
    "no_weighing",
    "prepare",
    "prepare_gaps",
    "prepare_solve",
    "read_only",
    "runs_in_batches",
    "solve",
    "weigh",
]
