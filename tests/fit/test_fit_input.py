"""Bad data: every error names the argument, what was given and what is needed, and comes before any work."""

from __future__ import annotations

import re
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

import fastgd
from fastgd import SGD
from tests.support.refusals import X2, X5, Y2, Y5, message, refused, x, y

repeat = np.broadcast_to


def test_no_work_would_be_seen(no_work):
    with pytest.raises(AssertionError, match="work began"):
        fastgd.fit(x, y)


# Data -----------------------------------------------------------------------------------------------------------------

SHAPES = {
    "samples differ": (X2, Y2[:7], r"X has 8 samples \(shape \(8, 2\)\) but y has 7 \(shape \(7,\)\)"),
    "one sample": (x[:1], y, r"X has 1 sample \(shape \(1,\)\) but y has 4"),
    "leading axes": (X5, np.zeros((4, 8)), r"broadcast.*X has shape \(5, 8, 2\), so \(5,\) fits, y has shape \(4, 8\), so \(4,\)"),
    "2-D y, 2-D X": (
        X2,
        X2,
        r"both have shape \(8, 2\), and a 2-D X is always \(n_samples, n_features\).*8 fits.*X\[\.\.\., None\].*X\[None\]",
    ),
    "X rows are fits": (np.ones((100, 8)), np.ones(8), r"100 samples.*y has 8.*always \(n_samples, n_features\).*X\[\.\.\., None\]"),
    "y is a column": (X2, Y2[:, None], r"y has 1 \(shape \(8, 1\)\); the samples are the last axis of y: give y\[:, 0\]"),
    "y is (n, k)": (X2, np.zeros((8, 5)), r"the samples are the last axis of y: give y\.T for many targets"),
    "1-D X, y is (n, k)": (x, np.zeros((4, 3)), r"X has 4 samples.*give y\.T for many targets"),
    "no samples": ([], [], r"X is empty, it has shape \(0,\); at least one sample"),
    "no samples, 2-D": (np.zeros((0, 2)), np.zeros(0), r"X is empty, it has shape \(0, 2\)"),
    "no features": (np.zeros((3, 0)), np.zeros(3), r"X is empty, it has shape \(3, 0\); .*one feature"),
    "no fits": (np.zeros((0, 8, 2)), np.zeros((0, 8)), r"X is empty, it has shape \(0, 8, 2\); .*one fit"),
    "no fits in y": (X2, np.zeros((0, 8)), r"y is empty, it has shape \(0, 8\)"),
    "X is a number": (1.5, y, r"X must have at least one axis, the samples; it is the single number 1\.5"),
    "y is a number": (x, 2.5, r"y must have at least one axis, the samples; it is the single number 2\.5"),
    "frame as y": (pd.DataFrame(X2), pd.DataFrame(Y2), r"give y\[:, 0\]"),
}


@pytest.mark.parametrize(("X", "y", "pattern"), SHAPES.values(), ids=SHAPES)
def test_shapes(no_work, X, y, pattern):
    refused(ValueError, pattern, X, y)


class NumpyRefuses:
    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("no numbers in here")


KINDS = {
    "None": (None, "it is None"),
    "dict": ({}, r"it is \{\}"),
    "generator": ((v for v in x), "generator"),
    "ragged": ([[1.0, 2.0], [3.0]], "inhomogeneous"),
    "strings": (["1", "2", "3", "4"], "dtype <U1"),
    "bytes": (np.array([b"1"] * 4), r"dtype \|S1"),
    "string dtype": (np.array(["1"] * 4, np.dtypes.StringDType()), "StringDType"),
    "dates": (np.array(["2020-01-01"] * 4, "M8[D]"), r"dtype datetime64\[D\]"),
    "durations": (np.ones(4, "m8[s]"), r"dtype timedelta64\[s\]"),
    "complex": (x + 0j, r"complex \(complex128\)"),
    "long double": (x.astype(np.longdouble), r"dtype float128.*\.astype\('float64'\)"),
    "records": (np.zeros(4, [("a", "f8")]), r"dtype \[\('a', '<f8'\)\]"),
    "objects": (np.array([1.0, 2.0, "three", 4.0], object), r"dtype object, with 'three' \(str\) at index 2"),
    "decimals": ([Decimal(1)] * 4, r"dtype object, with Decimal\('1'\) \(Decimal\) at index 0"),
    "numbers as objects": (np.array([1, 2, 3, 4], object), r"dtype object: use \.astype\('float64'\)"),
    "masked": (np.ma.array(x, mask=[0, 1, 0, 0]), r"is a masked array; masks are not available yet: give \w+\.filled\(numpy\.nan\)"),
    "refuses": (NumpyRefuses(), "cannot be read as one: no numbers in here"),
    "mixed frame": (pd.DataFrame({"a": [1, 2], "b": ["p", "q"]}), r"dtype object, with 'p' \(str\) at index \(0, 1\)"),
}


