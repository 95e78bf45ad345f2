"""The command line: help, examples, exit statuses; and `info`, in text and in JSON."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import subprocess
import sys
import tomllib
import types
from pathlib import Path

import numba
import numpy as np
import pytest
import typer
from typer.testing import CliRunner

import fastgd
from fastgd import environment
from fastgd.cli import app, main
from fastgd.kernels.reference import numpy_manual
from tests.support.paths import ROOT

COMMANDS = ("bench", "demo", "fit", "info", "sweep", "verify")


def run(*arguments: str):
    return CliRunner().invoke(app, list(arguments), prog_name="fastgd", env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"})


def script(*arguments: str, code: str = "from fastgd.cli import main; main()", **variables: str) -> subprocess.CompletedProcess[bytes]:
    """What a shell sees: output is a pipe, every warning an error."""
    command = [sys.executable, "-P", "-W", "error", "-c", code, *arguments]
    return subprocess.run(command, env=os.environ | variables, capture_output=True, timeout=120, check=False)


def test_every_command_is_known_here():
    assert sorted(typer.main.get_command(app).commands) == sorted(COMMANDS)


def test_the_entry_point():
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    assert scripts == {"fastgd": f"{main.__module__}:{main.__name__}"}


def test_bare_fastgd_shows_help():
    bare, asked = run(), run("--help")
    assert bare.exit_code == asked.exit_code == 0
    assert bare.output.strip() == asked.output.strip()
    assert all(command in bare.output for command in COMMANDS)


def test_version():
    assert run("--version").output.strip() == f"fastgd {fastgd.__version__}"


@pytest.mark.parametrize("command", COMMANDS)
def test_the_example_of_every_help_works(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data.csv").write_text("size,price\n1,2\n2,4.5\n3,6\n4,8\n", "utf-8")
    shown = run(command, "--help")
    assert shown.exit_code == 0
    (example,) = re.findall(rf"Example: fastgd ({command}\b.*)", shown.output)
    done = run(*example.split())
    assert done.exit_code == 0, done.output
    if command == "demo":
        assert (tmp_path / "pictures" / "life_expectancy.png").stat().st_size > 100_000
        assert "epoch 11: w = 2.000, loss = 0.00000033\n" in done.output


def test_disagreement_is_an_exit_status(tmp_path, monkeypatch):
    from fastgd.cli import demo

    right = numpy_manual.UPDATES["sgd"]

    def wrong(w, slots, gradient, lr, *arguments, **options):
        return right(w, slots, gradient, lr * 1.001, *arguments, **options)

    monkeypatch.setitem(numpy_manual.UPDATES, "sgd", wrong)
    for part in ("fit_countries", "fit_many"):
        monkeypatch.setattr(demo, part, lambda *arguments: None)
    done = run("demo", "--quick", "--out", str(tmp_path))
    assert done.exit_code == 1
    assert "Verdict: DISAGREEMENT" in done.output


@pytest.mark.parametrize("arguments", [("demo", "--fits", "0"), ("demo", "--fits", "many"), ("demo", "--out", __file__), ("nonsense",)])
def test_wrong_words(arguments):
    done = run(*arguments)
    assert done.exit_code == 2
    assert not isinstance(done.exception, OSError | ValueError)


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    done = run("demo", "--out", str(tmp_path / "file" / "folder"))
    assert done.exit_code == 2
    assert "cannot make the folder" in done.output


def test_a_demo_without_kernels_says_so(tmp_path):
    done = script("demo", "--quick", "--out", str(tmp_path), NUMBA_DISABLE_JIT="1")
    assert done.returncode == 1
    assert done.stderr.decode().startswith("fastgd demo: backend 'cpu' is not available: NUMBA_DISABLE_JIT is set")
    assert "Traceback" not in done.stderr.decode()


def test_an_error_of_fastgd_itself_is_not_the_status_of_a_disagreement():
    code = """
from fastgd import cli
from fastgd.cli import verify
def verify_one(*given, **options):
    raise AssertionError("inside")
