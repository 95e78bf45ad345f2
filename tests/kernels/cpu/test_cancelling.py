"""Kernels read the cancel flag within one fit: after so many samples, and so many rows of a matrix.

Samples that all lie at one address take no memory, so a fit may have 2^36 of them. Whatever is
tried here takes from seconds to minutes where the flag is read once per fit.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from fastgd.kernels import cpu
from fastgd.kernels.chunk import MOMENTS as ON_MOMENTS
from fastgd.kernels.chunk import STREAM, Samples
from fastgd.kernels.cpu.moments.samples import find_kept
from tests.support.reference_chunks import chunk_of

N = 2**36
LIMIT = 2.5  # seconds, generous: kernels stop within milliseconds


def samples_of(value: float, n: int = N, d: int = 1, weighted: bool = False) -> Samples:
    """One fit of n samples that are all alike, at one address."""
    number, zero = np.float32(value), np.zeros(1, np.int64)
    X, y = np.broadcast_to(number, (1, n, d)), np.broadcast_to(number, (1, n))
    weights = np.broadcast_to(np.float32(1), (1 if weighted else 0, n))
    return Samples(X, y, zero, zero, weights, zero, np.empty((0, 1), np.int32), zero - 1, zero + n)


def moments_of(size: int) -> cpu.Moments:
    """The moments of a fit with orthogonal columns, which is not solved in the first step."""
    moments = cpu.Moments.empty(1, 1, size, np.dtype(np.float64))
    for array in (moments.gram, moments.gram_exponents, moments.weighing, moments.target, moments.exponents):
        array.fill(0)
    moments.gram[0, 0, [j * (j + 1) // 2 + j for j in range(size)]] = 1.0
    moments.target[0, 0], moments.weighing[0] = 1.0, (1.0, 0.0, 0.0, 1.0)
    return moments


def descend(samples: Samples, moments: cpu.Moments | None, cancel: np.ndarray, epochs: int) -> None:
    size = samples.X.shape[2]
    dtype = np.float64 if moments is not None else np.float32
    chunk = chunk_of(np.ones((1, 1, size)), [[1.0]], dtype=dtype, epochs=epochs, lr=1e-3, every=0)
    if moments is None:
        chunk = replace(chunk, **{name: getattr(samples, name) for name in ("X", "y", "weights", "weight_index", "n_used")})
    chunk.algorithm[:] = STREAM if moments is None else ON_MOMENTS
    zero = np.zeros(1, np.int64)
    cpu.descend(chunk, moments or cpu.no_records(size, np.dtype(dtype)), zero, zero, cancel, np.zeros(1, np.int64))


def compress(samples: Samples, cancel: np.ndarray) -> None:
    cpu.compress_fits(samples, False, cpu.Moments.empty(1, 1, samples.X.shape[2], np.dtype(np.float32)), cancel)


def compress_targets(samples: Samples, cancel: np.ndarray) -> None:
    made, zero = cpu.Moments.empty(0, 1, samples.X.shape[2], np.dtype(np.float32)), np.zeros(1, np.int64)
    cpu.compress_targets(samples, zero, samples.n_used, False, made.target, made.exponents, cpu.no_weighing(1), cancel)


def search(samples: Samples, cancel: np.ndarray) -> None:
    """find_kept, of which nothing is kept: the list has no room."""
    zero = np.zeros(1, np.int64)
    nothing, spread, faults = np.empty((1, 1), np.int32), np.ones((1, 2)), np.zeros(1, np.int8)
    n_used, index = samples.n_used.copy(), (zero, zero, zero)
    find_kept(cpu.flat_data(samples), index, samples.X.shape[2], True, True, nothing, n_used, spread, faults, cancel)


def solve(size: int, cancel: np.ndarray) -> None:
    zero, number = np.zeros(1, np.int64), np.zeros(1)
    w, algorithm = np.empty((1, size)), np.zeros(1, np.int8)
    cpu.solve(
        moments_of(size), zero, zero, number, zero, False, w, number.copy(), number.copy(), zero.copy(), algorithm, cancel, zero.copy()
    )


WORK: dict[str, Callable[[np.ndarray], None]] = {
    "find_kept": lambda cancel: search(samples_of(np.nan), cancel),
    "find_kept, with weights": lambda cancel: search(samples_of(np.nan, weighted=True), cancel),
    "find_shifts": lambda cancel: cpu.find_shifts(samples_of(1), 1, cancel),
    "compress": lambda cancel: compress(samples_of(1), cancel),
    "compress_targets": lambda cancel: compress_targets(samples_of(1), cancel),
    "compress, wide": lambda cancel: compress(samples_of(1, d=200), cancel),
    "stream": lambda cancel: descend(samples_of(1), None, cancel, 1),
    "stream, with weights": lambda cancel: descend(samples_of(1, weighted=True), None, cancel, 1),
    "stream, wide": lambda cancel: descend(samples_of(1, 4096, 2**16), None, cancel, 10**6),
    "epochs on moments of many parameters": lambda cancel: descend(samples_of(1, 1, 2500), moments_of(2500), cancel, 10**6),
    "solve": lambda cancel: solve(2500, cancel),
}


@pytest.mark.parametrize("work", WORK)
def test_a_kernel_stops_within_one_fit(work):
    cancel = np.ones(1, np.int32)
    WORK[work](cancel)  # compiled or loaded
    cancel[0] = 0
    ended: list[float] = []
    thread = threading.Thread(target=lambda: (WORK[work](cancel), ended.append(time.monotonic())), daemon=True)
    thread.start()
    time.sleep(0.2)  # in the middle
    assert not ended, "this work is too short to show anything"
    cancel[0] = 1
    pressed = time.monotonic()
    thread.join(60)
    assert ended, "it went on for a minute"
    assert ended[0] - pressed < LIMIT
