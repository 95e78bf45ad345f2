"""Arrays on a GPU at the door of `fit`: taken where they are, computed there, handed back there;
the CPU's bits.

There is no GPU: CuPy is a stand-in that runs the kernels on the host
(tests/cuda_on_host/stand_in.py), and torch's tensors on a GPU are stand-ins too. What is shown is
what fastgd does with them.
"""

from __future__ import annotations

import numpy as np
import pytest

import fastgd
from tests.cuda_on_host import stand_in
from tests.cuda_on_host.lent import home, there
from tests.kernels.cuda.test_bits import assert_same, data_of

pytestmark = pytest.mark.usefixtures("cupy")

CASES = [  # rule, dtype, (n, d), what is missing, options
    ("sgd", "float32", (40, 1), "all", {"lr": None}),
    ("sgd", "float64", (40, 4), "weights", {"lr": None, "reduction": "sum"}),
    ("sgd", "float32", (9, 4), "omit", {"lr": [[1e-3], [1e-2], [1e9]], "min_samples": 7}),
    ("adam", "float64", (40, 3), "omit", {"lr": 0.05, "algorithm": "stream"}),
    ("nadam", "float32", (100, 3), "poisoned", {"lr": [1e-2, 1e-1, 1.0, 10.0]}),
    ("rmsprop", "float32", (33, 12), "weights", {"lr": 0.02, "tol": 0.05}),
    ("adagrad", "float64", (4099, 1), "omit", {"lr": 0.1}),
    ("sgd", "float64", (40, 3), "weights", {"lr": None, "standardize": True, "tol": 0.01}),
    ("adam", "float32", (9, 4), "omit", {"lr": 0.1, "standardize": True}),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case[:4])))
@pytest.mark.parametrize("intercept", [False, True])
def test_data_on_the_device_give_the_cpus_bits(case, intercept):
    """backend="auto" takes "cuda" and says why; everything comes back on the device; the data never
    leave it."""
    rule, name, size, samples, options = case
    X, y, weights = data_of(size, name, samples, 7)
    options = {
        "epochs": 7, "history": 2, "intercept": intercept, "nan_policy": "omit" if samples == "omit" else "propagate",
        "optimizer": rule, **options,
    }  # fmt: skip
    theirs = fastgd.fit(X, y, sample_weight=weights, **options)
    inputs = there(X), there(y), there(weights)
    stand_in.reset()
    ours = fastgd.fit(inputs[0], inputs[1], sample_weight=inputs[2], **options)
    assert ours.backend == "cuda"
    assert ours.explanation.startswith("cuda: the data are on cuda:0; ")
    assert stand_in.transfers["up"] < 8000  # places, codes and the like
    assert stand_in.transfers["down"] < 8000
    assert_same(home(ours), theirs, str(case))


def test_the_stand_in_is_honest():
    """What CuPy refuses it refuses; work that nobody waits for is not done."""
    array = there(np.arange(6.0))
    assert not isinstance(array, np.ndarray)
    for refused in (lambda: np.asarray(array), lambda: array * np.ones(6), lambda: np.add(array, 1.0), lambda: array.flags.writeable):
        with pytest.raises((TypeError, AttributeError)):
            refused()
    with pytest.raises(ValueError, match=r"non-scalar numpy\.ndarray"):
        array[:] = np.zeros(6)
    other = stand_in.Stream(non_blocking=True)
    with other:
        array[:] = 7.0
    assert array.get().tolist() == [0, 1, 2, 3, 4, 5]  # the current stream does not wait for the other one
    stand_in.get_current_stream().wait_event(other.record())
    assert array.get().tolist() == [7] * 6


