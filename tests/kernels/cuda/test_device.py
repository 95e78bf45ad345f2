"""Without CuPy, a GPU or a compiler: one clear error, and `auto` takes the CPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

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