@pytest.mark.parametrize("name", ["X", "y", "w0", "intercept0", "lr", "momentum"])
@pytest.mark.parametrize(("value", "pattern"), KINDS.values(), ids=KINDS)
def test_kinds_of_arrays(no_work, value, pattern, name):
    check_kind(value, pattern, name)


@pytest.mark.parametrize("name", ["X", "y", "w0", "intercept0", "lr", "momentum"])
def test_sparse_tensors(no_work, name, torch):
    check_kind(torch.ones(4).to_sparse(), "a torch tensor, cannot be read as an array of numbers", name)


def check_kind(value, pattern, name):
    if name == "momentum":
        options = {"X": x, "y": y, "optimizer": SGD(momentum=value)}
    else:
        options = {"X": x, "y": y, "intercept": True, "w0": None, "intercept0": 0.0, "lr": 0.1, name: value}
    if value is None and name in ("w0", "intercept0", "lr"):  # the default
        with pytest.raises(AssertionError, match="work began"):
            fastgd.fit(**options)
        return
    refused(TypeError, rf"^{name},? .*{pattern}", **options)


@pytest.mark.parametrize(
    ("X", "y"),
    [
        (range(1, 5), (2, 4, 6, 8)),
        (pd.Series(x, index=list("dcba")), pd.Series(y)),
        (pd.Series([1, 2, 3, 4], dtype="Int64"), pd.Series([2, 4, 6, 8], dtype="int8")),
        (np.ma.array(x), y),
        (x.astype(">f8"), y.astype(">i4")),
        (np.flip(np.flip(x)), np.repeat(y, 2)[::2]),
    ],
    ids=["range", "series", "nullable", "masked, but nothing is", "other byte order", "strided"],
)
def test_what_is_an_array_works(X, y):
    assert fastgd.fit(X, y, epochs=3, lr=0.01).w == fastgd.fit(x, 2 * x, epochs=3, lr=0.01).w


def test_frames_work():
    data = pd.DataFrame({"year": [0, 1, 2, 3, 4], "other": [1.5, 0.0, -1.0, 2.0, 0.5], "target": [1, 2, 2, 4, 7]})
    result = fastgd.fit(data[["year", "other"]], data["target"], intercept=True, epochs=5)
    plain = fastgd.fit(data[["year", "other"]].to_numpy(), data["target"].to_numpy(), intercept=True, epochs=5)
    assert result.w.tolist() == plain.w.tolist()
    data.loc[3, "other"] = np.nan
    refused(ValueError, "X is not finite: nan in row 3, feature 1", data[["year", "other"]], data["target"])
    missing = pd.DataFrame({"a": pd.array([1, None, 3], dtype="Int64")})
    refused(ValueError, "X is not finite: nan in row 1, feature 0", missing, [1, 2, 3])


@pytest.mark.parametrize("value", ["foo", 3, ["cpu"], "float16", int, complex, np.longdouble, np.array(["a", "b"])], ids=str)
def test_dtype(no_work, value):
    refused(ValueError, r"^dtype must be 'float32' or 'float64', not ", x, y, dtype=value)


def test_dtype_of_torch(no_work, torch):
    refused(ValueError, r"^dtype must be 'float32' or 'float64', not ", x, y, dtype=torch.float32)


# Not finite -----------------------------------------------------------------------------------------------------------


def poisoned(shape, index, value):
    array = np.arange(np.prod(shape), dtype=float).reshape(shape) % 7
    array[index] = value
    return array


