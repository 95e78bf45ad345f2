"""Every option that a backend has, together; progress and torch's modes change no bit."""

from __future__ import annotations

import pytest

import fastgd
from fastgd import SGD
from tests.support.fit_results import X2, Y2, batch, same_result


def test_every_option_at_once(backend):
    """What a backend can express, together; threads and algorithm are refused by name
    (tests/planning/test_backends.py)."""
    seen = []
    X, target = batch(2)
    result = fastgd.fit(
        X.astype("float32"), target, lr=[[0.01], [0.02]], epochs=4, optimizer=SGD(momentum=0.5, nesterov=[False, True]), w0=[1.0, 2.0],
        intercept=True, intercept0=0.5, reduction="sum", tol=1e-9, nan_policy="propagate", history=3, dtype="float64", backend=backend,
        progress=lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    assert result.w.shape == (2, 2, 2)
    assert seen[-1] == (16, 16)
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})


def test_progress_does_not_change_a_bit(backend):
    X, target = batch(3)
    plain = fastgd.fit(X, target, epochs=5, backend=backend)
    for progress in (False, True, lambda done, total: None):
        assert same_result(fastgd.fit(X, target, epochs=5, backend=backend, progress=progress), plain)


@pytest.mark.parametrize("mode", ["no_grad", "inference_mode", "enable_grad"])
def test_the_callers_torch_modes_do_not_matter(backend, mode, torch):
    plain = fastgd.fit(X2, Y2, epochs=5, backend=backend)
    before = torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.get_default_dtype()
    with getattr(torch, mode)():
        inside = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        assert same_result(fastgd.fit(X2, Y2, epochs=5, backend=backend), plain)
        assert (torch.is_grad_enabled(), torch.is_inference_mode_enabled()) == inside
    assert (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.get_default_dtype()) == before
