"""The CUDA kernels follow a schedule's table, which each part makes for its own fits."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import fastgd
import tests.cuda_on_host  # noqa: F401  registers cuda-host
from tests.support.refusals import X5, Y5
from tests.support.schedule_cases import FEW, ours


@pytest.mark.parametrize("lr", [None, 0.02])
def test_cuda_kernels_follow_the_table(cuda_backend, lr):
    """By == with the CPU's, with rates made on the device too."""
    given = [ours(FEW["linear"]), None, ours(FEW["step"]), ours(FEW["linear"]), ours(FEW["cosine 13"])]
    for rule, algorithm in itertools.product(("sgd", "adam"), ("moments", "stream")):
        options = {"lr": lr, "schedule": given, "optimizer": rule, "algorithm": algorithm, "history": True}
        host = fastgd.fit(X5, Y5, epochs=9, **options)
        device = fastgd.fit(X5, Y5, epochs=9, backend=cuda_backend, **options)
        first = fastgd.fit(X5, Y5, epochs=4, backend=cuda_backend, **options)
        second = fastgd.fit(X5, Y5, epochs=5, state=first.state, backend=cuda_backend, **options)
        for name in ("w", "loss", "lr"):
            assert np.array_equal(getattr(host, name), getattr(device, name)), name
            assert np.array_equal(getattr(host, name), getattr(second, name)), name
        if algorithm == "moments":
            of_moments = fastgd.fit(fastgd.compress(X5, Y5), None, epochs=9, backend=cuda_backend, **{**options, "algorithm": "auto"})
            assert np.array_equal(of_moments.history.w, host.history.w)
        assert np.array_equal(host.history.w, device.history.w)
