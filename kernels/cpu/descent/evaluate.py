"""Loss and gradient at w: from moments (docs/arithmetic.md, section 6), from samples (section 7).

1. A tile of `stream` is one chunk of samples, feature-major: a column every `stride_for` numbers,
   then y and, if there are any, the weights, padded with zeros to whole groups of LANES. Lanes
   without a sample keep their sums (select_first): adding their zeros could turn a −0 into +0.
2. The cancel flag is read between chunks, in wide data also between blocks. What is computed once
   it is raised is of no use: the caller reads it afterwards.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..moments.compress import CHUNK
from ..moments.lane_sums import add_lanes
from ..simd.addresses import address, count_at, further
from ..simd.compiling import inlined, part
from ..simd.double_double import dd_add, scale, two_sum
from ..simd.lanes import LANES, LINE, add, butterfly, fill, fma, load, multiply, negate, store
from ..simd.masks import select_first
from ..simd.scalars import get, move, prefetch, put, raised
from ..simd.transpose import SIDE, transpose
from .stream_pass import MOST_UNROLLED, add_columns, pass_over

BLOCK = 256  # samples that are worked on at a time
FEW = 3  # sums: one by one they are added faster than eight at a time
AHEAD = 4096  # numbers of X that are fetched before they are copied
WIDE = 256  # parameters: with more the cancel flag is read in every epoch, and within a chunk


class Standard(NamedTuple):
    """How the features of a fit are centred and scaled as they come into a tile."""

    center: Any  # addresses
    scale: Any
    first: Any  # the number of the fit's first feature there
    used: Any  # bool: whether they are


@inlined
def stride_for(n):
    """How many numbers further on each column of a tile of n samples begins, one chunk at most.

    A cache line more than it has, or its columns would share a few places of the cache.
    """
    return min(CHUNK, (n + LANES - 1) // LANES * LANES) + LINE


@inlined
def evaluate_moments(gram, target, total_weight, factor, w, residual, gradient):
    """Fill the gradient and return the loss: float32 data.

    gram (D, D) and target (D+1,) = [Xᵀy, yᵀy] are float64; residual (D,) is scratch.
    """
    size = len(w)
    for j in range(size):
        total = -target[j]
        for k in range(size):
            total = fma(gram[j, k], w[k], total)
        residual[j] = total
        gradient[j] = factor * total
    loss = target[size]
    for j in range(size):
        loss = fma(w[j], residual[j] - target[j], loss)
    if loss < 0.0:
        loss = 0.0
    return loss / total_weight


@inlined
def evaluate_moments_doubled(
    gram, low_gram, target, low_target, exponents, total_weight, factor, low_factor, shift, w, scaled, gradient
):  # fmt: skip
    """Fill the gradient and return the loss: float64 data, scaled moments in double-double.

    The factor of the gradient is (factor + low_factor) · 2^shift; scaled (D,) is scratch.
    """
    size = len(w)
    exponent_y = exponents[size]
    for k in range(size):
        scaled[k] = scale(w[k], exponents[k] - exponent_y)
    loss, low_loss = target[size], low_target[size]
    for j in range(size):
        total, low = -target[j], -low_target[j]
        for k in range(size):
            p = gram[j, k] * scaled[k]
            q = fma(gram[j, k], scaled[k], -p)
            q = fma(low_gram[j, k], scaled[k], q)
            total, lost = two_sum(total, p)
            low = low + (lost + q)
        total, low = two_sum(total, low)
        p = total * factor
        q = fma(total, factor, -p)
        q = fma(low, factor, q)
        q = fma(total, low_factor, q)
        gradient[j] = scale(p + q, exponents[j] + exponent_y + shift)
        total, low = dd_add(total, low, -target[j], -low_target[j])
        p = total * scaled[j]
        q = fma(total, scaled[j], -p)
        q = fma(low, scaled[j], q)
        loss, lost = two_sum(loss, p)
        low_loss = low_loss + (lost + q)
    result = loss + low_loss
    if result < 0.0:
        result = 0.0
    return scale(result / total_weight, 2 * exponent_y)


@inlined
def _fill_stream_column(tile, start, done, rows, array, base, step, first, kept, row, masked):
    """Fill one column of a tile of `stream` from row `done` on, as tiles._fill_column."""
    if masked:
        for i in range(done, rows):
            move(array, base + count_at(kept, row + first + i) * step, tile, start + i)
        return
    begin = base + first * step
    i = done
    if step == 1:
        while i + LANES <= rows:
            store(tile, start + i, load(array, begin + i))
            i += LANES
    while i < rows:
        move(array, begin + i * step, tile, start + i)
        i += 1


@part
def _standardize_tile(tile, stride, d, rows, standard, cancel):
    """(x − center) / scale, in the data's dtype."""
    number = tile.dtype.type
    for k in range(d):
        if raised(cancel):
            return
        center, scale = number(get(standard.center, standard.first + k)), number(get(standard.scale, standard.first + k))
        for i in range(k * stride, k * stride + rows):
            tile[i] = (tile[i] - center) / scale


