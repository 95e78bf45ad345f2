"""The sums of an item while it is compressed: a stack of sums of chunks, and its way into a record.

Two levels of as many chunks each become one, so chunks are added pairwise, neighbour with
neighbour.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ...chunk import W_EXPONENT as W_EXPONENT
from ...chunk import W_HIGH, W_LOW
from ...chunk import W_LEAST as W_LEAST
from ..simd.addresses import count_at
from ..simd.compiling import inlined, part
from ..simd.double_double import dd_add, pow2
from ..simd.scalars import get, move, put


class Stack(NamedTuple):
    """Addresses of the stack: level k has the sums of 2^i chunks, i falling from level to level."""

    sums: Any  # (depth, entries) float64; entry n_entries is the sum of the weights
    low_sums: Any
    exponents: Any  # (depth, columns) int64
    factors: Any  # (2 · columns,): scratch of `add_levels`


class RecordAddresses(NamedTuple):
    """Addresses of what `compress` and `join` write."""

    gram: Any
    has_gram: Any  # bool: whether it is written
    target: Any
    has_target: Any
    exponents: Any
    weighing: Any


@part
def add_levels(left, right, result, n_columns, entries, stack, doubled):
    """Level `result` = level `left` + level `right`; `result` may be `left`."""
    size = n_columns * (n_columns + 1) // 2 + 1
    sums, low_sums, exponents, factors = stack.sums, stack.low_sums, stack.exponents, stack.factors
    a, b, c = left * entries, right * entries, result * entries
    if not doubled:
        for entry in range(size):
            put(sums, c + entry, get(sums, a + entry) + get(sums, b + entry))
        return
    for j in range(n_columns):
        k_left, k_right = count_at(exponents, left * n_columns + j), count_at(exponents, right * n_columns + j)
        k = max(k_left, k_right)
        put(factors, j, pow2(k_left - k))
        put(factors, n_columns + j, pow2(k_right - k))
        put(exponents, result * n_columns + j, k)
    entry = 0
    for j in range(n_columns):
        of_left, of_right = get(factors, j), get(factors, n_columns + j)
        for i in range(j + 1):
            with_left, with_right = get(factors, i), get(factors, n_columns + i)
            high, low = dd_add(
                (get(sums, a + entry) * with_left) * of_left,
                (get(low_sums, a + entry) * with_left) * of_left,
                (get(sums, b + entry) * with_right) * of_right,
                (get(low_sums, b + entry) * with_right) * of_right,
            )
            put(sums, c + entry, high)
            put(low_sums, c + entry, low)
            entry += 1
    high, low = dd_add(get(sums, a + entry), get(low_sums, a + entry), get(sums, b + entry), get(low_sums, b + entry))
    put(sums, c + entry, high)
    put(low_sums, c + entry, low)


@inlined
def _copy(source, at, target, to, count):
    for i in range(count):
        move(source, at + i, target, to + i)


@part
def write_item(stack, item, n_gram, n_target, records, doubled):
    """Write level 0 of the stack as the item's record."""
    n_entries = n_gram + n_target
    put(records.weighing, item * 4 + W_HIGH, get(stack.sums, n_entries))
    put(records.weighing, item * 4 + W_LOW, get(stack.low_sums, n_entries) if doubled else 0.0)
    planes = 2 if doubled else 1
    if records.has_gram:
        _copy(stack.sums, 0, records.gram, item * planes * n_gram, n_gram)
        if doubled:
            _copy(stack.low_sums, 0, records.gram, (item * planes + 1) * n_gram, n_gram)
    if records.has_target:
        _copy(stack.sums, n_gram, records.target, item * planes * n_target, n_target)
        if doubled:
            _copy(stack.low_sums, n_gram, records.target, (item * planes + 1) * n_target, n_target)
    for j in range(n_target):
        put(records.exponents, item * n_target + j, count_at(stack.exponents, j))


@part
def read_item(stack, item, n_gram, n_target, records, doubled):
    """Write the item's record as that level of a stack whose levels have no padding."""
    n_entries = n_gram + n_target
    to = item * (n_entries + 1)
    put(stack.sums, to + n_entries, get(records.weighing, item * 4 + W_HIGH))
    put(stack.low_sums, to + n_entries, get(records.weighing, item * 4 + W_LOW))
    planes = 2 if doubled else 1
    if records.has_gram:
        _copy(records.gram, item * planes * n_gram, stack.sums, to, n_gram)
        if doubled:
            _copy(records.gram, (item * planes + 1) * n_gram, stack.low_sums, to, n_gram)
    if records.has_target:
        _copy(records.target, item * planes * n_target, stack.sums, to + n_gram, n_target)
        if doubled:
            _copy(records.target, (item * planes + 1) * n_target, stack.low_sums, to + n_gram, n_target)
    for j in range(n_target):
        put(stack.exponents, item * n_target + j, count_at(records.exponents, item * n_target + j))
