"""The CPU backend, Numba kernels: allocate, launch, return. README.md follows a fit through them.

Importing this imports Numba, so `fastgd` does it when the first fit runs.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import Any

import numpy as np

from ..batch_order import ORDERED, random_numbers
from ..chunk import MEASURED, MOMENTS, MOST_PACKED, MOST_SINGLE, WRITTEN, Chunk, Samples
from ..update_rules import UpdateRule
from .closed_form.inverse import invert as _invert
from .descent.fit_by_fit import NOT_RUN
from .descent.fit_by_fit import descend as _descend
from .minibatch.epochs import ENDED
from .minibatch.epochs import descend_batches as _descend_batches
from .minibatch.ordering import bits_for, sort_order
from .moments.compress import RANGE, compress, join
from .moments.many_targets import compress_targets as _compress_targets
from .moments.samples import find_kept as _find_kept
from .moments.samples import find_shifts as _find_shifts
from .moments.standardize import unscale
from .packs.descend_packs import descend_packs, descend_rule_packs
from .packs.least import least_values as _least_values
from .packs.plain_epochs import MOST_UNROLLED, MOST_UNROLLED_DOUBLED
from .packs.state import SMALLEST_PACK
from .records import Moments, moments_scratch_bytes, no_weighing, record_bytes, stream_scratch_bytes, targets_scratch_bytes
from .solving import solve as _solve

_written_of, _measured_of = attrgetter(*WRITTEN), attrgetter(*MEASURED)
_NO_SHIFT, _NOBODY, _NO_GRAMS = np.empty((0, 0)), np.empty(0, np.int64), np.empty((0, 0))


def read_only(array: np.ndarray) -> np.ndarray:
    """A read-only view: the kernels are compiled once, for read-only inputs."""
    view = array.view()
    view.flags.writeable = False
    return view


def _flat(array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(flat, steps): the memory that an array spans, from its lowest address, and its steps.

    The steps are described in moments/samples.py, 1.
    """
    if array.flags.c_contiguous:
        flat = array.reshape(-1)
        flat.flags.writeable = False  # else kernels would be compiled for arrays that a backend may write to, too
        return flat, _steps_in_order(array.shape)
    steps = np.zeros(1 + array.ndim, np.int64)
    steps[1:] = np.array(array.strides) // array.itemsize
    reach = steps[1:] * (np.array(array.shape) - 1)
    first = tuple(n - 1 if step < 0 else 0 for n, step in zip(array.shape, steps[1:], strict=True))  # of the lowest address
    lowest = array[tuple(slice(i, i + 1) for i in first)]
    steps[0] = -reach[reach < 0].sum()
    span = int(np.abs(reach).sum()) + 1
    return read_only(np.lib.stride_tricks.as_strided(lowest, (span,), (array.itemsize,))), steps


@functools.lru_cache(64)
def _steps_in_order(shape: tuple[int, ...]) -> np.ndarray:
    """The steps of C-contiguous arrays of a shape. Nobody writes into them."""
    steps, size = np.zeros(1 + len(shape), np.int64), 1
    for axis in range(len(shape), 0, -1):
        steps[axis] = size
        size *= shape[axis - 1]
    return steps


def flat_data(samples: Samples) -> tuple[np.ndarray, ...]:
    """(X, steps, y, steps, weights, steps): the data as the kernels take them, made once."""
    if samples.flat is None:
        samples.flat = (*_flat(samples.X), *_flat(samples.y), *_flat(samples.weights))
    return samples.flat


def _index_of(samples: Samples) -> tuple[np.ndarray, ...]:
    return samples.x_index, samples.y_index, samples.weight_index, samples.kept, samples.kept_index


def is_single_feature(samples: Samples) -> bool:
    """Whether the data allow the path of moments/single_feature.py.

    They do with one feature and no weights.
    """
    return samples.X.shape[2] == 1 and not len(samples.weights)


def copies_samples(samples: Samples) -> bool:
    """Whether `compress_items` reads y well whose neighbouring items interleave."""
    return is_single_feature(samples) and not len(samples.kept) and samples.X.shape[1] <= MOST_SINGLE


@functools.cache
def no_records(n_parameters: int, dtype: np.dtype) -> Moments:
    """Records of no fits, for fits that stream or make their moments themselves."""
    return Moments.empty(0, 0, n_parameters, dtype)


