"""Arrays on a GPU: what is refused and in what words, memory that runs out, and tensors of other
libraries. As in test_arrays.py."""

from __future__ import annotations

import re
import sys
import types

import numpy as np
import pytest

import fastgd
from fastgd.kernels.cuda import device
from tests.cuda_on_host import stand_in
from tests.cuda_on_host.lent import Lender, Tensor, home, there
from tests.cuda_on_host.stand_in_streams import EXTERNAL, launched_on
from tests.kernels.cuda.test_bits import assert_same, data_of, results

pytestmark = pytest.mark.usefixtures("cupy")


def test_places_are_not_mixed():
    X, y, weights = data_of((20, 2), "float32", "weights", 3)
    for given, told in (
        ((there(X), y, None), r"X is on cuda:0 but y is in the computer's memory: give all data in one place"),
        ((X, there(y), None), r"X is in the computer's memory but y is on cuda:0"),
        ((there(X), there(y, 1), None), r"X is on cuda:0 but y is on cuda:1"),
        ((there(X), there(y), weights), r"X is on cuda:0 but sample_weight is in the computer's memory"),
    ):
        with pytest.raises(ValueError, match=told):
            fastgd.fit(given[0], given[1], sample_weight=given[2])
    with pytest.raises(ValueError, match=r"lr is on cuda:0, and is needed in the computer's memory here: give lr\.get\(\)"):
        fastgd.fit(X, y, lr=there(np.array(0.1)))
    with pytest.raises(ValueError, match=r"lr is on cuda:1, and is needed in the computer's memory here"):
        fastgd.fit(there(X), there(y), lr=there(np.array(0.1), 1))


@pytest.mark.parametrize("other", ["cpu", "torch", "numpy"])
def test_a_backend_of_the_computer_refuses_data_on_a_gpu(other):
    X, y, _ = data_of((20, 2), "float32", "all", 3)
    with pytest.raises(ValueError, match=rf"backend '{other}' takes data in the computer's memory, and X and y are on cuda:0"):
        fastgd.fit(there(X), there(y), backend=other)


@pytest.mark.parametrize("ask", [fastgd.solve, fastgd.compress, lambda X, y: fastgd.verify("cpu", X, y)])
def test_what_has_no_kernels_for_a_gpu_says_so(ask):
    X, y, _ = data_of((20, 2), "float32", "all", 3, m=1)
    with pytest.raises(ValueError, match=r"X is on cuda:0, and is needed in the computer's memory here: give X\.get\(\)"):
        ask(there(X[0]), there(y[0]))


def test_data_that_are_not_finite_are_named():
    """The same words as on the CPU, whoever noticed."""
    for name, samples, place, value in (("X", "all", (2, 7, 1), np.inf), ("y", "all", (1, 3), np.nan), ("w", "weights", (3, 2), np.nan),
                                        ("w", "weights", (3, 2), -1.0)):  # fmt: skip
        for algorithm in ("moments", "stream"):
            X, y, weights = data_of((20, 2), "float32", samples, 3)
            {"X": X, "y": y, "w": weights}[name][place] = value
            said = []
            for move in (lambda array: array, there):
                with pytest.raises(ValueError) as error:  # noqa: PT011 its text is compared
                    fastgd.fit(move(X), move(y), sample_weight=move(weights), lr=0.01, algorithm=algorithm)
                said.append(str(error.value))
            assert said[0] == said[1]
            assert "sample_weight" in said[0] or name in said[0]


def test_threads_are_for_the_cpu():
    X, y, _ = data_of((20, 2), "float32", "all", 3)
    with pytest.raises(ValueError, match=r"^threads is an option of backend 'cpu'; backend 'cuda' runs on the whole GPU$"):
        fastgd.fit(there(X), there(y), threads=2)


def test_a_memory_limit_is_of_the_gpus_memory():
    X, y, _ = data_of((64, 2), "float32", "all", 3, m=40)
    theirs = fastgd.fit(X, y, epochs=3)
    assert_same(home(fastgd.fit(there(X), there(y), epochs=3, memory_limit=20_000)), theirs)
    assert len([name for name in stand_in.calls if name.startswith("descend")]) > 1
    with pytest.raises(MemoryError, match=r"the results need 3\.5 KiB of the GPU's memory, and memory_limit is 2\.0 KiB"):
        fastgd.fit(there(X), there(y), epochs=3, memory_limit=2048)
    with pytest.raises(MemoryError, match=r"memory_limit leaves [\d,]+ bytes of the GPU's memory, and computing one fit needs"):
        fastgd.fit(there(X), there(y), epochs=3, memory_limit=3700)


