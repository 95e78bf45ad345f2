"""The inverse of XᵀX of many fits from their moments, and which parameters the data determine.

1. The symmetric sweep (Goodnight, "A tutorial on the SWEEP operator", The American Statistician 33
   (1979) 149-158), one pivot after the other, the intercept first: from there on the features are
   centred. After all pivots −A is the inverse; a pivot that is lost is left out, as R does, and its
   column then says of which others it is a combination.
2. The intercept is swept in double-double. The rest is swept in float64, which loses D · VIF ·
   2^-53, and again in double-double where that is more than 2^-40, or a pivot may be lost. (Float64
   takes a tenth of the time.)
3. A pivot counts as lost where rounding of the moments may have made it: below 2^10 · D · 2^-104 of
   the column's own square (2^-53 of moments in float64, of float32 data). So of what is not lost at
   most about 2^-10 is rounding: the condition tells how much.
4. All is elementwise, so a fit has the same bits alone and in any company.
5. Records of few parameters are inverted 32 at a time by a kernel (closed_form/inverse.py), with
   the same bits. It leaves those that need double-double to what stands here, in NumPy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from ..data.double_double import DoubleDouble
from ..kernels import cpu
from ..kernels.chunk import MOST_PACKED, W_EXPONENT
from ..planning.plan import STACK_NUMBERS

BLOCK = 2**13  # numbers of matrices that are swept together: their temporaries stay in the cache
ACCURATE = 2.0**-40  # relative error of the inverse with which float64 is enough
MARGIN = 2.0**10  # a pivot is lost below this many times its rounding error
LEAST = 2.0**14  # times that: float64 does not tell whether a smaller pivot is lost


@dataclass
class Inverses:
    """The inverses of m Gram matrices."""

    inverse: np.ndarray  # (m, D, D); rows and columns of what is lost are 0
    mean: np.ndarray  # (m, D): of the columns with an intercept, else 0
    estimable: np.ndarray  # (m, D) bool: the data determine this parameter
    rank: np.ndarray  # (m,) int64
    condition: np.ndarray  # (m,): Stewart's largest collinearity index of the columns that are not lost


def invert_records(moments: cpu.Moments, records: np.ndarray, intercept: bool, found: Inverses, cancel: np.ndarray) -> None:
    """Fill `found` with the inverses of Gram records with these numbers, in units of the data."""
    size, doubled = found.inverse.shape[1], moments.gram.shape[1] == 2
    left = np.arange(len(records), dtype=np.int64)
    if size <= MOST_PACKED:
        found.estimable.fill(True)
        found.rank.fill(size)
        inflation, share = size * 2.0**-53 / ACCURATE, LEAST * _noise(size, doubled)
        left = left[: cpu.invert(moments, records, intercept, inflation, share, found.inverse, found.mean, found.condition, left, cancel)]
    step = max(1, STACK_NUMBERS // size**2)
    for first in range(0, len(left), step):
        some = left[first : first + step]
        made = _of_records(moments, records[some], intercept, doubled)
        for each in fields(Inverses):
            getattr(found, each.name)[some] = getattr(made, each.name)


def _of_records(moments: cpu.Moments, records: np.ndarray, intercept: bool, doubled: bool) -> Inverses:
    """The inverses of some Gram records, in units of the data, by NumPy."""
    size = moments.exponents.shape[1] - 1
    i, j = np.array([(i, j) for j in range(size) for i in range(j + 1)]).T
    gram = np.zeros((2, len(records), size, size))
    for plane in range(moments.gram.shape[1]):
        gram[plane][:, i, j] = gram[plane][:, j, i] = moments.gram[records, plane]
    found = invert(DoubleDouble(*gram), intercept, doubled)
    power = moments.gram_exponents[records, :size] if doubled else np.zeros((len(records), size), np.int64)
    weight = moments.weighing[records, W_EXPONENT].astype(np.int64)[:, None, None]
    with np.errstate(all="ignore"):
        found.inverse = np.ldexp(np.ldexp(found.inverse, -power[:, :, None] - weight), -power[:, None, :])
        if intercept:
            found.mean = np.ldexp(found.mean, power - power[:, -1:])
    return found


def _noise(size: int, doubled: bool) -> float:
    """The share of a column's square below which rounding of the moments may have made a pivot."""
    return MARGIN * size * (2.0**-104 if doubled else 2.0**-53)