def find_kept(samples: Samples, omit: bool, check_finite: bool, cancel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Leave out samples of weight 0, and with check_finite those that are not finite.

    Fills `kept`, `kept_index` and `n_used` of the samples. Returns, for each fit, what is wrong
    with its weights (FINE, NEGATIVE, NOT_FINITE), and (m, 2) the least and the largest weight.
    """
    m, n = len(samples.n_used), samples.X.shape[1] if samples.lengths is None else samples.kept.shape[1]
    samples.n_used[:] = n if samples.lengths is None else samples.lengths
    kept, spread, faults = np.empty((m, n), np.int32), np.ones((m, 2)), np.zeros(m, np.int8)
    index = (samples.x_index, samples.y_index, samples.weight_index)
    _find_kept(flat_data(samples), index, samples.X.shape[2], omit, check_finite, kept, samples.n_used, spread, faults, cancel)
    if not cancel[0]:  # a search that was cancelled has found nothing
        samples.keep_only(kept)
    return faults, spread


def compress_fits(samples: Samples, intercept: bool, moments: Moments, cancel: np.ndarray) -> bool:
    """Write the moments of whole fits, each with its own X and y; whether all are finite."""
    starts = np.zeros(len(samples.n_used), np.int64)
    finite = compress_items(
        samples, starts, samples.n_used, intercept, moments.gram, moments.target, moments.exponents, moments.weighing, cancel
    )
    moments.gram_exponents[:] = moments.exponents
    return finite


def compress_items(samples: Samples, start, stop, intercept: bool, gram, target, exponents, weighing, cancel, shift=None) -> bool:
    """Write the moments of ranges of the samples that each fit uses: see moments/compress.py, 1.

    Each range begins at a multiple of RANGE and is a power of two times RANGE long. Pass a gram or
    a target of length 0 to leave it out. shift (m, D + 1): what is subtracted from the columns of
    each item first. Returns whether all moments are finite.
    """
    single_feature = is_single_feature(samples)
    if shift is None:
        shift = _NO_SHIFT
    return compress(
        flat_data(samples), _index_of(samples), start, stop, intercept, single_feature, shift, gram, target, exponents, weighing, cancel
    )


def compress_targets(samples: Samples, start, stop, intercept: bool, target, exponents, weighing, cancel) -> bool:
    """`compress_items` without gram and shift, for neighbouring items that have their X in common.

    weighing is read alone. An item may have any number of chunks.
    """
    return _compress_targets(flat_data(samples), _index_of(samples), start, stop, intercept, target, exponents, weighing, cancel)


def find_shifts(samples: Samples, n_parameters: int, cancel: np.ndarray) -> np.ndarray:
    """(m, D + 1): what can be subtracted exactly from each column and from y; 0 where nothing."""
    shift = np.empty((len(samples.n_used), n_parameters + 1))
    _find_shifts(flat_data(samples), _index_of(samples), samples.n_used, samples.X.shape[2], shift, cancel)
    return shift


def descend(
    chunk: Chunk, moments: Moments, gram_index: np.ndarray, target_index: np.ndarray, cancel, progress,
    least_needed: bool = False, complete: Callable[[np.ndarray], None] = lambda fits: None, plain: bool = False,
) -> None:  # fmt: skip
    """Run all epochs of a chunk.

    gram_index, target_index (m,) int64: the records of each fit, not read where its algorithm is
    STREAM. Packs find the least values of their fits. complete: called with the numbers of all
    other fits before they run, and, where least_needed, of those whose least value is doubtful.
    plain: as in `is_plain`, of these fits and more.
    """
    given = _given(chunk, moments, gram_index, target_index)
    m, size = chunk.w.shape
    fill_a_pack = m >= smallest_pack(chunk.X.dtype, size, chunk.tol, plain)
    if fill_a_pack and runs_in_packs(size) and (chunk.algorithm == MOMENTS).any():
        _descend_in_packs(plain, False, least_needed, chunk, given, cancel, progress, complete)
        return
    begin = np.full((m, 3), NOT_RUN)
    begin[:, 0] = np.arange(m)
    complete(begin[:, 0])
    _descend(*given, chunk.center, chunk.scale, begin, np.empty(m), cancel, progress)


def descend_batches(
    chunk: Chunk, moments: Moments, gram_index: np.ndarray, target_index: np.ndarray, cancel, progress,
    complete: Callable[[np.ndarray], None] = lambda fits: None,
) -> None:  # fmt: skip
    """Run all epochs of a chunk of mini-batches. Arguments as in `descend`.

    The fits of one order (those of one seed, which use as many samples and have run as many epochs)
    run together, ORDERED numbers of their orders at a time.
    """
    batches, m = chunk.batches, len(chunk.w)
    assert batches is not None
    complete(np.arange(m))
    given, standing = _given(chunk, moments, gram_index, target_index), np.zeros((m, 3), np.int64)
    kinds = np.stack([batches.seeds, batches.passes, chunk.n_used], axis=1) if batches.shuffle else np.zeros((m, 1), np.int64)
    different, kind_of_fit = np.unique(kinds, axis=0, return_inverse=True)
    for number, kind in enumerate(different.tolist()):
        fits = np.flatnonzero(kind_of_fit.reshape(-1) == number)
        at_a_time = max(1, ORDERED // max(1, kind[2])) if batches.shuffle else chunk.epochs + 1
        for first in range(0, chunk.epochs + 1, at_a_time):
            stop = min(chunk.epochs + 1, first + at_a_time)
            orders = np.empty((stop - first, kind[2] if batches.shuffle else 0), np.int32)
            for row, epoch in enumerate(range(first, min(stop, chunk.epochs)) if batches.shuffle else ()):
                write_order(kind[1] + epoch, kind[0], orders[row], cancel)
            if cancel[0]:
                return
            _descend_batches(
                *given, chunk.center, chunk.scale, fits, first, stop, batches.size, batches.drop_last, batches.rate_per_step, orders,
                chunk.batch_loss, batches.passes, standing, cancel, progress,
            )  # fmt: skip
            if cancel[0] or (standing[fits, ENDED] != 0).all():
                break


def write_order(epoch: int, seed: int, order: np.ndarray, cancel: np.ndarray) -> None:
    """Write `batch_order.order_of_epoch` of (n,) samples to `order` (n,) int32."""
    bits = bits_for(len(order))
    sort_order(random_numbers(len(order), epoch, seed), bits, np.zeros(2**bits + 1, np.int32), order, cancel)


def _given(chunk: Chunk, moments: Moments, gram_index: np.ndarray, target_index: np.ndarray) -> tuple[Any, ...]:
    """What both kernels of a descent take: data, options, records, and the arrays `WRITTEN`."""
    one_row = len(chunk.hyper) > 1 and chunk.hyper.strides[0] == 0  # for all fits
    excess = chunk.excess if len(chunk.excess) else np.empty(0, chunk.w_out.dtype)
    hyper = read_only(np.ascontiguousarray(chunk.hyper[:1] if one_row else chunk.hyper))  # as a broadcast one is
    return (
        flat_data(chunk), _index_of(chunk), chunk.n_used, chunk.X.shape[2], chunk.intercept, chunk.n_decayed, chunk.reduction == "sum",
        chunk.rule.code, read_only(np.ascontiguousarray(chunk.lr)), read_only(np.ascontiguousarray(chunk.momenta)), hyper, chunk.epochs,
        chunk.tol, chunk.every, moments.gram, gram_index, moments.target, target_index, moments.exponents, moments.weighing,
        *_written_of(chunk), *_measured_of(chunk)[:4], excess,
    )  # fmt: skip


def descend_single_feature(
    chunk: Chunk, least_needed: bool, cancel, progress, plain: bool = False, noted: np.ndarray = _NOBODY
) -> np.ndarray | None:
    """Make the moments and run all epochs of a chunk that begins anew, in one kernel.

    The chunk is one that `runs_single_feature` allows. Returns (k, D(D+1)/2) the Gram matrices of
    the fits `noted` (k,), ascending, packed by columns. None where a sample is not finite, or F* of
    a fit is doubtful though it is needed: then the chunk is as it was but for its state and
    results, which are of no use. plain: as in `descend`.
    """
    before, nothing, size = int(progress[0]), no_records(chunk.w.shape[1], chunk.X.dtype), chunk.w.shape[1]
    given = _given(chunk, nothing, chunk.x_index, chunk.y_index)
    grams = np.empty((len(noted), size * (size + 1) // 2))
    done = _descend_in_packs(plain, True, False, chunk, given, cancel, progress, lambda fits: None, (noted, grams))
    done = done and not (least_needed and np.isnan(chunk.initial_excess).any())
    if not done:
        progress[0] = before
    return grams if done else None


def _descend_in_packs(
    plain: bool, from_samples: bool, least_needed: bool, chunk: Chunk, given: tuple[Any, ...], cancel, progress,
    complete: Callable[[np.ndarray], None], noting: tuple[np.ndarray, np.ndarray] = (_NOBODY, _NO_GRAMS),
) -> bool:  # fmt: skip
    """Run fits in packs, then those that are handed over; False where a sample is not finite."""
    m = len(chunk.w)
    handed_over, losses = np.empty((m, 3), np.int64), np.empty(m)
    in_packs = descend_packs if plain else descend_rule_packs
    count = in_packs(from_samples, least_needed, *given, handed_over, losses, *noting, cancel, progress)
    if count > 0 and not cancel[0]:
        complete(handed_over[:count, 0][handed_over[:count, 1] == NOT_RUN])
        _descend(*given, chunk.center, chunk.scale, handed_over[:count], losses[:count], cancel, progress)
    return count >= 0


def runs_in_packs(n_parameters: int) -> bool:
    """Whether fits on moments run in packs."""
    return n_parameters <= MOST_PACKED


def is_plain(rule: UpdateRule, columns: Iterable[np.ndarray]) -> bool:
    """Whether the rule is SGD without momentum, weight decay and maximize in all fits.

    columns: the values of each hyperparameter. Plain SGD has a kernel of its own.
    """
    names = ("momentum", "weight_decay", "maximize")
    return rule.name == "sgd" and not any(values.any() for name, values in zip(rule.hyperparameters, columns, strict=True) if name in names)


def smallest_pack(dtype: np.dtype, n_parameters: int, tol: float, plain: bool) -> int:
    """How many fits a pack has at least; fewer run one by one. plain: as in `is_plain`."""
    if plain and tol < 0 and n_parameters <= (MOST_UNROLLED if dtype == np.float32 else MOST_UNROLLED_DOUBLED):
        return 1
    return SMALLEST_PACK[min(n_parameters, len(SMALLEST_PACK) - 1)]


def runs_single_feature(samples: Samples) -> bool:
    """Whether `descend_single_feature` may run these fits: float32 data of one chunk at most."""
    return samples.X.dtype == np.float32 and copies_samples(samples)


def least_values(chunk: Chunk, fits: np.ndarray, moments: Moments, gram_index, target_index, with_allowance: bool, cancel) -> None:
    """Fill κ, F* and, if asked, ρ of these fits of a chunk, on moments of at most 32 parameters.

    F* is NaN where the elimination leaves it open. Indices as in `descend`.
    """
    _least_values(
        fits, moments.gram, gram_index, moments.target, target_index, moments.exponents, moments.weighing,
        0.5 * chunk.rule.coupled_decay(chunk.hyper), chunk.n_decayed, chunk.reduction == "sum", with_allowance, chunk.penalty, chunk.least,
        chunk.allowance, cancel,
    )  # fmt: skip


def solve(
    moments: Moments, gram_index, target_index, decay, places, of_the_sum: bool, w, loss, condition, rank, algorithm, cancel, progress,
    most: float = math.inf, shift=None,
) -> int:  # fmt: skip
    """Write minimisers from moments, and count the settled. Arguments as in solving.solve."""
    return _solve(
        moments.gram, moments.gram_exponents, gram_index, moments.target, moments.exponents, target_index, decay, places, moments.weighing,
        of_the_sum, most, _NO_SHIFT if shift is None else shift, w, loss, condition, rank, algorithm, cancel, progress,
    )  # fmt: skip


def invert(moments: Moments, records, intercept: bool, accurate: float, least: float, inverse, mean, condition, left, cancel) -> int:
    """Invert Gram records; returns how many are left. Arguments as in closed_form/inverse.py."""
    return _invert(
        moments.gram, moments.gram_exponents, moments.weighing, records, intercept, accurate, least, inverse, mean, condition, left, cancel
    )


__all__ = [
    "RANGE",
    "Moments",
    "compress_fits",
    "compress_items",
    "compress_targets",
    "copies_samples",
    "descend",
    "descend_batches",
    "descend_single_feature",
    "find_kept",
    "find_shifts",
    "invert",
    "is_plain",
    "join",
    "least_values",
    "moments_scratch_bytes",
    "no_records",
    "no_weighing",
    "read_only",
    "record_bytes",
    "runs_in_packs",
    "runs_single_feature",
    "smallest_pack",
    "solve",
    "stream_scratch_bytes",
    "targets_scratch_bytes",
    "unscale",
    "write_order",
]
