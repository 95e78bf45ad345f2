"""Loss and gradient at w: from moments (docs/arithmetic.md, section 6) and from the samples themselves (section 7)."""

from __future__ import annotations

from .compiling import inlined, part
from .doubled import dd_add, scale, two_sum
from .moments import CHUNK
from .vectors import LANES, add, butterfly, fill, fma, keep_first, load, multiply, negate, store

# 1. A tile of `stream` is one chunk, feature-major (a column every `stride` numbers), y last, padded with zeros to whole groups of 32
#    lanes. Lanes without a sample are kept by keep_first: adding their zeros could turn a -0 into +0.


@inlined
def evaluate_moments(gram, target, n, factor, w, residual, gradient):
    """float32 data: gram (D, D), target (D+1,) = [c, yy], all float64. Fills the gradient, returns the loss."""
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
    return loss / n


@inlined
def evaluate_moments_doubled(gram, low_gram, target, low_target, exponents, n, factor, low_factor, w, scaled, gradient):
    """float64 data: scaled moments in double-double. `scaled` (D,) is scratch. Fills the gradient, returns the loss."""
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
        gradient[j] = scale(p + q, exponents[j] + exponent_y)
        total, low = dd_add(total, low, -target[j], -low_target[j])
        p = total * scaled[j]
        q = fma(total, scaled[j], -p)
        q = fma(low, scaled[j], q)
        loss, lost = two_sum(loss, p)
        low_loss = low_loss + (lost + q)
    result = loss + low_loss
    if result < 0.0:
        result = 0.0
    return scale(result / n, 2 * exponent_y)


@part
def fill_stream_tile(tile, stride, X, y, item, target_item, first, rows):
    """Samples first … first+rows-1, feature-major; see 1."""
    d = X.shape[2]
    zero = X.dtype.type(0)
    for i in range(rows):
        for k in range(d):
            tile[k * stride + i] = X[item, first + i, k]
        tile[d * stride + i] = y[target_item, first + i]
    for i in range(rows, (rows + LANES - 1) // LANES * LANES):
        for k in range(d + 1):
            tile[k * stride + i] = zero


@part
def _evaluate_chunk(tile, stride, rows, d, intercept, w, factor, lanes, sums):
    """Sums of one chunk: sums (D+1,) = [Σ x_j · factor · r, Σ r²]. lanes ((D)·32,) is scratch."""
    size = len(w)
    lanes[:] = w.dtype.type(0)
    squares = fill(w.dtype.type(0))
    for first in range(0, rows, LANES):
        count = min(LANES, rows - first)
        residual = negate(load(tile, d * stride + first))
        for k in range(d):
            residual = fma(load(tile, k * stride + first), fill(w[k]), residual)
        if intercept:
            residual = add(residual, fill(w[d]))
        squares = keep_first(count, fma(residual, residual, squares), squares)
        scaled = multiply(fill(factor), residual)
        for j in range(d):
            before = load(lanes, j * LANES)
            store(lanes, j * LANES, keep_first(count, fma(load(tile, j * stride + first), scaled, before), before))
        if intercept:
            before = load(lanes, d * LANES)
            store(lanes, d * LANES, keep_first(count, add(before, scaled), before))
    for j in range(size):
        sums[j] = butterfly(load(lanes, j * LANES))
    sums[size] = butterfly(squares)


@part
def evaluate_stream(tile, stride, tile_is_filled, X, y, item, target_item, intercept, w, factor, lanes, parts, gradient):
    """Loss and gradient in one pass over the samples, in their dtype. parts (chunks, D+1) is scratch."""
    n, d = X.shape[1], X.shape[2]
    size = len(w)
    count = (n + CHUNK - 1) // CHUNK
    for chunk in range(count):
        rows = min(CHUNK, n - chunk * CHUNK)
        if not tile_is_filled:
            fill_stream_tile(tile, stride, X, y, item, target_item, chunk * CHUNK, rows)
        _evaluate_chunk(tile, stride, rows, d, intercept, w, factor, lanes, parts[chunk])
    while count > 1:
        pairs = count // 2
        for p in range(pairs):
            for j in range(size + 1):
                parts[p, j] = parts[2 * p, j] + parts[2 * p + 1, j]
        if count % 2:
            parts[pairs] = parts[count - 1]
            pairs += 1
        count = pairs
    for j in range(size):
        gradient[j] = parts[0, j]
    return parts[0, size] / w.dtype.type(n)
