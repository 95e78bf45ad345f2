"""What runs first on a GPU has no silly mistake: the programs of benchmarks/gpu_check.sh, with the
stand-in for CuPy, torch on the CPU."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys

import numpy as np
import pytest

from tests.kernels.cuda import arrays_on_gpu
from tests.specification import golden_values
from tests.support.paths import ROOT

pytestmark = pytest.mark.usefixtures("cupy")


@pytest.fixture
def gpu(cupy, monkeypatch):
    """benchmarks/gpu.py, which imports the stand-in; compiling by torch is not tried here."""
    import torch

    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    monkeypatch.setattr(torch, "compile", lambda function: function)
    for name in ("gpu", "gpu_peers"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    module = importlib.import_module("gpu")
    monkeypatch.setattr(sys.modules["gpu_peers"], "PEER_SECONDS", 0.0)
    monkeypatch.setattr(module, "FLUSHED_BYTES", 4096)
    yield module
    for name in ("gpu", "gpu_peers"):
        sys.modules.pop(name, None)


def test_the_benchmarks_run_and_every_case_agrees(gpu, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gpu, "CASES", [case for case in gpu.CASES if case[3] == 1 or case[1] == 1])
    monkeypatch.setattr(sys, "argv", ["gpu.py", str(tmp_path / "gpu.json"), "--divide", "1000000", "--torch-device", "cpu"])
    assert gpu.main() == 0
    report = json.loads((tmp_path / "gpu.json").read_text())
    assert {row["agrees"].split(",")[0] for row in report["cases"]} == {"bit for bit"}
    assert all(row["share_of_copy"] > 0 and row["fit_by_the_clock_ms"] > 0 for row in report["cases"])
    first = report["cases"][0]["peers"]
    assert {name for name, peer in first.items() if "failed" in peer} == {"torch, replay of a CUDA graph"}  # needs CUDA
    assert len(first) == 7
    assert "of a copy" in capsys.readouterr().out


def test_what_disagrees_is_not_timed(gpu, monkeypatch):
    """A kernel that is wrong, without the CPU backend too; and a peer that is wrong."""
    case = ("x", 4, 40, 1, 5, 1, "float32", "sgd", 100.0)
    real = gpu.fastgd.fit

    def without_numba(*data, **options):
        if options.get("backend") == "cpu":
            raise ImportError("no Numba")
        return real(*data, **options)

    monkeypatch.setattr(gpu.fastgd, "fit", without_numba)
    assert gpu.run_case(*case)["agrees"].startswith("τ 0.")
    monkeypatch.setattr(gpu, "LEARNING_RATE", 0.06)  # so far only what judges knows of it
    made = gpu.make_chunk
    monkeypatch.setattr(gpu, "make_chunk", lambda *given: _slower(made(*given)))
    for fit in (without_numba, real):
        monkeypatch.setattr(gpu.fastgd, "fit", fit)
        with pytest.raises(AssertionError, match=r"τ is|not the CPU backend's"):
            gpu.run_case(*case)
    peers = sys.modules["gpu_peers"]
    monkeypatch.setattr(peers, "torch_epochs", lambda n, rate, real=peers.torch_epochs: real(2 * n, rate))
    found = peers.time_peers({"n_samples": 40, "n_features": 2, "dtype": "float32", "n_fits": 4}, 0.05, "cpu")
    assert found["torch eager"]["failed"].startswith("AssertionError: τ is")
    assert found["torch autograd"]["tau"] < 8  # the mean there is the mean


def _slower(chunk):
    chunk.lr.fill(0.05)
    return chunk


@pytest.mark.full
def test_arrays_on_the_device(capsys, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert arrays_on_gpu.main() == 0
    assert capsys.readouterr().out.count("fine") == 4


def test_golden_values_are_checked(capsys, monkeypatch):
    cases = golden_values.cases()
    right = [name for name, case in cases.items() if case["seed"] < 2]
    real = golden_values.run_case
    monkeypatch.setattr(golden_values, "run_case", lambda of, backend: real(of, backend) if of["seed"] < 2 else {"w": ["0x0p0"]})
    assert golden_values.check("cuda") == 1
    said = capsys.readouterr().out
    assert said.startswith(f"cuda: {len(right)} of {len(cases)} golden values; NOT ")
    wrong = said.partition("NOT ")[2].strip().split(", ")
    assert sorted(wrong) == sorted(cases.keys() - set(right))


def test_the_script_is_whole():
    """It parses, and the programs and tests that it names are there."""
    script = (ROOT / "benchmarks" / "gpu_check.sh").read_text(encoding="utf-8")
    assert subprocess.run(["bash", "-n", "-c", script], check=False).returncode == 0
    for path in re.findall(r"(?:tests|benchmarks)/[a-z_/]+\.py", script):
        assert (ROOT / path).exists(), path
    for module in re.findall(r"-m (tests\.[a-z_.]+)", script):
        assert (ROOT / (module.replace(".", "/") + ".py")).exists(), module
    embedded = re.findall(r"<<'PYTHON_END'\n(.*?)\nPYTHON_END", script, re.DOTALL)
    assert len(embedded) == 3
    for program in embedded:
        compile(program, "embedded", "exec")
    limits = [int(seconds) for seconds in re.findall(r'step "?\$?[a-z-]+"? "?(?:\$\{COMPILE_SECONDS:-)?(\d+)', script)]
    assert len(limits) >= 11
    assert int(re.search(r"LIMIT=(\d+)", script)[1]) <= 540
    assert np.max(limits) <= 150
