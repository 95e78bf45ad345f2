"""Arithmetic in twice the precision of float64, in NumPy: against exact rationals."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from fastgd.data.double_double import DoubleDouble, two_product, two_sum

U2 = Fraction(1, 2**104)  # docs/arithmetic.md, section 1: four units of 2^-106


def drawn(rng: np.random.Generator, count: int) -> DoubleDouble:
    high = rng.normal(size=count) * 10.0 ** rng.integers(-8, 9, count)
    return DoubleDouble(*two_sum(high, high * rng.uniform(-(2.0**-54), 2.0**-54, count)))


def exact(value: DoubleDouble) -> list[Fraction]:
    return [Fraction(high) + Fraction(low) for high, low in zip(value.high.tolist(), value.low.tolist(), strict=True)]


def test_sums_products_and_reciprocals_are_within_a_few_units():
    rng = np.random.default_rng(0)
    a, b = drawn(rng, 2000), drawn(rng, 2000)
    for made, wanted in (
        (a + b, [x + y for x, y in zip(exact(a), exact(b), strict=True)]),
        (a - b, [x - y for x, y in zip(exact(a), exact(b), strict=True)]),
        (a * b, [x * y for x, y in zip(exact(a), exact(b), strict=True)]),
        (1.0 / a, [1 / x for x in exact(a)]),
    ):
        assert max(abs(x - y) / abs(y) for x, y in zip(exact(made), wanted, strict=True)) <= 4 * U2
        assert (np.abs(made.low) <= np.spacing(np.abs(made.high)) / 2).all()


def test_the_error_of_a_product_is_exact():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=1000), rng.normal(size=1000) * 1e100
    product, error = two_product(a, b)
    for x, y, p, e in zip(a.tolist(), b.tolist(), product.tolist(), error.tolist(), strict=True):
        assert Fraction(x) * Fraction(y) == Fraction(p) + Fraction(e)


def test_an_entry_is_set_by_numbers_of_either_kind():
    a = drawn(np.random.default_rng(2), 4)
    b = a.copy()
    b[1], b[2] = a[3], 0.5
    assert exact(b) == [exact(a)[0], exact(a)[3], Fraction(1, 2), exact(a)[3]]
    assert exact(a)[1] != exact(b)[1]
