"""How the samples of a group are cut into pieces, each compressed by one call of a kernel."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..data.items import items_interleave, tile
from ..kernels.chunk import Samples
from ..planning.plan import PACK, PIECE_NS, TILED_BYTES
from .groups import copy_one_by_one, select

ENOUGH = 2**20  # products of numbers: for fewer the kernel for many targets is not loaded
FEWEST = 4  # targets on one X, on average, for which it is quicker
TARGETS = 8  # that it sums at a time


def have_x_in_common(samples: Samples, n: int, size: int) -> bool:
    """Whether the products with y of these pairs are summed many targets at a time.

    n: samples of a pair; size: parameters. Neighbouring pairs must have their X in common, and
    their weights and lists of samples.
    """
    from ..kernels import cpu

    count = len(samples.n_used)
    if count * n * (size + 1) < ENOUGH or cpu.copies_samples(samples) or (n > cpu.RANGE and count < 2 * PACK):
        return False
    indices = (samples.x_index, samples.weight_index, samples.kept_index, samples.n_used)
    differs = np.any([np.diff(index) != 0 for index in indices], axis=0)
    return count >= FEWEST * (1 + int(np.count_nonzero(differs)))


def targets_per_task(count: int, n: int, size: int) -> int:
    """How many targets of n samples, on X of `size` parameters, a task takes: as many in each."""
    tasks = -(-count // max(1, int(PIECE_NS / (n * (size + 1)))))
    if tasks > 1:
        tasks = -(-tasks // 4) * 4
    return -(-count // (tasks * TARGETS)) * TARGETS


def fits_per_task(n: int, size: int) -> int:
    """How many fits, or parts of a fit, of n samples and `size` parameters a task takes."""
    return max(1, int(PIECE_NS / cost(n, size)))


def cost(n: int, size: int) -> float:
    """Rough time of compressing n samples of `size` parameters [ns]."""
    return n * (size + 1) * (size + 2) / 2


def interleave(samples: Samples, together: bool) -> bool:
    """Whether the data are copied before they are compressed, since neighbouring items interleave.

    together: many targets at a time, which lie side by side in one cache line if they interleave.
    """
    from ..kernels import cpu

    if cpu.copies_samples(samples):
        return False
    side_by_side = together and samples.y.strides[0] == samples.y.itemsize
    return any(items_interleave(array) for array in (samples.X, samples.weights)) or (items_interleave(samples.y) and not side_by_side)


def interleaved_per_task(samples: Samples, fits: int, n: int, size: int) -> int:
    """How many of `fits` fits a task takes whose data are copied first."""
    return min(fits, max(1, TILED_BYTES // (n * (size + 2) * samples.X.itemsize)))


def tiled(samples: Samples, item: np.ndarray) -> Samples:
    """The samples of some items. Data whose items interleave are copied, item after item.

    A single item is left as it is.
    """
    if samples.lengths is not None:
        return select(samples, item)
    data = {}
    for name, index_name in (("X", "x_index"), ("y", "y_index"), ("weights", "weight_index")):
        array, index = getattr(samples, name), getattr(samples, index_name)[item]
        if len(array):
            first, stop = int(index.min()), int(index.max()) + 1
            if stop - first > len(index) and items_interleave(array):
                array, index = copy_one_by_one(index, array.shape[1:], array.dtype, array.__getitem__)
            else:
                array, index = tile(array, first, stop), index - first
        data[name], data[index_name] = array, index
    return replace(samples, **data, kept_index=samples.kept_index[item], n_used=samples.n_used[item])
