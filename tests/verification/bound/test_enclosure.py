"""Enclosures hold what float32 arithmetic makes of the same numbers, in several orders."""

import numpy as np
import pytest

from fastgd.verification.bound.enclosure import Arithmetic
from fastgd.verification.bound.yardstick import Yardstick

SHAPE = (1, 200)


def arithmetic():
    return Arithmetic(Yardstick([1.0], [1.0], "mean", "float32", False, None), SHAPE)


def numbers(seed, size=30):
    rng = np.random.default_rng(seed)
    return (rng.normal(size=SHAPE) * 10.0 ** rng.uniform(-size, size, SHAPE)).astype(np.float32)


def holds(enclosure, made):
    """Whether every number that was made is in its enclosure, or is not judged."""
    free = enclosure.of.overflows | enclosure.of.undefined
    return bool(((enclosure.low <= made) & (made <= enclosure.high) | free).all()) and not free.all()


@pytest.mark.parametrize("size", [1, 15, 30])
def test_a_product_holds_every_order_of_its_factors(size):
    a, b, c = (numbers(seed, size) for seed in range(3))
    of = arithmetic()
    A, B, C = (of.array(part.astype(np.float64)) for part in (a, b, c))
    with np.errstate(all="ignore"):
        product, quotient = A * B * C, A * B / C
        for made in (a * b * c, a * c * b, b * c * a):
            assert holds(product, made)
        for made in (a * b / c, a / c * b, b / c * a, 1 / c * a * b):
            assert holds(quotient, made)


def test_a_square_is_not_negative_and_its_root_is_held():
    a = numbers(3)
    of = arithmetic()
    A = of.array(a.astype(np.float64))
    around = (A + A) - A  # with roundings: an enclosure of some width
    with np.errstate(all="ignore"):
        square = 0.5 * around * around
        assert (square.low >= 0).all()
        assert holds(np.sqrt(square), np.sqrt(np.float32(0.5) * a * a))


def test_the_average_of_torch_is_held_where_the_decay_rate_is_tiny():
    """b − (1 − x)(b − a) with x = 1 − beta, rounded to float32: 1 − x is 0 for a beta of 1e-10."""
    old, new, beta = np.float32(1e20), np.float32(1), 1e-10
    of = arithmetic()
    Old, New, Beta = of.array(np.full(SHAPE, float(old))), of.array(np.full(SHAPE, float(new))), of.number(beta)
    x = np.float32(1 - beta)
    made = new - (1 - x) * (new - old)
    average = Beta * Old + (1 - Beta) * New
    assert made == 1  # exact: 1e10
    assert holds(average, made)


def test_what_is_not_possible_is_known():
    of = arithmetic()
    _ = of.array(np.full(SHAPE, 1e30)) * of.array(np.full(SHAPE, 1e30)) * of.array(np.full(SHAPE, 1e-30))
    assert of.overflows.all()
    for make in (lambda of, x: np.sqrt(x - x), lambda of, x: x / (x - x)):
        of = arithmetic()
        make(of, of.array(np.full(SHAPE, 3.0)) / of.number(0.1))
        assert of.undefined.all()
