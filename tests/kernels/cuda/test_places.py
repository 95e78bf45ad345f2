"""Places beyond 2³¹ in every array that can be that long: fits at the far end of arrays of which
nothing else is ever touched.

The arrays are addresses without memory, and only the last blocks of a launch are run
(HostDevice.last_blocks). What is found at the end of the long arrays is what the same fits give
alone.
"""

from __future__ import annotations

import math
import mmap

import numpy as np
import pytest

from fastgd.kernels.chunk import ALGORITHMS, Chunk
from fastgd.kernels.cuda.data import Data
from fastgd.kernels.cuda.part import Part
from fastgd.kernels.update_rules import UPDATE_RULES
from tests.cuda_on_host import HostDevice
from tests.support.against_arbiter import bits

LARGE = 2**28  # bytes
NO_RESERVE = 0x4000  # MAP_NORESERVE of Linux: no memory is set aside


def sparse(shape: tuple[int, ...], dtype) -> np.ndarray:
    """Zeros that take memory where they are written to."""
    n_bytes = math.prod(shape) * np.dtype(dtype).itemsize
    return np.frombuffer(mmap.mmap(-1, n_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | NO_RESERVE), dtype).reshape(shape)


class Far(HostDevice):
    """Large arrays are lent, or sparse."""

    def upload(self, array, dtype=None, alignment=8):
        return array if array.nbytes > LARGE else super().upload(array, dtype)

    def empty(self, shape, dtype):
        return sparse(shape, dtype) if math.prod(shape) * np.dtype(dtype).itemsize > LARGE else super().empty(shape, dtype)

    def fill(self, array, byte):
        if array.nbytes <= LARGE:
            super().fill(array, byte)


def chunk_of(m: int, n: int, d: int, dtype: str, ends: tuple[np.ndarray, ...], *, epochs: int, every: int) -> Chunk:
    """m fits, the last ones with these X, y and weights (none: an empty array), the others with
    nothing."""
    rule, rows = UPDATE_RULES["sgd"], 0 if every == 0 else epochs // every + 1
    values = rule.all_values()
    X, y, weights = (sparse((m, *end.shape[1:]), dtype) if end.size else np.empty((0, n), dtype) for end in ends)
    for whole, end in zip((X, y, weights), ends, strict=True):
        whole[len(whole) - len(end) :] = end
    own, none = np.arange(m), np.broadcast_to(np.int64(-1), (m,))
    hyper = np.array([float(values[name]) for name in (*rule.hyperparameters, *rule.derived)])
    return Chunk(
        X, y, own, own, weights, own, np.empty((0, n), np.int32), none, np.full(m, n),
        intercept=False, rule=rule, lr=np.full((1, m), 0.05), hyper=np.broadcast_to(hyper, (m, len(hyper))), epochs=epochs,
        reduction="mean", tol=-1.0, every=every, w=np.zeros((m, d)), slots=np.zeros((m, 1, d)), products=np.ones((m, 0)),
        steps=np.zeros(m, np.int64), algorithm=np.full(m, ALGORITHMS.index("moments"), np.int8), status=np.zeros(m, np.int8),
        w_out=np.empty((m, d), dtype), loss=np.empty(m, dtype), epochs_run=np.empty(m, np.int64),
        history_w=np.broadcast_to(np.zeros(1, dtype), (m, rows, d)), history_loss=np.broadcast_to(np.zeros(1, dtype), (m, rows)),
    )  # fmt: skip


def run(chunk: Chunk, blocks: int | None, count: int) -> dict[str, np.ndarray]:
    """What the last fits have in the end."""
    data = Data(Far(last_blocks=blocks), chunk, None)
    if data.weighted:
        data.leave_out(omit=False)
    data.weigh()
    data.compress()
    part = Part(data, chunk, None)
    part.begin()
    part.descend(np.zeros(1, np.int32), np.zeros(1, np.int64))
    found = {name: part.arrays[name][-count:].copy() for name in ("w", "w_out", "loss", "history_w", "history_loss", "status")}
    found["moments"] = data.arrays["moments"][-count:].copy()
    found["used"] = data.used[-count:]
    longest = max(array.size for array in (*part.arrays.values(), *data.arrays.values()))
    return found | {"longest": np.array(longest)}


CASES = {  # name: m, n, d, dtype, epochs, every, weighted
    "histories": (2**31 // 1001 + 99, 4, 1, "float32", 1000, 1, False),
    "moments": (2**31 // (2 * 45 * 46 // 2) + 99, 46, 44, "float64", 1, 1, False),
    "data and lists of samples": (2**31 // 5000 + 99, 5000, 1, "float32", 2, 1, True),
}


@pytest.mark.parametrize("name", CASES)
def test_places_beyond_2_31(name):
    """The longest array has more than 2³¹ numbers, and the fits lie at its end."""
    m, n, d, dtype, epochs, every, weighted = CASES[name]
    count, rng = 2, np.random.default_rng(7)
    X, y = rng.standard_normal((count, n, d)).astype(dtype) / d, rng.standard_normal((count, n)).astype(dtype)
    weights = rng.integers(0, 3, (count, n)).astype(dtype) if weighted else np.empty((0, n), dtype)
    far = run(chunk_of(m, n, d, dtype, (X, y, weights), epochs=epochs, every=every), 2, count)
    near = run(chunk_of(count, n, d, dtype, (X, y, weights), epochs=epochs, every=every), None, count)
    assert far.pop("longest") > 2**31 > near.pop("longest")
    assert not weighted or (near["used"] < n).all()
    for key, values in near.items():
        assert np.array_equal(bits(values), bits(far[key])) if values.dtype.kind == "f" else np.array_equal(values, far[key]), key