def invert(gram: DoubleDouble, intercept: bool, doubled: bool) -> Inverses:
    """Invert Gram matrices (m, D, D), the intercept last, in their own units, by NumPy.

    doubled: of moments in double-double.
    """
    count, size = gram.high.shape[:2]
    found = Inverses(
        np.empty((count, size, size)),
        np.zeros((count, size)),
        np.empty((count, size), bool),
        np.empty(count, np.int64),
        np.empty(count),
    )
    step = max(1, BLOCK // size**2)
    with np.errstate(all="ignore"):  # of lost pivots and invalid fits
        for first in range(0, count, step):
            _invert(gram[first : first + step], intercept, doubled, found, np.arange(first, min(first + step, count)))
    return found


def _invert(gram: DoubleDouble, intercept: bool, doubled: bool, found: Inverses, rows: np.ndarray) -> None:
    """Fill these rows of `found`."""
    size = gram.high.shape[1]
    features = range(size - intercept)
    squares = _diagonal(gram.high).copy()
    floor = _noise(size, doubled) * squares
    matrix, swept = gram.copy(), np.zeros((len(rows), size), bool)
    if intercept:
        swept[:, -1] = squares[:, -1] > 0.0
        _sweep(matrix, size - 1, swept[:, -1])
        found.mean[rows, :-1] = matrix.high[:, -1, :-1]
        found.mean[rows, -1] = 1.0
    single, centred = matrix.high.copy(), _diagonal(matrix.high).copy()
    fine = np.ones(len(rows), bool)
    for j in features:
        _sweep(single, j, centred[:, j] > 0.0)
    inflation = -_diagonal(single)[:, : len(features)] * centred[:, : len(features)]
    fine = (inflation.max(axis=1, initial=0.0) * size * 2.0**-53 <= ACCURATE) & (inflation >= 0.5).all(axis=1)
    fine &= (centred > LEAST * floor).all(axis=1, where=np.arange(size) < len(features))
    swept[fine] = True
    again = np.flatnonzero(~fine)
    if len(again):
        some, usable = matrix[again], swept[again]
        for j in features:
            usable[:, j] = _diagonal(some.high)[:, j] > floor[again, j]
            _sweep(some, j, usable[:, j])
        single[again], swept[again] = some.high, usable
    _finish(single, swept, squares, math.sqrt(_noise(size, doubled)), found, rows)


def _finish(matrix: np.ndarray, swept: np.ndarray, squares: np.ndarray, noise: float, found: Inverses, rows: np.ndarray) -> None:
    """Read swept matrices; noise: a share of a column that rounding may have made."""
    # columns that are lost are combinations of those that are not: which these are, is not told
    lengths = np.sqrt(np.where(squares > 0.0, squares, 1.0))
    shares = np.abs(matrix) * lengths[:, :, None] / lengths[:, None, :]
    involved = ((shares > 2.0**7 * noise) & swept[:, :, None] & ~swept[:, None, :]).any(axis=2)
    inverse = -matrix
    found.condition[rows] = np.sqrt(np.where(swept, _diagonal(inverse) * squares, 1.0).max(axis=1, initial=1.0))
    inverse[~(swept[:, :, None] & swept[:, None, :])] = 0.0
    found.inverse[rows], found.estimable[rows], found.rank[rows] = inverse, swept & ~involved, swept.sum(axis=1)


def _diagonal(matrix: np.ndarray) -> np.ndarray:
    return np.einsum("mjj->mj", matrix)


def _sweep(matrix: Any, pivot: int, usable: np.ndarray) -> None:
    """Sweep matrices (m, D, D), arrays or DoubleDouble, in place; others than usable (m,) stay."""
    inverse = 1.0 / matrix[:, pivot, pivot]
    inverse[~usable] = 0.0
    row = matrix[:, pivot, :] * inverse[:, None]
    rest = matrix - matrix[:, :, pivot][:, :, None] * row[:, None, :]
    rest[:, pivot, :], rest[:, :, pivot], rest[:, pivot, pivot] = row, row, -inverse
    if isinstance(matrix, DoubleDouble):
        matrix.high[usable], matrix.low[usable] = rest.high[usable], rest.low[usable]
    else:
        matrix[usable] = rest[usable]
