"""Which samples of a fit there are, and where they lie (docs/arithmetic.md, section 2).

1. Kernels take data of any layout without a copy: `data` is (X, X steps, y, y steps, weights, weights steps), each array flat, with the
   steps (place of the first number, from item to item, from sample to sample[, from feature to feature]) in numbers, so that one
   compiled kernel serves every layout. No weights: an array of length 0.
2. `index` is (x_index, y_index, weight_index, kept, kept_index) of the fits: see kernels/chunk.py.
"""

from __future__ import annotations

import math

import numpy as np

from .compiling import inlined, kernel
from .vectors import raised

FINE, NEGATIVE, NOT_FINITE = range(3)  # what `keep` may find of a fit's weights


@inlined
def base_of(steps, item):
    """Where an item's first number lies."""
    return steps[0] + item * steps[1]


@inlined
def place_of(sample, row, masked):
    """Where sample number `sample` of those that stay lies among all."""
    if masked:
        return np.int64(row[sample])
    return np.int64(sample)


@inlined
def where_of(data, index, item):
    """Of an item: the places of its first numbers in X, y and the weights, its row of kept samples, and whether that counts."""
    x_index, y_index, weight_index, kept, kept_index = index
    weighted = len(data[4]) > 0
    masked = kept_index[item] >= 0
    w_base = base_of(data[5], weight_index[item]) if weighted else np.int64(0)
    row = kept[kept_index[item] if masked else 0]
    return base_of(data[1], x_index[item]), base_of(data[3], y_index[item]), w_base, row, masked


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
