"""The order of mini-batches is Philox and a stable argsort; that it is the specification's is shown
in tests/kernels/cpu/minibatch/test_ordering.py."""

from __future__ import annotations

import numpy as np
import pytest

from fastgd.kernels import batch_order
from fastgd.kernels.batch_order import batches_of, order_of_epoch, steps_per_epoch
from tests.specification.arbiter_batches import philox


def test_the_first_numbers_by_the_papers_own_vectors():
    """The vectors that Random123 is tested with (kat_vectors, philox4x64 10)."""
    ones, pi = 2**64 - 1, (0x243F6A8885A308D3, 0x13198A2E03707344, 0xA4093822299F31D0, 0x082EFA98EC4E6C89)
    zeros = [0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B]
    assert philox(0, (0, 0)) == zeros
    assert philox(ones * (1 + 2**64 + 2**128 + 2**192), (ones, ones)) == [
        0x87B092C3013FE90B, 0x438C3C67BE8D0224, 0x9CC7D7C69CD777B6, 0xA09CAEBF594F0BA0,
    ]  # fmt: skip
    assert philox(sum(word << 64 * k for k, word in enumerate(pi)), (0x452821E638D01377, 0xBE5466CF34E90C6C)) == [
        0xA528F45403E61D95, 0x38C72DBD566E9788, 0xA5A1610E72FD18B5, 0x57BD43B5E52B7FE6,
    ]  # fmt: skip
    for seed, epoch in ((0, 0), (3, 1), (2**63 - 1, 2**40)):
        expected = [number for counter in (1, 2) for number in philox(counter, (seed, epoch))]
        assert batch_order.random_numbers(7, epoch, seed).tolist() == expected[:7]


def test_equal_numbers_keep_their_order(monkeypatch):
    monkeypatch.setattr(batch_order, "random_numbers", lambda n, epoch, seed: np.array([5, 1, 5, 1, 0], np.uint64))
    assert order_of_epoch(5, 0, 0).tolist() == [4, 1, 3, 0, 2]


@pytest.mark.parametrize(("n", "size", "steps", "full"), [(10, 3, 4, 3), (9, 3, 3, 3), (2, 5, 1, 0), (0, 5, 0, 0), (5, 1, 5, 5)])
def test_batches(n, size, steps, full):
    for drop_last, count in ((False, steps), (True, full)):
        found = list(batches_of(np.arange(n), size, drop_last))
        assert len(found) == steps_per_epoch(n, size, drop_last) == count
        assert [i for batch in found for i in batch.tolist()] == list(range(min(n, count * size)))
