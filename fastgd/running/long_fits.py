"""Long fits: moments are made of parts of their samples, which the kernel `join` adds."""

from __future__ import annotations

from ..data.problem import Problem
from ..planning.plan import MOMENTS_BYTES


def length_of_part(problem: Problem) -> int:
    """How many samples of a fit are one part, whose moments are made by themselves."""
    from ..kernels import cpu

    n, size, length = problem.n_samples, problem.n_parameters, cpu.RANGE
    while -(-n // length) * 8 * (size + 1) * (size + 4) > MOMENTS_BYTES and length < n:
        length *= 2
    return length


def parts_of_moments(problem: Problem) -> set[str]:
    """The kernels that make moments, as keys of compile_ahead.NEEDED."""
    return {"moments", "join"} if problem.n_samples > length_of_part(problem) else {"moments"}
