"""Operations are counted as docs/arithmetic.md, sections 3, 4, 6 and 7, has them: here they are
executed on numbers that count."""

from __future__ import annotations

import pytest

from fastgd.speed import counting


class Number:
    """A number whose + − × ÷ and fma are counted; changes of sign are not."""

    count = 0

    def _counted(self, *others: object) -> Number:
        assert all(isinstance(other, Number) for other in others)
        Number.count += 1
        return self

    __add__ = __sub__ = __mul__ = __truediv__ = _counted

    def __neg__(self) -> Number:
        return self


def fma(a: Number, b: Number, c: Number) -> Number:
    return a._counted(b, c)


def two_sum(a: Number, b: Number) -> tuple[Number, Number]:
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)


def fast_two_sum(a: Number, b: Number) -> tuple[Number, Number]:
    s = a + b
    return s, b - (s - a)


def dd_add(left: tuple[Number, Number], right: tuple[Number, Number]) -> tuple[Number, Number]:
    (s, e), (t, f) = two_sum(left[0], right[0]), two_sum(left[1], right[1])
    s, e = fast_two_sum(s, e + t)
    return fast_two_sum(s, e + f)


def scale(v: Number) -> Number:
    return v * ONE * ONE  # by two powers of two


ONE = Number()


def sample_of_a_pair(double: bool) -> None:
    """What one sample adds to one pair of columns."""
    if not double:
        fma(ONE, ONE, ONE)
        return
    p = ONE * ONE
    q = fma(ONE, ONE, -p)
    _, lost = two_sum(ONE, p)
    _ = ONE + (lost + q)


def epoch(size: int, double: bool, with_loss: bool, with_update: bool) -> None:
    """One row, and the update that follows it."""
    w = [scale(ONE) for _ in range(size)] if double else [ONE] * size
    for _ in range(size):
        a, e = ONE, ONE
        for w_k in w:
            if not double:
                a = fma(ONE, w_k, a)
                continue
            p = ONE * w_k
            q = fma(ONE, w_k, fma(ONE, w_k, -p))
            a, x = two_sum(a, p)
            e = e + (x + q)
        a, e = two_sum(a, e) if double else (a, e)
        if with_update:
            g = ONE * a
            if double:
                g = scale(g + fma(a, ONE, fma(e, ONE, fma(a, ONE, -g))))
            fma(ONE, g, ONE)
        if with_loss and double:
            h, low = dd_add((a, e), (ONE, ONE))
            p = h * ONE
            q = fma(low, ONE, fma(h, ONE, -p))
            _, x = two_sum(ONE, p)
            _ = ONE + (x + q)
        elif with_loss:
            fma(ONE, a - ONE, ONE)
    if with_loss and double:
        scale((ONE + ONE) / ONE)
    elif with_loss:
        _ = ONE / ONE


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize(("size", "epochs"), [(1, 3), (2, 0), (5, 2)])
def test_operations_are_those_of_the_specification(size, epochs, double):
    Number.count = 0
    for _ in range(7 * (size + 1) * (size + 2) // 2):
        sample_of_a_pair(double)
    assert Number.count == counting.compress_operations(7, size, double)
    for losses in (1, epochs + 1):  # of the last row alone, or of all
        Number.count = 0
        for t in range(epochs + 1):
            epoch(size, double, t == epochs or losses > 1, t < epochs)
        assert Number.count == counting.descend_operations(size, epochs, losses, double)


def test_ten_operations_a_pair_and_sample():
    assert counting.compress_operations(1, 0, True) == 10


@pytest.mark.parametrize("d", [1, 8])
def test_operations_of_stream(d):
    Number.count = 0
    for _ in range(4 * 3):  # samples × rows
        r = ONE
        for _ in range(d):
            r = fma(ONE, ONE, r)
        fma(r, r, ONE)
        v = ONE * r
        for _ in range(d):
            fma(ONE, v, ONE)
    assert Number.count == counting.stream_operations(4, d, 2)