verify.verify_one = verify_one
cli.main()
"""
    done = script("verify", "numpy", code=code)
    assert done.returncode == 2
    assert b"AssertionError: inside" in done.stderr


# -- info ------------------------------------------------------------------------------------------


def test_info_tells_the_truth():
    found = json.loads(run("info", "--json").output)
    assert found == environment.info().to_dict()
    assert found["fastgd"] == fastgd.__version__
    assert found["python"].startswith(platform.python_version())
    assert found["threads"] == len(os.sched_getaffinity(0))
    assert found["libraries"]["numpy"] == np.__version__
    assert found["libraries"]["numba"] == numba.__version__
    assert set(found["libraries"]) >= {"numpy", "numba", "torch", "cupy"}
    assert found["backends"]["cpu"] is found["backends"]["numpy"] is None
    assert set(found["backends"]) >= {"cpu", "torch", "numpy", "cuda"}
    assert (found["gpu"] is None) != (found["why_no_gpu"] is None)
    flags = Path("/proc/cpuinfo").read_text().split()
    if platform.machine() == "x86_64":
        assert found["simd_bits"] == (512 if "avx512f" in flags else 256 if "avx" in flags else 128)
        assert found["fma"] == ("fma" in flags)


def test_info_is_readable():
    text = run("info").output
    assert text.strip() == str(environment.info())
    for word in ("fastgd", "Python", "CPU", "threads", "SIMD", "numpy", "numba", "backend cpu", "kernel cache", "GPU"):
        assert re.search(rf"^{word} +\S", text, re.MULTILINE), word


def test_info_names_what_is_missing(monkeypatch):
    version, find = importlib.metadata.version, importlib.util.find_spec

    def no_version(name):
        if name.startswith(("torch", "cupy")):
            raise importlib.metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(importlib.metadata, "version", no_version)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, package=None: None if name == "torch" else find(name, package))
    found = environment.info()
    assert found.libraries["torch"] is found.libraries["cupy"] is None
    assert "PyTorch is not installed" in found.backends["torch"]
    assert "PyTorch is not installed" in found.backends["torch-cuda"]
    assert re.search(r"^torch +not installed$", str(found), re.MULTILINE)
    assert re.search(r"^backend torch +not available: PyTorch", str(found), re.MULTILINE)


def test_info_tells_what_kernels_are_compiled_for():
    """Not what the processor has besides."""
    done = script("info", NUMBA_CPU_NAME="x86-64", NUMBA_CPU_FEATURES="+avx")
    width = 128 if platform.machine().lower() in ("aarch64", "arm64") else 256
    assert re.search(rf"^SIMD +{width} bits, {'with' if width == 128 else 'WITHOUT'} FMA", done.stdout.decode(), re.MULTILINE)


@pytest.mark.parametrize(
    ("why_no_device", "torch_finds_one", "gpu", "why"),
    [
        (None, True, "H100, 80 GiB", None),
        ("CuPy is not installed", False, None, "CuPy is not installed"),
        ("CuPy is not installed", True, "Big GPU (for backend torch-cuda alone: CuPy is not installed)", None),
    ],
)
def test_the_gpu_has_a_name(monkeypatch, why_no_device, torch_finds_one, gpu, why):
    from fastgd.kernels.cuda import device

    torch = types.SimpleNamespace(cuda=types.SimpleNamespace(get_device_name=lambda index: "Big GPU"))
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setattr(device, "why_no_device", lambda: why_no_device)
    monkeypatch.setattr(device, "device_name", lambda: "H100, 80 GiB")
    assert environment._gpu(torch_finds_one) == (gpu, why)


def test_the_folder_of_kernels(tmp_path):
    done = script("info", "--json", NUMBA_CACHE_DIR=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stderr == b""
    cache = json.loads(done.stdout)["kernel_cache"]
    assert cache["folder"].startswith(str(tmp_path))
    assert cache["writable"] is True
    assert (cache["n_bytes"], cache["ready"]) == (0, False)


def test_the_kernels_are_found_after_they_ran():
    for dtype in ("float32", "float64"):
        fastgd.fit([1.0, 2.0, 3.0], [2.0, 4.0, 6.0], dtype=dtype, epochs=1)
    cache = environment.kernel_cache()
    assert cache.ready
    assert cache.n_bytes == sum(file.stat().st_size for file in Path(cache.folder).glob("*.kernel"))
    assert cache.n_bytes > 100_000


def test_nothing_heavy_is_imported_by_info():
    done = script(
        "info", code="import sys; from fastgd.cli import main\ntry: main()\nfinally: print(*sorted(sys.modules), file=sys.stderr)"
    )
    modules = set(done.stderr.decode().split())
    assert done.returncode == 0
    assert {"matplotlib", "rich.progress", "fastgd.cli.demo"} & modules == set()
    if (environment.info().libraries["torch"] or "").endswith("+cpu"):
        assert "torch" not in modules


def test_a_terminal_without_greek(tmp_path):
    code = """
from rich.console import Console
from fastgd import cli
from fastgd.cli import demo
def run_demo(**options):
    findings = demo.Findings(Console())
    findings.heading("worst \\u03c4")
    return findings
demo.run_demo = run_demo
cli.main()
"""
    done = script("demo", "--out", str(tmp_path), code=code, PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert done.returncode == 0, done.stderr
    assert rb"worst \u03c4" in done.stdout
