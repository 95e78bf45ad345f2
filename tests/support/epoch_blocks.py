"""Chunks of plain SGD run by its kernel beside the arbiter; what became of unchecked blocks.

`run_pack` tests each unchecked block of epochs afterwards (`_stayed_below_w_safe`). Here it is
compiled once more with a test that counts its answers: a test of blocks can say that there were
any.
"""

from __future__ import annotations

import types
from dataclasses import dataclass, replace

import numpy as np

from fastgd.kernels import cpu
from fastgd.kernels.chunk import MOMENTS, STREAM, Chunk
from fastgd.kernels.cpu.descent.limits import LIMIT_FLOAT32
from fastgd.kernels.cpu.moments.samples import sources_of
from fastgd.kernels.cpu.moments.single_feature import Series
from fastgd.kernels.cpu.packs import run_pack, state
from fastgd.kernels.cpu.packs.least import addresses_of_least, make_least_scratch
from fastgd.kernels.cpu.simd.addresses import address
from fastgd.kernels.cpu.simd.compiling import inlined, part
from fastgd.kernels.cpu.simd.lanes import LANES
from fastgd.kernels.cpu.simd.scalars import get, put
from tests.specification import arbiter
from tests.support.against_arbiter import first_difference, same_bits
from tests.support.lanes_by_hand import jit
from tests.support.reference_chunks import chunk_of

OUTPUTS = ("w", "slots", "products", "steps", "algorithm", "status", "w_out", "loss", "epochs_run", "history_w", "history_loss")
COUNTS = state.N_CONSTANTS * LANES  # where the answers are counted: behind the constants of the pack
_stayed_below_w_safe, _stayed_moderate = run_pack._stayed_below_w_safe, run_pack._stayed_moderate


@inlined
def _counting(size, active, scratch):
    safe = _stayed_below_w_safe(size, active, scratch)
    at = COUNTS + (1 if safe else 0)
    put(scratch.constants, at, get(scratch.constants, at) + 1.0)
    return safe


@inlined
def _counting_moderate(size, active, scratch):
    moderate = _stayed_moderate(size, active, scratch)
    put(scratch.constants, COUNTS + 1, get(scratch.constants, COUNTS + 1) + (1.0 if moderate else 0.0))
    return moderate


def _with(function, **others):
    """A compiled function's Python function, compiled once more with other globals."""
    own = function.py_func
    assert set(others) <= set(own.__code__.co_names)
    return part(types.FunctionType(own.__code__, {**own.__globals__, **others}, own.__name__, own.__defaults__, own.__closure__))


_run_pack = _with(run_pack.run_pack, _stayed_below_w_safe=_counting, _stayed_moderate=_counting_moderate)


@jit
def _run_counted(fits, data, index, size, records, lr, hyper, of_the_sum, limit, epochs, every, n_rows, results, scratch, cancel, progress):
    gram, gram_index, target, target_index, exponents, weighing = records
    w, slots, products, steps, algorithm, status, w_out, loss_out, epochs_run, history_w, history_loss, left, left_losses, n_left = results
    nothing, no_excess = address(left_losses), address(loss_out)  # nobody asks for the excess
    return _run_pack(
        None, True, address(fits), len(fits), size,
        state.Records(address(gram), address(gram_index), address(target), address(target_index), address(exponents), address(weighing)),
        state.SampleSource(
            False, sources_of(data, index), address(fits), False, address(w), Series(address(w_out), address(w_out), 0, False),
            addresses_of_least(make_least_scratch(0, False)),
        ),
        state.Options(
            0, 0, address(lr), lr.shape[0], lr.shape[1], address(lr), False, address(hyper), hyper.shape[1], False, size, of_the_sum,
            limit, epochs, -1.0, every, False, False,
        ),
        n_rows,
        state.Results(
            address(w), address(slots), address(products), address(steps), address(algorithm), address(status), address(w_out),
            address(loss_out), address(epochs_run), address(history_w), address(history_loss), nothing, nothing, nothing, nothing,
            no_excess,
            address(left), address(left_losses), address(n_left),
        ),
        (address(w_out), False), state.addresses_of(scratch), address(cancel), address(progress),
    )  # fmt: skip


@dataclass
class Blocks:
    """What became of the unchecked blocks of one pack."""

    taken: int  # blocks that were valid
    repeated: int  # blocks that were not, and were run again as checked epochs
    left: list[int]  # the fits that were handed over, and the epochs at which they were
    at: list[int]


