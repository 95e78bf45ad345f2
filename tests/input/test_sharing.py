"""Arrays of other libraries: shared, never copied, never moved silently."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest

import fastgd
from fastgd.input.arrays import arrive
from fastgd.input.sharing import to_numpy
from tests.support.foreign_arrays import Device, fake


def test_tensors_are_shared_not_copied(torch):
    tensor = torch.arange(6.0)
    assert np.shares_memory(to_numpy(tensor, "X"), tensor.numpy())
    assert np.shares_memory(to_numpy(tensor[::2], "X"), tensor.numpy())
    array = np.arange(6.0)
    assert arrive(X=tensor).library.wrap(array).data_ptr() == array.ctypes.data


def test_what_torch_cannot_share_is_an_error(torch):
    y = torch.ones(3)
    with pytest.raises(ValueError, match=r"X is on meta, from where fit does not take arrays yet: give X\.cpu\(\)"):
        fastgd.fit(torch.ones(3, 2, device="meta"), y)
    with pytest.raises(TypeError, match="X, a torch tensor, cannot be read as an array of numbers"):
        fastgd.fit(torch.eye(3).to_sparse(), y)


def test_cupy_arrays_are_told_how_to_come_home():
    """What fit does with them: tests/kernels/cuda/test_arrays.py."""
    array = fake("cupy", device=types.SimpleNamespace(id=3))
    with pytest.raises(ValueError, match=r"X is on cuda:3, and is needed in the computer's memory here: give X\.get\(\)"):
        fastgd.solve(array, [1.0, 2.0])


def test_jax_on_a_gpu_and_traced(monkeypatch):
    tracer = type("Tracer", (), {})
    monkeypatch.setitem(sys.modules, "jax", types.SimpleNamespace(core=types.SimpleNamespace(Tracer=tracer)))
    gpu = fake("jaxlib", devices=lambda self: {Device("gpu")})
    with pytest.raises(ValueError, match=r"y is on gpu, from where fit does not take arrays yet: give numpy\.asarray\(y\)"):
        fastgd.fit([1.0, 2.0], gpu)
    traced = type("DynamicTracer", (tracer,), {"__module__": "jax._src"})()
    with pytest.raises(TypeError, match=r"X is traced by jax\.jit"):
        fastgd.fit(traced, [1.0, 2.0])


@pytest.mark.parametrize("dtype", ["bfloat16", "float8_e4m3fn"])
def test_dtypes_that_numpy_lacks_are_told_what_to_give(torch, dtype):
    """Of arrays that have DLPack alone; tensors of bfloat16 themselves are taken."""
    tensor = torch.arange(5.0).to(getattr(torch, dtype))
    methods = {"__dlpack__": lambda self, **options: tensor.__dlpack__(), "__dlpack_device__": lambda self: tensor.__dlpack_device__()}
    array = fake("other", **methods)
    with pytest.raises(
        TypeError, match=r"^y, an array of other, .*: it has a dtype that NumPy lacks, such as bfloat16: give y in float32$"
    ):
        fastgd.fit(np.arange(5.0), array)