def test_a_sweep_compresses_shared_data_once():
    """64 rates over 3 fits; and with too little memory for all of them, the data of a fit are still
    compressed once."""
    X, y, _ = data_of((50, 2), "float32", "all", 8, m=3)
    options = {"lr": np.logspace(-5, 0, 64)[:, None], "epochs": 3}
    theirs = fastgd.fit(X, y, **options)
    for free in (10**9, 20_000):
        stand_in.reset()
        stand_in.memory["free"] = free
        assert_same(home(fastgd.fit(there(X), there(y), **options)), theirs)
        descents = [name for name in stand_in.calls if name.startswith("descend")]
        compressions = [name for name in stand_in.calls if name.startswith("compress")]
        assert len(compressions) == (1 if free > 10**6 else 3), stand_in.calls
        assert len(descents) > 6 or free > 10**6


LAYOUTS = {
    "fortran": lambda X: stand_in.ndarray(np.asfortranarray(X._host)),
    "every other": lambda X: stand_in.asarray(np.repeat(X._host, 2, axis=1))[:, ::2],
    "askew": lambda X: stand_in.ndarray(np.concatenate([[0], X._host.ravel()]).astype(X.dtype)[1:].reshape(X.shape)),
    "whole numbers": lambda X: stand_in.asarray(np.round(X._host).astype(np.int16)),
    "half precision": lambda X: stand_in.asarray(X._host.astype(np.float16)),
    "reversed": lambda X: stand_in.asarray(X._host[::-1].copy())[::-1],
    "shared": lambda X: stand_in.lib.stride_tricks.as_strided(X, X.shape, (0, *X.strides[1:])),
    "one for all": lambda X: X[:1],
    "two leading axes": lambda X: stand_in.asarray(X._host.transpose(1, 2, 0).copy()).transpose(2, 0, 1)[:, None],
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ["float32", "float64"])
def test_any_layout_on_the_device(layout, name):
    X, y, _ = data_of((20, 4), name, "all", 3, m=6)
    given = LAYOUTS[layout](there(X))
    theirs = fastgd.fit(np.array(given._host), y, epochs=4)
    assert_same(home(fastgd.fit(given, there(y), epochs=4)), theirs)


def test_hyperparameters_and_starts_may_be_anywhere():
    X, y, _ = data_of((20, 2), "float64", "all", 3)
    rates, momentum, w0 = np.array([0.01, 0.02, 0.03, 0.04]), np.array([0.1, 0.2, 0.3, 0.4]), np.ones((4, 2))
    theirs = fastgd.fit(X, y, lr=rates, optimizer=fastgd.SGD(momentum=momentum), w0=w0, epochs=5)
    for move in (lambda array: array, there, list):
        ours = fastgd.fit(there(X), there(y), lr=move(rates), optimizer=fastgd.SGD(momentum=move(momentum)), w0=move(w0), epochs=5)
        assert_same(home(ours), theirs)


def test_a_state_goes_on_wherever_it_is():
    X, y, _ = data_of((20, 2), "float32", "all", 3)
    options = {"optimizer": fastgd.Adam(lr=[0.1, 0.2, 0.3, 1e30]), "tol": 0.01}
    whole = fastgd.fit(X, y, epochs=9, **options)
    first = fastgd.fit(there(X), there(y), epochs=4, **options)
    held = home(first)
    for state in (first.state, held.state):
        rest = home(fastgd.fit(there(X), there(y), epochs=5, state=state, **options))
        assert all(np.array_equal(a, b, equal_nan=True) for a, b in ((rest.w, whole.w), (rest.state.slots, whole.state.slots)))
    assert_same(home(first), held)  # a state is not written to
    with pytest.raises(ValueError, match=r"state is on cuda:0 but X and y are in the computer's memory"):
        fastgd.fit(X, y, epochs=5, state=first.state, **options)


def test_one_fit_without_a_leading_axis():
    X, y = there(np.array([1.0, 2, 3, 4])), there(np.array([2.0, 4, 6, 8]))
    ours, theirs = (fastgd.fit(*data, lr=0.1, epochs=20, history=True) for data in ((X, y), (X.get(), y.get())))
    assert_same(home(ours), theirs)
    assert ours.status is fastgd.Status.COMPLETED


