"""Any array in, the same kind out, on its device; never a copy of the data, never a silent move."""

from __future__ import annotations

import subprocess
import sys
import types

import numpy as np
import pytest

import fastgd
from fastgd.input.arrays import NUMPY, Arrived
from fastgd.input.sharing import to_numpy
from tests.support.foreign_arrays import Device, fake


def _data(dtype=np.float64):
    rng = np.random.default_rng(0)
    return rng.standard_normal((3, 20, 2)).astype(dtype), rng.standard_normal((3, 20)).astype(dtype)


def _same(result, expected):
    """Every array of a result equals that of another, with ==."""
    for name in ("w", "intercept", "loss", "epochs", "n_used", "status"):
        assert np.array_equal(np.asarray(getattr(result, name)), np.asarray(getattr(expected, name))), name
    for name in ("w", "loss", "intercept"):
        assert np.array_equal(np.asarray(getattr(result.history, name)), np.asarray(getattr(expected.history, name))), name


OPTIONS = {"epochs": 12, "intercept": True, "history": True}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_torch_tensors_come_back_as_torch_tensors(dtype, torch):
    X, y = _data(dtype)
    expected = fastgd.fit(X, y, **OPTIONS)
    result = fastgd.fit(torch.from_numpy(X).requires_grad_(), torch.from_numpy(y), **OPTIONS)
    _same(result, expected)
    for value in (result.w, result.intercept, result.loss, result.lr, result.epochs, result.n_used, result.status, result.history.w):
        assert isinstance(value, torch.Tensor)
        assert not value.requires_grad
    assert result.w.dtype is getattr(torch, np.dtype(dtype).name)
    prediction = result.predict(torch.from_numpy(X))
    assert isinstance(prediction, torch.Tensor)
    assert np.array_equal(prediction.numpy(), expected.predict(X))


def test_a_single_fit_of_tensors(torch):
    result = fastgd.fit(torch.tensor([1.0, 2, 3, 4]), torch.tensor([2.0, 4, 6, 8]), lr=0.1, epochs=20)
    assert result.w.shape == ()
    assert result.w.dtype is torch.float32
    assert result.status is fastgd.Status.COMPLETED
    assert "COMPLETED" in repr(result)


def test_hyperparameters_and_starts_may_be_tensors_and_decide_nothing(torch):
    X, y = _data()
    expected = fastgd.fit(X, y, lr=[0.1, 0.2, 0.3], w0=np.ones(2), epochs=5)
    result = fastgd.fit(X, y, lr=torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64), w0=torch.ones(2), epochs=5)
    assert isinstance(result.w, np.ndarray)
    assert np.array_equal(result.w, expected.w)


def test_bfloat16_is_computed_as_float32(torch):
    X, y = (torch.from_numpy(a).to(torch.bfloat16) for a in _data())
    result = fastgd.fit(X, y, epochs=5)
    assert result.w.dtype is torch.float32
    assert np.array_equal(result.w.numpy(), fastgd.fit(X.float().numpy(), y.float().numpy(), epochs=5).w)


def test_libraries_are_not_mixed(torch):
    class Other:
        __array_namespace__ = None

    X, y = _data()
    assert isinstance(fastgd.fit(torch.from_numpy(X), y, epochs=1).w, torch.Tensor)
    with pytest.raises(TypeError, match=r"different libraries were given \(X of torch, y of array API\)"):
        fastgd.fit(torch.from_numpy(X), Other())


class _Namespace(types.SimpleNamespace):
    """An array API namespace whose arrays share memory by DLPack and are nothing that NumPy
    knows."""


class _Array:
    """An array of that namespace."""

    def __init__(self, array):
        self._array = array

    def __array_namespace__(self, api_version=None):
        return NAMESPACE

    def __dlpack__(self, **options):
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self._array.__dlpack_device__()


NAMESPACE = _Namespace(from_dlpack=lambda array: _Array(np.from_dlpack(array)), asarray=lambda array: _Array(np.asarray(array)))


def test_any_library_with_dlpack_and_a_namespace():
    X, y = _data()
    result = fastgd.fit(_Array(X), _Array(y), epochs=7)
    assert isinstance(result.w, _Array)
    assert np.array_equal(result.w._array, fastgd.fit(X, y, epochs=7).w)
    assert np.shares_memory(to_numpy(_Array(X), "X"), X)


def test_an_array_that_cannot_be_shared_says_so():
    class OnAGpu(_Array):
        def __dlpack__(self, **options):
            raise BufferError("device 2 is not a CPU")

    X, y = _data()
    with pytest.raises(TypeError, match=r"X, an array of \w+, cannot be shared with NumPy: device 2 is not a CPU"):
        fastgd.fit(OnAGpu(X), y)


def test_jax_arrays_go_through_its_own_functions(monkeypatch):
    """JAX is not among the test requirements: a stand-in shows that its arrays are read and made by
    its own functions."""
    made = []
    fake_jax = types.SimpleNamespace(
        core=types.SimpleNamespace(Tracer=type("Tracer", (), {})),
        numpy=types.SimpleNamespace(asarray=lambda a: made.append(a) or ("jax", a)),
    )
    monkeypatch.setitem(sys.modules, "jax", fake_jax)
    X, y = _data()

    def jax_array(values):
        return fake("jaxlib._jax", devices=lambda self: {Device("cpu")}, __array__=lambda self, *a, **k: values)

    result = fastgd.fit(jax_array(X), jax_array(y), epochs=3)
    assert result.w[0] == "jax"
    assert np.array_equal(result.w[1], fastgd.fit(X, y, epochs=3).w)
    assert len(made) == 7  # w, loss, epochs, status, n_used, lr, excess_loss


def test_no_library_is_imported_for_its_own_sake():
    code = (
        "import sys, fastgd; r = fastgd.fit([1.0, 2, 3], [1.0, 2, 3], epochs=2); r.predict([1.0]);"
        "print([m for m in ('torch', 'cupy', 'jax', 'pandas') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-P", "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_nodata_on_a_gpu_is_refused():
    """Data of CuPy are never brought home to be compared."""
    arrived = Arrived({"X": object(), "y": object()}, NUMPY, 0)
    with pytest.raises(
        ValueError, match=r"^nodata is for data in the computer's memory, and X is on cuda:0: write NaN in its place there$"
    ):
        arrived.read("X", (-9999,))
