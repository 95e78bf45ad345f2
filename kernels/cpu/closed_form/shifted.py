"""A fit whose columns were shifted before the moments: the answer for the columns as they were.

With an intercept and without a penalty, subtracting s_j from column j and s_y from y changes the
intercept alone, by s_y − Σ s_j w_j (docs/arithmetic.md, section 11). A constant column is all zeros
once it is shifted: it is found exactly, and shares the intercept's part by the minimum norm.
"""

from __future__ import annotations

from ..simd.compiling import part
from ..simd.double_double import dd_add, scale, two_sum
from ..simd.lanes import fma
from ..simd.scalars import raised
from .one_fit import minus_product

MOST_SHIFTED = 2.0**50  # condition: beyond, columns differ from a constant by some units in the last place, which is rounding


@part
def condition_unshifted(gram, matrix, factor, exponents, shift, row, scratch, cancel):
    """The largest square of the collinearity indices of the columns as they were.

    Constant columns are left out. Of a feature the row of the pseudo-inverse is that of the shifted
    columns; of the intercept it is row_D − Σ s_j row_j. row, scratch (D,) are scratch.
    """
    size = matrix.shape[0]
    last = size - 1
    largest = 0.0
    for j in range(size):
        scratch[j] = scale(shift[j], exponents[last] - exponents[j])  # of the scaled columns
    for j in range(size):
        if raised(cancel):
            break
        if gram[j * (j + 1) // 2 + j] == 0.0:
            continue
        square = 0.0
        for i in range(0 if j == last else j, size):
            entry = 1.0 if i == j else 0.0
            if j == last and i < last and gram[i * (i + 1) // 2 + i] != 0.0:
                entry = -scratch[i]
            for k in range(0 if j == last else j, i):
                entry = fma(-factor[i, k], row[k], entry)
            row[i] = entry / factor[i, i]
            square = fma(row[i], row[i], square)
        length = matrix[j, j]
        if j < last:
            length = fma(fma(scratch[j], matrix[last, last], 2.0 * matrix[j, last]), scratch[j], length)
        largest = max(largest, square * length)
    return largest


@part
def unshift(gram, shift, w, low, shifted):
    """Replace w (D,), with low parts, by the solution for the columns as they were.

    shifted (D,) gets that solution, rounded, in terms of the shifted columns: the loss is evaluated
    there.
    """
    size = len(w)
    last = size - 1
    total, lost = dd_add(w[last], low[last], shift[size], 0.0)
    largest = 1.0
    for j in range(last):
        if gram[j * (j + 1) // 2 + j] != 0.0:
            total, lost = minus_product(total, lost, w[j], low[j], shift[j], 0.0)
        else:
            largest = max(largest, abs(shift[j]))
    total, lost = two_sum(total, lost)
    squares = (1.0 / largest) * (1.0 / largest)
    for j in range(last):
        if gram[j * (j + 1) // 2 + j] == 0.0:
            part_of = shift[j] / largest
            squares = fma(part_of, part_of, squares)
    constant = largest != 1.0 or squares != 1.0
    if constant:
        for j in range(last):
            if gram[j * (j + 1) // 2 + j] == 0.0:
                w[j] = (total / largest) * (shift[j] / largest) / squares
        total = (total / largest) * (1.0 / largest) / squares
    w[last] = total
    back, low_back = two_sum(total, -shift[size])
    for j in range(last):
        back, low_back = minus_product(back, low_back, w[j], 0.0, -shift[j], 0.0)
        shifted[j] = w[j]
    shifted[last] = back + low_back
