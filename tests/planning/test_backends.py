"""Backends by name: what each refuses, and what to install where one is not available."""

from __future__ import annotations

import importlib.util

import pytest

from fastgd import BackendUnavailable
from fastgd.kernels import cuda
from tests.support.refusals import refused, x, y


@pytest.mark.parametrize("reference", ["torch", "numpy"])
def test_a_backend_refuses_by_name_what_it_cannot_express(no_work, reference):
    pattern = f"^threads is an option of backend 'cpu'; backend '{reference}' runs fits one after another$"
    refused(ValueError, pattern, x, y, backend=reference, threads=2)
    for algorithm in ("moments", "stream"):
        pattern = f"^backend '{reference}' has one algorithm of its own; algorithm='{algorithm}' is for backends 'cpu' and 'cuda'$"
        refused(ValueError, pattern, x, y, backend=reference, algorithm=algorithm)


def test_unavailable_backends_say_what_to_install(no_work, monkeypatch, torch):
    assert issubclass(BackendUnavailable, ImportError)
    monkeypatch.setattr(cuda, "why_unavailable", lambda: "there is no GPU")  # what it says itself: tests/kernels/cuda/test_defects.py
    refused(BackendUnavailable, "^backend 'cuda' is not available: there is no GPU$", x, y, backend="cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    refused(
        BackendUnavailable,
        "^backend 'torch-cuda' is not available: PyTorch finds no CUDA device; backend='torch'",
        x,
        y,
        backend="torch-cuda",
    )
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for backend in ("torch", "torch-cuda"):
        pattern = rf"^backend '{backend}' is not available: PyTorch is not installed: install fastgd\[torch\]"
        refused(BackendUnavailable, pattern, x, y, backend=backend)
