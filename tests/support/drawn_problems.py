"""Problems of any numbers at all, drawn by hypothesis."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from hypothesis import strategies as st

from fastgd.testing import NamedProblem


def draw_problem(data) -> tuple[NamedProblem, Callable[..., np.ndarray], str]:
    """(problem, a function that draws arrays of its dtype by their shape, "mean" or "sum"): up to 6
    samples, 3 features."""
    width = data.draw(st.sampled_from([32, 64]))
    n, d, intercept = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 3)), data.draw(st.booleans())
    reduction = data.draw(st.sampled_from(["mean", "sum"]))
    lowest, highest = (-149, 127) if width == 32 else (-1074, 1023)

    def array(*shape):  # of one magnitude, more or less, anywhere in the range of the dtype
        size, centre = int(np.prod(shape)), data.draw(st.integers(lowest, highest))
        significands = data.draw(st.lists(st.floats(-1, 1, width=32), min_size=size, max_size=size))
        exponents = centre + np.array(data.draw(st.lists(st.integers(-12, 12), min_size=size, max_size=size)))
        return np.ldexp(significands, np.clip(exponents, lowest, highest)).astype(f"float{width}").reshape(shape)

    return NamedProblem("any", "", array(n, d), array(n), array(d + intercept), intercept), array, reduction


def draw_rate(data, problem: NamedProblem, weight: float = 1.0) -> float:
    """A rate not far from stability, where samples weigh so much: a power of two in the range of
    the dtype."""
    least = np.finfo(problem.X.dtype).smallest_normal
    lowest, highest = (-149, 127) if problem.X.dtype == np.float32 else (-1074, 1023)
    exponent = data.draw(st.integers(-8, 8)) - 2 * int(np.log2(max(np.abs(problem.X).max(), least))) - int(np.log2(max(weight, least)))
    return float(np.ldexp(1.0, np.clip(exponent, lowest, highest)))