@part
def fill_stream_tile(tile, stride, sources, place, d, standard, first, rows, cancel):
    """Copy samples first … first+rows-1 of those that are used to a tile of `stream`."""
    x_step, kept, row, masked = sources.x_step, sources.kept, place.kept, place.masked
    count = d + 1
    done = 0  # rows whose features are there
    if d > 1 and sources.feature_step == 1 and not masked:
        start = place.x + first * x_step
        last = (d - 1) // SIDE * SIDE  # where the last block of features begins; it is read as if it were whole
        while done + SIDE <= rows and x_step >= 0 and start + (done + SIDE - 1) * x_step + last + SIDE <= sources.x_length:
            if d > WIDE and raised(cancel):
                return
            for i in range(done, done + SIDE):
                for k in range(0, d, SIDE):
                    prefetch(sources.X, start + i * x_step + k + AHEAD)
            for k in range(0, d - SIDE + 1, SIDE):
                transpose(sources.X, start + done * x_step + k, x_step, SIDE, tile, k * stride + done, stride)
            if d % SIDE:
                transpose(sources.X, start + done * x_step + last, x_step, d - last, tile, last * stride + done, stride)
            done += SIDE
    for k in range(d):
        if d > WIDE and raised(cancel):
            return
        _fill_stream_column(tile, k * stride, done, rows, sources.X, place.x + k * sources.feature_step, x_step, first, kept, row, masked)
    _fill_stream_column(tile, d * stride, 0, rows, sources.y, place.y, sources.y_step, first, kept, row, masked)
    if sources.weighted:
        count = d + 2
        _fill_stream_column(tile, (d + 1) * stride, 0, rows, sources.weights, place.weights, sources.w_step, first, kept, row, masked)
    for i in range(rows, (rows + LANES - 1) // LANES * LANES):
        for k in range(count):
            tile[k * stride + i] = tile.dtype.type(0)
    if standard.used:
        _standardize_tile(tile, stride, d, rows, standard, cancel)


@inlined
def add_stream(tile, stride, rows, d, intercept, w, factor, lanes, sums):
    """Sum one chunk without weights, d ≤ MOST_UNROLLED, into sums.

    There is room for a multiple of eight sums; lanes is scratch of LANES numbers for each.
    """
    pass_over(tile, stride, rows, d, intercept, w, factor, lanes)
    count = d + intercept + 1
    if count > FEW:
        add_lanes(lanes, count, sums)
        return
    for k in range(count):
        put(sums, k, butterfly(load(lanes, k * LANES)))


@part
def _evaluate_chunk(tile, stride, rows, d, intercept, weighted, w, factor, scratch, sums, cancel):
    """Sum one chunk: sums (D+1,) = [Σ x_j · factor · v, Σ v · r], v = r or weight · r.

    BLOCK samples at a time, which stay in the cache: first factor · v, then eight columns at a
    time, whose sums are in registers. scratch: BLOCK numbers factor · v, then the lanes of every
    sum, with room for a multiple of eight.
    """
    if d <= MOST_UNROLLED and not weighted:
        found = address(scratch)
        add_stream(address(tile), stride, rows, d, intercept, address(w), factor, further(found, BLOCK), found)
        for j in range(len(w) + 1):
            sums[j] = scratch[j]
        return
    zero, by = fill(w.dtype.type(0)), fill(factor)
    size = len(w)
    for j in range(size + 1):
        store(scratch, BLOCK + j * LANES, zero)
    squares = zero
    for begin in range(0, rows, BLOCK):
        if d > WIDE and raised(cancel):
            break
        count = min(BLOCK, rows - begin)
        for first in range(0, count, LANES):
            residual = negate(load(tile, d * stride + begin + first))
            for k in range(d):
                residual = fma(load(tile, k * stride + begin + first), fill(w[k]), residual)
            if intercept:
                residual = add(residual, fill(w[d]))
            weighed = residual
            if weighted:
                weighed = multiply(load(tile, (d + 1) * stride + begin + first), residual)
            new = fma(weighed, residual, squares)
            if first + LANES > count:
                new = select_first(count - first, new, squares)
            squares = new
            store(scratch, first, multiply(by, weighed))
        whole = count // LANES * LANES
        rest = count - whole
        for j in range(0, d, MOST_UNROLLED):
            columns, to = further(address(tile), j * stride + begin), further(address(scratch), BLOCK + j * LANES)
            add_columns(columns, stride, min(MOST_UNROLLED, d - j), whole // LANES, address(scratch), to)
        for j in range(d if rest else 0):
            lane = BLOCK + j * LANES
            total = load(scratch, lane)
            store(scratch, lane, select_first(rest, fma(load(tile, j * stride + begin + whole), load(scratch, whole), total), total))
        if intercept:
            lane = BLOCK + d * LANES
            total = load(scratch, lane)
            for first in range(0, whole, LANES):
                total = add(total, load(scratch, first))
            if rest:
                total = select_first(rest, add(total, load(scratch, whole)), total)
            store(scratch, lane, total)
    store(scratch, BLOCK + size * LANES, squares)
    found = further(address(scratch), BLOCK)
    add_lanes(found, size + 1, found)  # the first sums take the place of lanes that were added
    for j in range(size + 1):
        sums[j] = scratch[BLOCK + j]


@part
def add_pairwise(parts, count, size):
    """Sum rows 0 … count-1 of the first `size` columns, neighbour with neighbour, into row 0."""
    while count > 1:
        pairs = count // 2
        for p in range(pairs):
            for j in range(size):
                parts[p, j] = parts[2 * p, j] + parts[2 * p + 1, j]
        if count % 2:
            for j in range(size):
                parts[pairs, j] = parts[count - 1, j]
            pairs += 1
        count = pairs


@inlined
def sum_weights(sources, place, n, lanes, parts, cancel):
    """Σ weight in the data's dtype; without weights n, and no call. lanes, parts: scratch."""
    return _add_weights(sources, place, n, lanes, parts, cancel) if sources.weighted else lanes.dtype.type(n)


@part
def _add_weights(sources, place, n, lanes, parts, cancel):
    number = lanes.dtype.type
    count = (n + CHUNK - 1) // CHUNK
    for chunk in range(count):
        if raised(cancel):
            break
        for lane in range(LANES):
            lanes[lane] = number(0)
        for i in range(chunk * CHUNK, min(n, (chunk + 1) * CHUNK)):
            sample = count_at(sources.kept, place.kept + i) if place.masked else np.int64(i)
            lanes[i % LANES] += number(get(sources.weights, place.weights + sample * sources.w_step))
        parts[chunk, 0] = butterfly(load(lanes, 0))
    add_pairwise(parts, count, 1)
    return parts[0, 0]


@inlined
def evaluate_stream(
    tile, stride, tile_is_filled, sources, place, standard, n, d, intercept, w, total_weight, factor, lanes, parts, gradient, cancel
):  # fmt: skip
    """Fill the gradient and return the loss, in one pass over the samples, in their dtype.

    lanes and parts (chunks, D+1) are scratch.
    """
    size = len(w)
    count = (n + CHUNK - 1) // CHUNK
    for chunk in range(count):
        if raised(cancel):
            break
        rows = min(CHUNK, n - chunk * CHUNK)
        if not tile_is_filled:
            fill_stream_tile(tile, stride, sources, place, d, standard, chunk * CHUNK, rows, cancel)
        _evaluate_chunk(tile, stride, rows, d, intercept, sources.weighted, w, factor, lanes, parts[chunk], cancel)
    if count > 1:
        add_pairwise(parts, count, size + 1)
    for j in range(size):
        gradient[j] = parts[0, j]
    return parts[0, size] / total_weight
