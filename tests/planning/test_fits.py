"""Leading axes that broadcast to more fits than there can be; the shapes are in test_job.py."""

from __future__ import annotations

import pytest

from fastgd.planning.fits import order_fits
from tests.support.jobs import job_of, numbers


def test_too_many_fits():
    problem = job_of(numbers(9, 2), numbers(9)).problem
    with pytest.raises(ValueError, match=r"^too many fits: 2147483648 x 2147483648, with 2 parameters each, is more than 2\^63 bytes$"):
        order_fits(problem, {"lr": (2**31, 1), "momentum": (1, 2**31)}, {}, None, {})