def test_memory_runs_out_in_the_middle(caplog):
    """Also after the state was written to: the fits begin anew."""
    X, y, _ = data_of((64, 1), "float64", "all", 3, m=40)
    options = {"epochs": 9, "lr": np.where(np.arange(40) % 3, 1e-3, 1e200), "history": True}  # some go on from their samples
    theirs = fastgd.fit(X, y, **options)
    data, target = there(X), there(y)
    n_fitted, said = 0, []
    for room in range(14_000, 34_000, 2_000):  # memory runs out here, there, or nowhere
        stand_in.memory["most"] = stand_in.memory["taken"] + room
        try:
            assert_same(home(fastgd.fit(data, target, **options)), theirs)
            n_fitted += 1
        except MemoryError as error:
            said.append(str(error))
    assert n_fitted >= 5
    assert all(re.search("one fit of 64 samples does not fit|of the GPU's memory", message) for message in said), said
    assert "out of memory with 40 fits at a time; going on with 20" in caplog.text
    stand_in.memory["most"] = stand_in.memory["taken"] + 100
    with pytest.raises(MemoryError, match=r"the results of 40 fits need 0\.0 GiB of the GPU's memory"):
        fastgd.fit(data, target, **options)


# -- other libraries


def test_torch_tensors_on_a_gpu(monkeypatch):
    """They come back as tensors, and torch's current stream is the one that computes."""
    stream = stand_in.Stream(non_blocking=True)
    EXTERNAL[stream.ptr] = stream
    current = types.SimpleNamespace(cuda_stream=stream.ptr)

    def from_dlpack(array):
        with stream:
            return Tensor(stand_in.from_dlpack(array))

    torch = types.SimpleNamespace(bfloat16="bfloat16", from_dlpack=from_dlpack,
                                  cuda=types.SimpleNamespace(current_stream=lambda number: current))  # fmt: skip
    monkeypatch.setitem(sys.modules, "torch", torch)
    X, y, _ = data_of((20, 2), "float32", "all", 3)
    data, target = there(X), stand_in.empty(y.shape, y.dtype)
    with stream:
        target[:] = there(y)  # put on torch's stream, and on no other
    result = fastgd.fit(Tensor(data), Tensor(target), epochs=3, history=True)
    assert launched_on == {stream.ptr}
    theirs = fastgd.fit(X, y, epochs=3, history=True)
    for name in ("w", "loss", "status", "lr", "n_used", "epochs"):
        assert isinstance(getattr(result, name), Tensor), name
        with stream:
            assert np.array_equal(getattr(result, name)._array.get(), getattr(theirs, name)), name
    assert isinstance(result.history.w, Tensor)
    with stream:
        assert np.array_equal(result.predict(Tensor(data))._array.get(), theirs.predict(X))
    with pytest.raises(ValueError, match=r"X is on cuda:0, and is needed in the computer's memory here: give X\.cpu\(\)"):
        fastgd.solve(Tensor(data), Tensor(target))


def test_the_cuda_array_interface():
    """Of a library that nobody knows, results are CuPy's."""
    X, y, _ = data_of((20, 2), "float64", "all", 3)
    result = fastgd.fit(Lender(there(X, 1)), Lender(there(y, 1)), epochs=3)
    assert result.w.device.id == 1
    assert_same(home(result), fastgd.fit(X, y, epochs=3))
    assert set(results(home(result))) >= {"w", "loss", "state.w"}


def test_data_on_a_gpu_without_cupy(monkeypatch, torch):
    """One clear error: torch can have a GPU where CuPy is not installed."""
    monkeypatch.setattr(
        device.importlib.util, "find_spec", lambda name, real=device.importlib.util.find_spec: None if name == "cupy" else real(name)
    )
    device.why_no_device.cache_clear()
    X = Tensor(there(np.ones((4, 1))))
    with pytest.raises(
        fastgd.BackendUnavailable, match=r"backend 'cuda' is not available: CuPy is not installed: install fastgd\[cuda13\]"
    ):
        fastgd.fit(X, Tensor(there(np.ones(4))))
