"""Backends by name: what each refuses, and what to install where one is not available."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import subprocess
import sys

import pytest

from fastgd import BackendUnavailable
from fastgd.kernels import cuda
from fastgd.kernels.chunk import ALGORITHMS, MOMENTS, STREAM
from fastgd.kernels.update_rules import UPDATE_RULES
from fastgd.planning.backends import BACKENDS, FOR_TESTS, choose_algorithm, choose_backend, refuse_rule
from tests.support.paths import ROOT
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
    monkeypatch.setattr(cuda, "why_unavailable", lambda: "there is no GPU")  # tests/kernels/cuda/test_device.py
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


def test_every_row_names_algorithms_and_a_runner_that_are_there():
    for name, row in BACKENDS.items():
        assert row.name == name
        assert row.algorithms
        assert row.codes == tuple(ALGORITHMS.index(algorithm) for algorithm in row.algorithms)
        assert (ROOT / "fastgd" / "running" / f"{row.runner}.py").is_file()
        assert any(row.runner in rule.hands for rule in UPDATE_RULES.values())


def test_auto_takes_the_cpu_or_the_gpu_that_has_the_data(monkeypatch):
    assert choose_backend("auto") == (BACKENDS["cpu"], "cpu: the data are in the computer's memory")
    here = dataclasses.replace(BACKENDS["cuda"], why_unavailable=lambda: None)
    monkeypatch.setitem(BACKENDS, "cuda", here)
    assert choose_backend("auto", device=1)[0] is here


def test_a_row_for_tests_is_chosen_and_never_listed(monkeypatch):
    row = dataclasses.replace(BACKENDS["numpy"], name="mine")
    monkeypatch.setitem(FOR_TESTS, "mine", row)
    assert choose_backend("mine")[0] is row
    with pytest.raises(ValueError, match=r"^backend 'ours' is unknown; there are: auto, cpu, cuda, torch, torch-cuda, numpy$"):
        choose_backend("ours")


def test_a_rule_that_a_backend_does_not_have(monkeypatch):
    rule = dataclasses.replace(UPDATE_RULES["adam"], hands=frozenset({"reference"}))
    refuse_rule(BACKENDS["numpy"], rule, "numpy")
    with pytest.raises(ValueError, match=r"^backend 'cpu' does not have the update rule 'adam'; these backends have it: torch, "):
        refuse_rule(BACKENDS["cpu"], rule, "cpu")
    with pytest.raises(ValueError, match=r"^backend 'auto' takes 'cpu', which does not have the update rule 'adam'; "):
        refuse_rule(BACKENDS["cpu"], rule, "auto")


@pytest.mark.parametrize(
    ("asked", "n", "d", "code"),
    [
        ("auto", 5, 2, MOMENTS),
        ("auto", 4, 2, STREAM),
        ("auto", 10_000, 256, MOMENTS),
        ("auto", 10_000, 257, STREAM),
        ("stream", 10_000, 2, STREAM),
        ("moments", 1, 300, MOMENTS),
    ],
)
def test_the_algorithm_depends_on_the_numbers_of_samples_and_features(asked, n, d, code):
    found, reason = choose_algorithm(asked, BACKENDS["cpu"], n, d)
    assert found == code
    assert reason.startswith(f"{ALGORITHMS[code]}: ")


WITHOUT_KERNELS = """
import numpy as np, fastgd
X, y = np.arange(8.0).reshape(2, 4, 1), np.arange(8.0).reshape(2, 4) * 2
for backend in {backends}:
    weights = dict(sample_weight=[1.0, 0, 1, 1], nan_policy="omit")
    options = dict(epochs=3, backend=backend)
    groups = fastgd.fit_groups(X[0], y[0], [0, 0, 1, 1], lr=0.01, **options)
    swept = fastgd.sweep(X[0], y[0], grid={{"lr": [0.01, 0.02]}}, **options)
    print(groups.w.tolist(), swept.loss.tolist(), groups.summary().count("fits"))
    print(fastgd.fit(X[0], y[0], lr=0.1, **options).w.tolist(), fastgd.fit(X, y, lr=0.01, **options, **weights).w.tolist())
for call in (
    lambda: fastgd.fit(X, y, lr=0.1), lambda: fastgd.fit(X, y, lr=0.1, backend="cpu"), lambda: fastgd.solve(X, y),
    lambda: fastgd.fit(X, y, backend="numpy"), lambda: fastgd.fit(X, y, lr=0.1, standardize=True, backend="numpy"),
    lambda: fastgd.fit(X, y, standardize=True, backend="numpy"), lambda: fastgd.fit(X, y, lr=0.1, tol=0.1, backend="numpy"),
    lambda: fastgd.fit(X, y, lr=0.1, excess_loss=True, backend="numpy"), lambda: fastgd.stability(X, y),
):
    try:
        call()
    except fastgd.BackendUnavailable as error:
        assert "NUMBA_DISABLE_JIT" in str(error)
        print(str(error).partition(" ")[0], str(error).rpartition("unset it")[2])
assert fastgd.info().kernel_cache.in_words().startswith("none: NUMBA_DISABLE_JIT is set")
import sys
assert "fastgd.kernels.cpu" not in sys.modules
"""


def test_without_compiled_kernels_the_references_run_and_the_rest_says_why():
    """NUMBA_DISABLE_JIT=1 turns kernels into Python, which they are not made for."""
    there = [name for name in ("numpy", "torch") if BACKENDS[name].why_unavailable() is None]
    code, lines = WITHOUT_KERNELS.format(backends=there), {}
    for value, script in (("1", code), ("0", code.partition("for call")[0])):
        variables = {**os.environ, "NUMBA_DISABLE_JIT": value}
        done = subprocess.run([sys.executable, "-P", "-c", script], env=variables, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        lines[value] = done.stdout.splitlines()
    assert lines["1"][: 2 * len(there)] == lines["0"]  # the same bits
    numpy_does = "backend  (backend='numpy' with an lr, without standardize and tol, needs none)"
    refused = [*["standardize=True "] * 2, "tol ", "excess_loss=True ", "stability "]
    assert lines["1"][2 * len(there) :] == [numpy_does, numpy_does, "solve ", "lr=None , or give an lr", *refused]
