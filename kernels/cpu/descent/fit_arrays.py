"""What a single fit is computed with: its arrays copied, examined and recorded.

Shared by fit_by_fit.py and minibatch/epochs.py.
"""

from __future__ import annotations

import math

from ..simd.compiling import copy, inlined, part
from ..simd.double_double import scale
from ..simd.scalars import raised


@part
def unpack(packed, size, matrix, cancel):
    """Fill a symmetric matrix from its upper triangle, which is packed by columns."""
    for j in range(size):
        if raised(cancel):
            return
        for i in range(j + 1):
            matrix[i, j] = packed[j * (j + 1) // 2 + i]
            matrix[j, i] = matrix[i, j]


@part
def largest_column(gram, exponents, size, power):
    """max_j √G_jj."""
    largest = 0.0
    for j in range(size):
        largest = max(largest, scale(math.sqrt(scale(gram[j, j], power)), exponents[j]))
    return largest


@inlined
def all_within(values, limit):
    """Whether no value is larger in size than the limit, or NaN."""
    for value in values:
        if not abs(value) <= limit:
            return False
    return True


@inlined
def all_finite(values):
    """Whether no value is inf or NaN."""
    for value in values:
        if not math.isfinite(value):
            return False
    return True


@inlined
def all_finite_in(values, rounded):
    """Whether all are finite numbers in the dtype of `rounded`, which is overwritten."""
    copy(values, rounded)
    return all_finite(rounded)


@inlined
def all_nan(values):
    """Whether every value is NaN."""
    for value in values:
        if value == value:  # it is not NaN
            return False
    return True


@inlined
def forget_if_nan(w, products):
    """Set the products to NaN where w is."""
    if all_nan(w):  # those of epochs that were not computed are not known; nor do they matter
        for k in range(len(products)):
            products[k] = math.nan


@inlined
def copy_state(w, slots, products, next_w, next_slots, next_products):
    """Copy the next state; swapping arrays costs more: their reference counts are atomic."""
    copy(next_w, w)
    for k in range(slots.shape[0]):
        copy(next_slots[k], slots[k])
    copy(next_products, products)


@part
def write_row(history_w, history_loss, row, w, loss):
    """Write a row of the history of a fit."""
    for j in range(len(w)):
        history_w[row, j] = w[j]
    history_loss[row] = loss
