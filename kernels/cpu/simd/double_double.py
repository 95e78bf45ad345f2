"""Double-double arithmetic and powers of two, as docs/arithmetic.md, section 1 defines them."""

from __future__ import annotations

import math

from .compiling import inlined
from .lanes import add, fma, subtract
from .scalars import exponent_bits, normal_power

LOWEST_EXPONENT = -1022
HIGHEST_EXPONENT = 1023


@inlined
def two_sum(a, b):
    """a + b and its rounding error (Knuth)."""
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)


@inlined
def fast_two_sum(a, b):
    """`two_sum` for |a| ≥ |b| (Dekker)."""
    s = a + b
    return s, b - (s - a)


@inlined
def dd_add(a, a_low, b, b_low):
    """Sum of two double-doubles (Joldes, Muller, Popescu 2017, algorithm 6)."""
    s, e = two_sum(a, b)
    t, f = two_sum(a_low, b_low)
    e = e + t
    s, e = fast_two_sum(s, e)
    e = e + f
    return fast_two_sum(s, e)


@inlined
def dd_divide(a, a_low, b, b_low):
    """Quotient of two double-doubles."""
    q = a / b
    p = q * b
    e = fma(q, b, -p)
    e = fma(q, b_low, e)
    return fast_two_sum(q, (((a - p) - e) + a_low) / b)


@inlined
def two_sum_lanes(a, b):
    """`two_sum` of 32 lanes."""
    s = add(a, b)
    t = subtract(s, a)
    return s, add(subtract(a, subtract(s, t)), subtract(b, t))


@inlined
def dd_add_lanes(a, a_low, b, b_low):
    """`dd_add` of 32 lanes."""
    s, e = two_sum_lanes(a, b)
    t, f = two_sum_lanes(a_low, b_low)
    e = add(e, t)
    high = add(s, e)
    e = subtract(e, subtract(high, s))
    e = add(e, f)
    s = add(high, e)
    return s, subtract(e, subtract(s, high))


@inlined
def pow2(exponent):
    """2 to an integer; 0 below the smallest float64."""
    if exponent < LOWEST_EXPONENT or exponent > HIGHEST_EXPONENT:
        return 0.0 if exponent < -1074 else math.ldexp(1.0, exponent)
    return normal_power(exponent)


@inlined
def scale(value, exponent):
    """value · 2^exponent, in two steps so that no factor overflows."""
    half = exponent >> 1
    return (value * pow2(half)) * pow2(exponent - half)


@inlined
def exponent_of(largest):
    """The k with 2^k ≤ largest < 2^(k+1), clipped to the exponents of normal numbers."""
    return min(max(exponent_bits(largest) - 1023, LOWEST_EXPONENT), HIGHEST_EXPONENT)
