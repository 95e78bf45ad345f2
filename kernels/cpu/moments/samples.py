"""Which samples of a fit there are, and where they lie (docs/arithmetic.md, section 2).

1. Kernels take data of any layout without a copy: `data` is (X, X steps, y, y steps, weights, weights steps), each array flat, with the
   steps (place of the first number, from item to item, from sample to sample[, from feature to feature]) in numbers, so that one
   compiled kernel serves every layout. No weights: an array of length 0.
2. `index` is (x_index, y_index, weight_index, kept, kept_index) of the fits: see kernels/chunk.py.
3. Inside, both are bare numbers (addresses.py): `sources`, tuples of an address and steps, as `sources_of` makes them. `where` is where the
   samples of one item lie: the places of its first numbers in X, y and the weights, of its row of `kept`, and whether that row counts.
"""

from __future__ import annotations

import math

import numpy as np

from ..simd.addresses import address, count_at
from ..simd.compiling import inlined, kernel
from ..simd.scalars import raised

FINE, NEGATIVE, NOT_FINITE = range(3)  # what `keep` may find of a fit's weights


@inlined
def base_of(steps, item):
    """Where an item's first number lies."""
    return steps[0] + item * steps[1]


@inlined
def sources_of(data, index):
    """((X, its length and steps), (y, steps), (weights, steps, whether there are any), (kept, its row length), the four indices)."""
    X, x_steps, y, y_steps, weights, w_steps = data
    x_index, y_index, weight_index, kept, kept_index = index
    return (
        (address(X), len(X), x_steps[0], x_steps[1], x_steps[2], x_steps[3]),
        (address(y), y_steps[0], y_steps[1], y_steps[2]),
        (address(weights), w_steps[0], w_steps[1], w_steps[2], len(weights) > 0),
        (address(kept), kept.shape[1]),
        (address(x_index), address(y_index), address(weight_index), address(kept_index)),
    )


@inlined
def is_weighted(sources):
    """Whether there are weights."""
    return sources[2][4]


@inlined
def where_of(sources, item):
    """Where the samples of an item lie: see 3."""
    (_, _, x_start, x_item, _, _), (_, y_start, y_item, _), (_, w_start, w_item, _, weighted), (_, n), numbers = sources
    x_index, y_index, weight_index, kept_index = numbers
    row = count_at(kept_index, item)
    w_base = w_start + count_at(weight_index, item) * w_item if weighted else np.int64(0)
    x_base, y_base = x_start + count_at(x_index, item) * x_item, y_start + count_at(y_index, item) * y_item
    return x_base, y_base, w_base, max(row, 0) * n, row >= 0


@kernel
def keep(data, index, n, d, omit, look, kept, n_used, spread, faults, cancel):
    """Find the samples that stay: those of a weight that is not 0 and, with `omit`, finite; with `look` also those with finite numbers.

    kept (m, n) int32, n_used (m,) int64, faults (m,) int8: FINE, NEGATIVE or NOT_FINITE, of the weights; spread (m, 2) float64: the least
    and the largest weight that stay, 1 and 1 without weights.
    """
    X, x_steps, y, y_steps, weights, w_steps = data
    x_index, y_index, weight_index = index[0], index[1], index[2]
    weighted = len(weights) > 0
    for f in range(len(n_used)):
        if raised(cancel):
            return
        x_base, y_base = base_of(x_steps, x_index[f]), base_of(y_steps, y_index[f])
        w_base = base_of(w_steps, weight_index[f]) if weighted else 0
        count = 0
        weight = 1.0
        least, largest = math.inf, 0.0
        faults[f] = FINE
        for i in range(n):
            if weighted:
                weight = np.float64(weights[w_base + i * w_steps[2]])
                if weight == 0.0:
                    continue
                if weight < 0.0 and weight > -math.inf:
                    faults[f] = NEGATIVE
                    break
                if not math.isfinite(weight):
                    if omit:
                        continue
                    faults[f] = NOT_FINITE
            stays = True
            if look:
                stays = math.isfinite(y[y_base + i * y_steps[2]])
                for j in range(d):
                    stays = stays and math.isfinite(X[x_base + i * x_steps[2] + j * x_steps[3]])
            if stays:
                kept[f, count] = i
                count += 1
                least, largest = min(least, weight), max(largest, weight)
        n_used[f] = count
        spread[f, 0], spread[f, 1] = (least, largest) if count else (1.0, 1.0)
