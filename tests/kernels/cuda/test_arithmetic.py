"""What the CUDA kernels do otherwise than it is written in docs/arithmetic.md, and with the same
result; executed on the host."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from tests.cuda_on_host.building import SOURCES, build, launch
from tests.support.paths import TESTS


@pytest.fixture(scope="module")
def quotients(tmp_path_factory):
    """quotients(a, b): by the kernels' own function."""
    folder = tmp_path_factory.mktemp("quotients")
    for path in (TESTS / "cuda_on_host" / "quotients.cu", SOURCES / "arithmetic.cuh"):
        shutil.copy(path, folder)
    kernel = build("quotients.cu", "quotients", sources=folder)

    def divide(a, b):
        out = np.empty(len(a))
        launch(kernel, (1, 1), 1, (a, b, out, np.int64(len(a))))
        return out

    return divide


@pytest.mark.parametrize("kind", ["counts", "any", "close", "float32 weights"])
def test_dividing_by_a_reciprocal_is_dividing(kind, quotients):
    """A million each: whole numbers and any as divisors, sums of float32 weights of any size,
    quotients next to a midpoint."""
    rng, m = np.random.default_rng(4), 10**6
    b = rng.integers(1, 10**7, m).astype(float) if kind == "counts" else rng.uniform(1, 2, m) * 2.0 ** rng.integers(-60, 60, m)
    if kind == "float32 weights":
        b = rng.uniform(1, 2, m) * 2.0 ** rng.integers(-149, 120, m)
    a = rng.uniform(1, 2, m) * 2.0 ** rng.integers(-300, 300, m)
    if kind == "close":
        a = b * (1 + rng.integers(0, 2**52, m) * 2.0**-52) * (1 + rng.choice([-1, 0, 1], m) * 2.0**-53)
    assert np.array_equal(quotients(a, b).view(np.int64), (a / b).view(np.int64))
    zeros = np.array([0.0, -0.0])
    assert np.array_equal(quotients(zeros, b[:2]).view(np.int64), (zeros / b[:2]).view(np.int64))


def test_what_is_too_large_passes_no_limit(quotients):
    assert np.isnan(quotients(np.array([np.inf, np.nan]), np.array([3.0, 3.0]))).all()
