"""Only fits whose moments are made in parts need the kernel that joins them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from fastgd.kernels import cpu
from fastgd.running import long_fits


@pytest.mark.parametrize(
    ("samples", "parts", "kernels"),
    [(20, 1, {"moments"}), (cpu.RANGE, 1, {"moments"}), (cpu.RANGE + 1, 2, {"moments", "join"}), (10 * cpu.RANGE, 10, {"moments", "join"})],
)
def test_parts_of_fits_and_the_kernels_that_they_need(samples, parts, kernels):
    problem = SimpleNamespace(n_samples=samples, n_parameters=2)
    assert -(-samples // long_fits.length_of_part(problem)) == parts
    assert long_fits.parts_of_moments(problem) == kernels


def test_records_of_many_parameters_are_fewer():
    long = SimpleNamespace(n_samples=10 * cpu.RANGE, n_parameters=4_000)
    assert long_fits.length_of_part(long) > cpu.RANGE