NOT_FINITE = {
    "1-D X": (poisoned((9,), 2, np.inf), np.ones(9), r"^X is not finite: inf in row 2\. "),
    "1-D y": (np.ones(9), poisoned((9,), 1, np.nan), r"^y is not finite: nan in row 1\. "),
    "X": (poisoned((9, 2), (3, 1), -np.inf), np.ones(9), r"^X is not finite: -inf in row 3, feature 1\. "),
    "one of many": (poisoned((142, 9, 2), (3, 5, 0), np.nan), np.ones((142, 9)), r"nan in row 5, feature 0 of fit 3 of 142\. "),
    "y of one of many": (np.ones((9, 2)), poisoned((142, 9), (141, 8), np.nan), r"^y is not finite: nan in row 8 of fit 141 of 142\. "),
    "X, several axes": (poisoned((2, 3, 9, 2), (1, 2, 5, 1), np.inf), np.ones(9), r"row 5, feature 1 of fit \(1, 2\) of 6\. "),
    "y, several axes": (np.ones((2, 1, 9, 2)), poisoned((3, 9), (2, 4), np.inf), r"^y .* row 4 of fit \(0, 2\) of 6\. "),
    "X that is shared": (poisoned((9, 2), (0, 0), np.nan), np.ones((4, 9)), r"^X .* row 0, feature 0 of fit 0 of 4\. "),
    "repeated": (repeat(poisoned((9, 2), (8, 1), np.nan), (7, 9, 2)), np.ones((7, 9)), r"row 8, feature 1 of fit 0 of 7\. "),
    "integers and NaN": (np.arange(9), [1, 2, None, 4, 5, 6, 7, 8, 9], r"^y .*dtype object, with None"),
    "not representable": (poisoned((9, 2), (4, 0), 1e39), np.ones(9), r"^X is too large for float32: 1e\+39 in row 4, feature 0; give "),
    "y not representable": (np.ones(9), poisoned((2, 9), (1, 4), -1e39), r"^y is too large for float32: -1e\+39 in row 4 of fit 1 of 2; "),
}  # fmt: skip


@pytest.mark.parametrize(("X", "y", "pattern"), NOT_FINITE.values(), ids=NOT_FINITE)
def test_where_data_are_not_finite(backend, X, y, pattern):
    error = TypeError if "object" in pattern else ValueError
    dtype = "float32" if "too large" in pattern else None
    refused(error, pattern, X, y, backend=backend, epochs=2, dtype=dtype)
    refused(error, pattern, X, y, backend=backend, epochs=2, dtype=dtype, lr=0.0)
    refused(error, pattern, X, y, backend=backend, epochs=2, dtype=dtype, lr=[[[0.0]], [[0.1]]], intercept=True)
    if backend == "cpu":
        refused(error, pattern, X, y, algorithm="stream", epochs=0, dtype=dtype, lr=0.0)
    if error is ValueError and dtype is None:
        refused(error, "give nan_policy='omit' to leave such .*, or 'propagate' to get NaN for such fits alone", X, y, backend=backend)


def test_the_place_is_found_among_many_fits():
    X = np.ones((300_000, 7), np.float32)
    X[299_999, 6] = np.inf
    refused(ValueError, "inf in row 6, feature 0 of fit 299999 of 300,000", X[..., None], np.ones(7, np.float32), lr=0.1, epochs=1)


# Too much -------------------------------------------------------------------------------------------------------------

