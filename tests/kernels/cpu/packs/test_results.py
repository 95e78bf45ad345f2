"""Histories beyond the cache are written past it (kernels/cpu/packs/results.py, 2): the bits of
short ones, and nothing beside.

A fit alone has a short history; the same fit among many has a place in a long one.
"""

from __future__ import annotations

import numpy as np
import pytest

import fastgd
from fastgd.kernels.cpu.packs import descend_packs
from tests.support.against_arbiter import same_bits

ENDS = np.float32(-77)  # around arrays that are written


def data(m, n, d, dtype, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(m, n, d)).astype(dtype)
    return X, (X.sum(-1) + rng.normal(size=(m, n))).astype(dtype)


def room(shape, dtype, offset):
    """(an array that begins `offset` numbers after a line of memory, all of it with what lies
    around)."""
    count = int(np.prod(shape))
    whole = np.full(count + 64, ENDS, dtype)
    begin = 32 + offset - whole.ctypes.data // whole.itemsize % (64 // whole.itemsize)
    return whole[begin : begin + count].reshape(shape), (whole[:begin], whole[begin + count :])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("d", "epochs", "every"), [(1, 100, 1), (1, 101, 3), (2, 63, 1), (9, 40, 1)])
def test_as_alone(dtype, d, epochs, every):
    rows = epochs // every + 1 + (epochs % every > 0)
    m = 37 + descend_packs.LEAST_STAGED // (rows * (d + 1) * np.dtype(dtype).itemsize)
    X, y = data(m, 2 * d + 2, d, dtype)
    rates = np.full(m, 0.05)
    rates[5], rates[64:96], rates[m - 40] = 1e30, 50.0, 1e20  # these leave, one by one, and a whole batch
    for offset in (0, 1, 4, 7):
        (w, around_w), (loss, around_loss) = room((m, rows, d), dtype, offset), room((m, rows), dtype, offset)
        result = fastgd.fit(
            X, y, lr=rates, epochs=epochs, history=every, threads=1, out={"history.w": w, "history.loss": loss}, memory_limit="1 GiB"
        )
        assert all((ends == ENDS).all() for ends in (*around_w, *around_loss))
        assert result.status[5] == fastgd.Status.DIVERGED
        for f in (0, 4, 5, 6, 31, 32, 63, 64, 70, 95, 96, m // 2, m - 41, m - 40, m - 2, m - 1):
            alone = fastgd.fit(X[f], y[f], lr=rates[f], epochs=epochs, history=every)
            assert same_bits(w[f], alone.history.w), f
            assert same_bits(loss[f], alone.history.loss), f


@pytest.mark.parametrize("tol", [None, 1e-2])
def test_two_threads_and_stops(tol):
    """Rows after the last epoch are the last one's; fits that stop early, batches of some stopped
    lanes."""
    X, y = data(20_000, 20, 1, "float32")
    whole = fastgd.fit(X, y, lr=np.linspace(0.01, 0.6, 20_000), epochs=60, history=True, tol=tol, threads=2)
    assert whole.history.w.nbytes + whole.history.loss.nbytes > 4 * descend_packs.LEAST_STAGED
    parts = [slice(first, first + 500) for first in range(0, 20_000, 500)]
    for part in parts[::7]:
        some = fastgd.fit(X[part], y[part], lr=np.linspace(0.01, 0.6, 20_000)[part], epochs=60, history=True, tol=tol)
        assert same_bits(whole.history.w[part], some.history.w)
        assert same_bits(whole.history.loss[part], some.history.loss)
        assert same_bits(whole.epochs[part], some.epochs)
    assert tol is None or (whole.status == fastgd.Status.CONVERGED).any()