def blocks_of(chunk: Chunk, moments: cpu.Moments) -> Blocks:
    """Run at most 32 fits of a chunk, which must not have been run, as one pack on copies of its
    outputs."""
    m, size = chunk.w.shape
    assert m <= LANES
    assert chunk.w_out.dtype == np.float32
    chunk = replace(chunk, **{name: getattr(chunk, name).copy() for name in OUTPUTS})
    entries, wide = size * (size + 1) // 2 * LANES, size * LANES
    lengths = (entries, 0, size * size, wide + LANES, 0, wide, 0, 0, wide, 0, 0, wide, 0, 0, COUNTS + 2, state.EPOCHS * LANES, wide)
    scratch = state.PackScratch(*(np.zeros(length + 8) for length in lengths), np.zeros(state.EPOCHS * (wide + LANES) + 16, np.float32))
    left, left_losses, n_left, numbers = np.zeros((m, 3), np.int64), np.zeros(m), np.zeros(1, np.int64), np.arange(m)
    records = moments.gram, numbers, moments.target, numbers, moments.exponents, moments.weighing
    results = (*(getattr(chunk, name) for name in OUTPUTS), left, left_losses, n_left)
    outcome = _run_counted(
        numbers, cpu.flat_data(chunk), (chunk.x_index, chunk.y_index, chunk.weight_index, chunk.kept, chunk.kept_index), size, records,
        np.array(chunk.lr), chunk.hyper, chunk.reduction == "sum", LIMIT_FLOAT32, chunk.epochs,
        chunk.every, chunk.history_loss.shape[1], results, scratch, np.zeros(1, np.int32), np.zeros(1, np.int64),
    )  # fmt: skip
    assert outcome == run_pack.RUN
    notes = left[: n_left[0]][np.argsort(left[: n_left[0], 0])]
    assert (chunk.algorithm[notes[:, 0]] == STREAM).all()
    return Blocks(int(scratch.constants[COUNTS + 1]), int(scratch.constants[COUNTS]), notes[:, 0].tolist(), notes[:, 1].tolist())


def compressed(X, y, *, weights=None, **options) -> tuple[Chunk, cpu.Moments]:
    """A chunk of fits of their own data, X (m, n, d), ready to be run on their moments."""
    chunk = chunk_of(X, y, dtype=X.dtype, weights=weights, **options)
    m, size = chunk.w.shape
    moments = cpu.Moments.empty(m, m, size, X.dtype)
    if weights is not None:
        moments.set_weight_range(np.stack([chunk.weights.min(1), chunk.weights.max(1)], axis=1).astype(float))
    assert cpu.compress_fits(chunk, chunk.intercept, moments, np.zeros(1, np.int32))
    chunk.algorithm[:] = MOMENTS
    return chunk, moments


def arbiters_runs(X, y, *, lr, w0, epochs, weights=None, reduction="mean") -> list[arbiter.Run]:
    """Each fit by the arbiter; lr (m,) or (epochs, m)."""
    runs = []
    for f in range(len(X)):
        own = None if weights is None else weights[f]
        rate = float(lr[f]) if np.ndim(lr) == 1 else lr[:, f]
        runs.append(arbiter.run(X[f], y[f], w0=w0[f], lr=rate, epochs=epochs, algorithm="moments", weights=own, reduction=reduction))
    return runs


def assert_same_as(runs: list[arbiter.Run], chunk: Chunk) -> None:
    """Every number that was written is the arbiter's."""
    rows = [t for t in range(chunk.epochs + 1) if chunk.every and (t % chunk.every == 0 or t == chunk.epochs)]
    for f, run in enumerate(runs):
        told = f"fit {f} of {len(runs)}, every {chunk.every}, {chunk.epochs} epochs, handover {run.handover}"
        for name, found, want in (
            ("loss", chunk.history_loss[f], run.loss[rows]),
            ("w", chunk.history_w[f], run.w[rows]),
            ("last w", chunk.w_out[f], run.w[-1]),
            ("last loss", chunk.loss[f : f + 1], run.loss[-1:]),
            ("state", chunk.w[f], run.state.w),
            ("slots", chunk.slots[f], run.state.slots),
        ):
            assert same_bits(found, want), f"{name}, {told}: {first_difference(found, want)}"
        assert chunk.steps[f] == run.state.steps, told
        assert (chunk.algorithm[f] == STREAM) == (run.state.algorithm == "stream"), told
        assert chunk.epochs_run[f] == (chunk.epochs if run.first_bad is None else run.first_bad), told


def run_kernels(chunk: Chunk, moments: cpu.Moments) -> None:
    """The CPU backend."""
    numbers = np.arange(len(chunk.w))
    plain = cpu.is_plain(chunk.rule, chunk.hyper.T)
    cpu.descend(chunk, moments, numbers, numbers, np.zeros(1, np.int32), np.zeros(1, np.int64), plain=plain)