TOO_MUCH = {
    "history of 10^13 values": ({"epochs": 10**13, "history": True}, MemoryError, r"10,000,000,000,001 history rows each need [\d,.]+ GiB"),
    "history of 2^62 rows": ({"epochs": 2**62, "history": True}, MemoryError, "record fewer rows"),
    "2^40 rates": ({"lr": repeat(0.1, (2**40,))}, MemoryError, "1,099,511,627,776 fits of 1 parameter need .* GiB .80% of what is free"),
    "2^50 momenta": ({"optimizer": SGD(lr=0.1, momentum=repeat(0.1, (2**50,)), nesterov=True)}, MemoryError, "fit a part of the batch"),
    "2^50 starts": ({"w0": repeat(0.1, (2**50,))}, MemoryError, "results of 1,125,899,906,842,624 fits"),
    "2^50 intercepts": ({"intercept": True, "intercept0": repeat(0.1, (2**50,))}, MemoryError, "fits of 2 parameters"),
    "2^40 fits": ({"X": repeat(X2, (2**40, 8, 2)), "y": repeat(Y2, (2**40, 8))}, MemoryError, "1,099,511,627,776 fits of 2 parameters"),
    "2^80 fits": (
        {"lr": repeat(0.1, (2**40, 1)), "optimizer": SGD(momentum=repeat(0.1, (2**40,)))}, ValueError,
        r"^too many fits: 1099511627776 × 1099511627776, with 1 parameter each, is more than 2\^63 bytes$",
    ),
    "2^62 fits": ({"lr": repeat(0.1, (2**31, 1)), "w0": repeat(0.1, (2**31,))}, ValueError, r"more than 2\^63 bytes$"),
    "2^64 numbers": (
        {"X": repeat(x[:, None], (2**31, 1, 4, 1)), "y": repeat(y, (2**31, 4))}, ValueError,
        r"^X and y are too many numbers: 2147483648 × 2147483648 fits × 4 samples × 1 features is more than 2\^63 bytes$",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("options", "error", "pattern"), TOO_MUCH.values(), ids=TOO_MUCH)
def test_too_much(no_work, options, error, pattern):
    refused(error, pattern, **({"X": x, "y": y} | options))


@pytest.mark.parametrize("options", [{"sample_weight": repeat(1.0, 2**31)}, {"nan_policy": "omit"}], ids=["weights", "omit"])
def test_samples_whose_numbers_are_not_int32(no_work, options):
    """The lists of samples that stay are int32; where nobody is left out there are none."""
    X = repeat(1.0, 2**31)
    refused(ValueError, r"^fits of 2\^31 samples or more cannot leave samples out; X has 2,147,483,648$", X, X, **options)
    refused(ValueError, "cannot leave samples out", X[:, None], X, **options)
    last = {name: value[1:] if name == "sample_weight" else value for name, value in options.items()}
    for n, allowed in ((2**31, {}), (2**31 - 1, last)):
        with pytest.raises(AssertionError, match="work began"):
            fastgd.fit(X[:n], X[:n], memory_limit="1 TB", **allowed)


def arrays_of(result):
    held = [result.w, result.loss, result.epochs, result.status, result.n_used, result.lr, result.intercept]
    held += [result.history.epoch, result.history.w, result.history.loss, result.history.intercept] if result.history else []
    assert result.state.status is result.status
    return [*held, result.state.w, result.state.slots, result.state.epoch, result.state.algorithm]


MEMORY = [{}, {"history": True, "epochs": 7}, {"intercept": True, "dtype": "float32"}, {"lr": 0.1, "epochs": 5, "history": 2}]


@pytest.mark.parametrize("options", MEMORY, ids=str)
def test_memory_that_the_results_need_is_what_they_take(monkeypatch, options):
    X = np.tile(X5, (40, 1, 1))
    options = {"X": X, "y": X.sum(-1), "threads": 1} | options
    taken = sum(np.asarray(array).nbytes for array in arrays_of(fastgd.fit(**options)) if array is not None)
    refused(MemoryError, "need .* KiB, computing one fit at a time .* KiB, and memory_limit is ", memory_limit=taken, **options)
    monkeypatch.setattr("fastgd.planning.memory._bytes_of_scratch", lambda *given: 0)
    fastgd.fit(**options, memory_limit=taken + 4000)  # one fit and its data


def test_free_memory_is_something_a_machine_may_have():
    from fastgd.planning.memory import free_memory

    free = free_memory()
    assert free is None or 2**20 < free < 2**60


def test_long_descents_and_large_numbers_are_refused_for_no_reason_of_their_own(no_work):
    with pytest.raises(AssertionError, match="work began"):
        fastgd.fit(x, y, epochs=2**63 - 1, history=2**62)


# predict --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("X", "error", "pattern"),
    [
        (np.ones((3, 4)), ValueError, r"^X must have 2 features \(its last axis\), as in the fit; it has shape \(3, 4\)$"),
        ([1.0, 2.0], ValueError, r"^X must have shape \(…, n_samples, 2\), as in the fit; it has shape \(2,\)$"),
        (np.ones((4, 3, 2)), ValueError, r"do not broadcast against each other: X \(4,\), the fits \(5,\)$"),
        ("a", TypeError, "^X must be an array of real numbers; it is 'a'$"),
    ],
)
def test_predict(X, error, pattern):
    with pytest.raises(error) as caught:
        fastgd.fit(X5, Y5, epochs=1).predict(X)
    assert re.search(pattern, message(caught)), str(caught.value)


def test_predict_for_a_sparse_tensor(torch):
    with pytest.raises(TypeError, match=r"^X, a torch tensor, cannot be read as an array"):
        fastgd.fit(X5, Y5, epochs=1).predict(torch.ones(3, 2).to_sparse())


def test_predict_of_one_number():
    with pytest.raises(ValueError, match=r"^X must have shape \(…, n_samples\), as in the fit; it has shape \(\)$"):
        fastgd.fit(x, y).predict(5.0)


def test_moments_of_too_many_features_are_refused_with_the_way_out(monkeypatch):
    """The safe rate needs d² numbers; 10 samples of 60,000 features are 5 MB."""
    monkeypatch.setattr("fastgd.planning.memory.free_memory", lambda: 2**30)
    X = np.ones((10, 60_000))
    pattern = r"computing one fit at a time [\d.,]+ GiB, and 0.80 GiB \(80% of what is free\) may be used: give an lr$"
    refused(MemoryError, pattern, X, np.ones(10))
    assert fastgd.fit(X, np.ones(10), lr=1e-6, epochs=1).status == fastgd.Status.COMPLETED
