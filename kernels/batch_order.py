"""Which samples each mini-batch has (docs/arithmetic.md, section 13): the same for every backend.

The order of an epoch is a function of the number of samples, the seed and the epoch alone: no
generator is carried along, so a descent goes on in mid-training, and in any order of its fits.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

ORDERED = 2**18  # numbers of the orders of epochs that are made at a time, or one epoch's


def steps_per_epoch(n_samples: int, size: int, drop_last: bool) -> int:
    """How many batches an epoch has."""
    return n_samples // size if drop_last else -(-n_samples // size)


def random_numbers(n_samples: int, epoch: int, seed: int) -> np.ndarray:
    """(n_samples,) uint64: Philox 4x64-10 under the key (seed, epoch), from counter 1 on."""
    return np.random.Philox(key=np.array([seed, epoch], np.uint64)).random_raw(n_samples)


def order_of_epoch(n_samples: int, epoch: int, seed: int) -> np.ndarray:
    """(n_samples,) int64: the samples of a shuffled epoch, in the order in which batches have them.

    It sorts the samples by their random numbers; of equal ones the first comes first.
    """
    return np.argsort(random_numbers(n_samples, epoch, seed), kind="stable")


def batches_of(order: np.ndarray, size: int, drop_last: bool) -> Iterator[np.ndarray]:
    """The batches of an epoch one after the other, cut from its order."""
    for number in range(steps_per_epoch(len(order), size, drop_last)):
        yield order[number * size : (number + 1) * size]