def test_out_is_on_the_device():
    X, y, _ = data_of((20, 2), "float32", "all", 3)
    theirs = fastgd.fit(X, y, lr=[[0.01], [0.02]], epochs=3, intercept=True, history=True)
    out = {
        "w": there(np.zeros((2, 4, 2), np.float32)),
        "intercept": there(np.zeros((4, 2), np.float32)).transpose(1, 0),
        "history.loss": there(np.zeros((2, 4, 4), np.float32)),
        "status": there(np.full((2, 4), 9, np.int8)),
        "state.w": there(np.zeros((4, 3, 2))).transpose(2, 0, 1),
    }
    ours = fastgd.fit(there(X), there(y), lr=[[0.01], [0.02]], epochs=3, intercept=True, history=True, out=out)
    assert_same(home(ours), theirs)
    assert ours.w is out["w"]
    assert ours.history.loss is out["history.loss"]
    assert np.array_equal(out["state.w"].get(), theirs.state.w)
    whole = there(np.zeros((4, 2), np.float32))
    assert np.array_equal(fastgd.fit(there(X), there(y), epochs=3, out=whole).w.get(), fastgd.fit(X, y, epochs=3).w)
    data = there(X)
    with pytest.raises(ValueError, match="out shares memory with X, which would be overwritten"):
        fastgd.fit(data, there(y), epochs=3, out=data[:, :2, 0])
    with pytest.raises(ValueError, match=r"out is in the computer's memory but X and y are on cuda:0"):
        fastgd.fit(there(X), there(y), epochs=3, out=np.zeros((4, 2), np.float32))
    with pytest.raises(ValueError, match=r"out is on cuda:0, and is needed in the computer's memory here: give out\.get\(\)"):
        fastgd.fit(X, y, epochs=3, out=whole)


def test_predictions_stay_there_too():
    X, y, _ = data_of((20, 2), "float64", "all", 3)
    ours, theirs = fastgd.fit(there(X), there(y), intercept=True, epochs=3), fastgd.fit(X, y, intercept=True, epochs=3)
    prediction = ours.predict(there(X))
    assert isinstance(prediction, stand_in.ndarray)
    assert np.array_equal(prediction.get(), theirs.predict(X))
    for result, data in ((ours, X), (theirs, there(X))):
        with pytest.raises(ValueError, match=r"X is .* but w is .*: give all data in one place"):
            result.predict(data)


def test_what_a_result_tells_of_itself(tmp_path):
    X, y, _ = data_of((20, 2), "float64", "all", 3)
    ours, theirs = fastgd.fit(there(X), there(y), epochs=3, history=True), fastgd.fit(X, y, epochs=3, history=True)
    assert repr(ours).replace("cuda", "cpu") == repr(theirs)
    assert ours.summary().split("computed")[0] == theirs.summary().split("computed")[0]
    ours.save(tmp_path / "it.npz")
    assert_same(fastgd.load(tmp_path / "it.npz"), theirs)
    assert list(ours.to_frame("pandas").columns) == list(theirs.to_frame("pandas").columns)


def test_everything_happens_on_the_callers_stream():
    """The data are still being made on it, and the caller goes on there without waiting."""
    X, y, _ = data_of((20, 2), "float32", "all", 3)
    mine = stand_in.Stream(non_blocking=True)
    with mine:
        data, target = stand_in.empty(X.shape, X.dtype), stand_in.empty(y.shape, y.dtype)
        data[:], target[:] = there(X), there(y)  # only put on the stream
        result = fastgd.fit(data, target, epochs=3)
        twice = result.w + result.w
        assert np.array_equal(twice.get(), 2 * fastgd.fit(X, y, epochs=3).w)


def test_the_device_of_the_data_is_the_one_that_computes():
    X, y, _ = data_of((20, 2), "float32", "omit", 3)
    result = fastgd.fit(there(X, 1), there(y, 1), nan_policy="omit", epochs=3)
    assert {result.w.device.id, result.loss.device.id, result.state.w.device.id, result.status.device.id} == {1}
    assert result.explanation.startswith("cuda: the data are on cuda:1")
    assert_same(home(result), fastgd.fit(X, y, nan_policy="omit", epochs=3))
