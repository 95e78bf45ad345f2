"""What runs the CUDA kernels on the host finds what is wrong with a kernel, and finds nothing wrong with ours."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.cuda_on_host import building
from tests.cuda_on_host.building import KernelError, build, launch
from tests.cuda_on_host.device import HostDevice
from tests.cuda_on_host.sanitized import run, run_cases, write_expected
from tests.support.paths import TESTS


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """The numbers of the small cases, by the plain build."""
    path = tmp_path_factory.mktemp("expected") / "numbers"
    write_expected(path)
    return path


@pytest.mark.parametrize("order", ["backwards", "random"])
def test_the_order_in_which_threads_take_turns_changes_nothing(order):
    forwards, other = run_cases(HostDevice()), run_cases(HostDevice(order=order, seed=5))
    for case, results in forwards.items():
        for name, values in results.items():
            assert np.array_equal(values, other[case][name], equal_nan=values.dtype.kind == "f"), (case, name)


@pytest.mark.parametrize("sanitizer", ["thread", "address"])
def test_the_sanitizers_are_silent(sanitizer, expected):
    """No race, with and between blocks; no access out of bounds or out of line; the numbers are the same."""
    ran = run(sanitizer, expected)
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert "Sanitizer" not in ran.stderr


@pytest.fixture(scope="module")
def wrong(tmp_path_factory):
    """The folder of wrong.cu."""
    folder = tmp_path_factory.mktemp("wrong")
    for path in (TESTS / "cuda_on_host" / "wrong.cu", building.SOURCES / "arithmetic.cuh"):
        shutil.copy(path, folder)
    return folder


WRONG = {  # forwards; at random it may be another thread
    "two_barriers": "divergent barrier: threads 0 and 32 wait at different ones",
    "leaves_before_the_barrier": "divergent barrier: 63 threads wait, 1 have left the kernel",
    "a_lane_does_not_come": "deadlock: 0 threads wait at a barrier, 31 at a warp operation .mask ffffffff, of which ffffff7f came",
    "not_in_its_mask": "lane 16 .thread 16. is not in its own mask 0000ffff",
    "reads_outside_the_mask": "a shuffle reads lane 20, which is not in the mask 0000ffff",
    "two_shuffles": "lanes of warp 0 meet at different instructions",
}


@pytest.mark.parametrize("name", WRONG)
def test_what_a_kernel_must_not_do_is_reported(name, wrong):
    kernel, threads = build("wrong.cu", name, sources=wrong), 32 if name == "a_lane_does_not_come" else 64
    with pytest.raises(KernelError, match=WRONG[name]):
        launch(kernel, (2, 1), threads, (np.zeros(64),))
    with pytest.raises(KernelError, match=re.sub(r"\b\d{1,2}\b", r"\\d+", WRONG[name])):
        launch(kernel, (2, 1), threads, (np.zeros(64),), "random", 1)


def test_what_is_right_is_run(wrong):
    out = np.zeros(64)
    launch(build("wrong.cu", "fine", sources=wrong), (1, 1), 64, (out,))
    assert out.tolist() == [1520.0] * 32 + [496.0] * 32


def test_shared_memory_is_fresh_in_every_block(wrong):
    out = np.zeros(64)
    launch(build("wrong.cu", "reads_what_nobody_wrote", sources=wrong), (3, 1), 64, (out,))
    assert np.isnan(out).all()


def test_no_compiler_is_a_clear_failure(monkeypatch, wrong):
    monkeypatch.setattr(building.shutil, "which", lambda name: None)
    with pytest.raises(KernelError, match=r"g\+\+ is needed to run the CUDA kernels on the host: install it"):
        build.__wrapped__("wrong.cu", "fine", sources=wrong)


# -- without a GPU

PRELUDE = "import numpy as np, fastgd\nX, y = np.arange(8.0)[:, None], np.arange(8.0)\n"


def python(code: str, **environment: str) -> str:
    ran = subprocess.run([sys.executable, "-P", "-c", PRELUDE + code], capture_output=True, text=True, timeout=300, check=False,
                         env={**os.environ, **environment})  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


ASK = """
try:
    fastgd.fit(X, y, backend="cuda")
except fastgd.BackendUnavailable as error:
    print(error)
result = fastgd.fit(X, y, lr=0.01)
print(result.backend, "|", result.explanation)
"""


def package(folder: Path, body: str) -> str:
    """A `cupy` that does this when it is used."""
    (folder / "cupy").mkdir()
    (folder / "cupy" / "__init__.py").write_text(body)
    return str(folder)


def test_cupy_is_not_installed(tmp_path):
    """One clear error; `auto` takes the CPU and says so."""
    code = "import sys, importlib.util as u\nf = u.find_spec\nu.find_spec = lambda name, *a: None if name == 'cupy' else f(name, *a)\n"
    error, auto = python(code + ASK).splitlines()
    assert error == (
        "backend 'cuda' is not available: CuPy is not installed: install fastgd[cuda13] (or fastgd[cuda12] for a CUDA 12 driver)"
    )
    assert auto.startswith("cpu | cpu:")


COUNT = "class cuda:\n class runtime:\n  @staticmethod\n  def getDeviceCount():\n   "
CUPYS = {  # what `import cupy` is, and what the error says then
    COUNT + "raise RuntimeError('cudaErrorInsufficientDriver: too old')\n":
        "CuPy is installed but found no usable GPU: cudaErrorInsufficientDriver: too old",
    COUNT + "return 0\n": "CuPy is installed but there is no GPU",
    "raise ImportError('libcudart.so.13: cannot open shared object file')\n":
        "CuPy is installed but found no usable GPU: libcudart.so.13: cannot open shared object file",
}  # fmt: skip


@pytest.mark.parametrize(("body", "told"), CUPYS.items())
def test_cupy_is_installed_but_there_is_no_gpu(body, told, tmp_path):
    error, auto = python(ASK, PYTHONPATH=package(tmp_path, body)).splitlines()
    assert error == f"backend 'cuda' is not available: {told}"
    assert auto.startswith("cpu | cpu:")


def test_a_gpu_but_no_compiler(tmp_path):
    code = "from fastgd.kernels.cuda import compiling\ncompiling.candidates = lambda: iter(())\n"
    error, _ = python(code + ASK, PYTHONPATH=package(tmp_path, COUNT + "return 1\n")).splitlines()
    assert "NVRTC, NVIDIA's run-time compiler, is not installed: pip install nvidia-cuda-nvrtc" in error
