"""What a caller gives as an array: what works, what of it is missing, and what is refused."""

from __future__ import annotations

import re
import tracemalloc
from collections import UserList, deque
from decimal import Decimal

import ml_dtypes
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import fastgd
from fastgd import SGD
from fastgd.input.reading import read, read_array
from tests.support.hidden_masks import OfDask, OfNetCDF4, OfSciPy, OfXarray, OnlyDLPack, OnlyIndexed, Sequence
from tests.support.refusals import refused, x, y

NA = pd.NA
HIDES_1 = np.ma.masked_array([1.0, 1e36, 5.0, 7.0], mask=[0, 1, 0, 0])  # 1, missing, 5, 7


class NumpyRefuses:
    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("no numbers in here")


KINDS = {
    "None": (None, "it is None"),
    "dict": ({}, r"it is a dict: give np\.stack\(list\(\w+\.values\(\)\), -1\), or a frame"),
    "generator": ((v for v in x), "generator"),
    "text": ("abc", "it is 'abc'$"),
    "records": (np.zeros(4, [("a", "f8")]), r"it is structured: give a field of it, such as \w+\['a'\], or np\.stack\(\["),
    "masked records": (np.ma.zeros(4, [("a", "f8"), ("b", "f8")]), r"it is structured: .*, or np\.ma\.stack\(\["),
    "a query": (pl.LazyFrame({"a": x}), r"it is a LazyFrame, which is not computed yet: give \w+\.collect\(\)$"),
    "values of a dict": (dict.fromkeys(x).keys(), r"give list\(\w+\)$"),
    "long double": (x.astype(np.longdouble), r"dtype float128.*\.astype\('float64'\)"),
    "decimals": ([Decimal(1)] * 4, r"dtype object, with Decimal\('1'\) \(Decimal\) at index 0: give np\.asarray\(\w+, 'float64'\)"),
    "objects": (np.array([1.0, 2.0, "three", 4.0], object), r"dtype object, with 'three' \(str\) at index 2"),
    "too large": ([10**400, None], "a number in it is too large for float64"),
    "refuses": (NumpyRefuses(), "cannot be read as one: no numbers in here"),
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


WORKS = {
    "range": (range(1, 5), (2, 4, 6, 8)),
    "series": (pd.Series(x, index=list("dcba")), pd.Series(y)),
    "nullable": (pd.Series([1, 2, 3, 4], dtype="Int64"), pd.Series([2, 4, 6, 8], dtype="int8")),
    "masked, but nothing is": (np.ma.array(x), np.ma.array(y, mask=[False] * 4)),
    "other byte order": (x.astype(">f8"), y.astype(">i4")),
    "memory map's class": (x.view(np.memmap), y),
    "strided": (np.flip(np.flip(x)), np.repeat(y, 2)[::2]),
    "objects": (np.array([1, 2.0, np.float32(3), np.int8(4)], object), y),
    "deque": (deque(x), y),
    "list of arrays": (x, [np.int8(2), np.array(4.0), 6, 8]),
    "only DLPack": (OnlyDLPack(x), OnlyDLPack(y)),
    "categories that are numbers": (pd.Series(x, dtype="category"), y),
}


@pytest.mark.parametrize(("X", "y"), WORKS.values(), ids=WORKS)
def test_what_is_an_array_works(X, y):
    assert fastgd.fit(X, y, epochs=3, lr=0.01).w == fastgd.fit(x, 2 * x, epochs=3, lr=0.01).w


def test_a_matrix_is_an_array():
    X = np.arange(6.0).reshape(3, 2)
    with pytest.warns(PendingDeprecationWarning):
        matrix = np.matrix(X)
    for given in (matrix, np.ma.array(matrix)):
        assert fastgd.fit(given, [1.0, 2, 4], epochs=3).w.tolist() == fastgd.fit(X, [1.0, 2, 4], epochs=3).w.tolist()
    refused(ValueError, "^X is missing", np.ma.array(matrix, mask=X == 3), [1.0, 2, 4])


def test_arrays_are_not_copied():
    for array in (x, np.ma.array(x), np.ma.array(x, mask=np.zeros(4, bool)), OnlyDLPack(x), OfNetCDF4(x), HIDES_1):
        assert np.shares_memory(read(array, "X").array, array.data if array is HIDES_1 else x)
    big = np.ma.array(np.zeros(10**6), mask=np.zeros(10**6, bool))
    tracemalloc.start()
    assert read(big, "X").mask is None
    assert tracemalloc.get_traced_memory()[1] < 10_000
    tracemalloc.stop()


@pytest.mark.parametrize("other", ["float32", "float64"])
def test_bfloat16_is_computed_as_float32(other):
    half = np.arange(8.0).astype(ml_dtypes.bfloat16)
    result = fastgd.fit(half, half.astype(other), lr=half[1] / 16, epochs=5)
    assert result.w.dtype == other
    assert result.w == fastgd.fit(np.arange(8.0, dtype="f4"), np.arange(8.0).astype(other), lr=1 / 16, epochs=5).w
    assert fastgd.fit(half, half, epochs=5).w.dtype == np.float32
    refused(ValueError, r"^X is not finite: nan in row 1\.", np.array([1, np.nan], ml_dtypes.bfloat16), [1.0, 2.0])


def test_frames_work():
    data = pd.DataFrame({"year": [0, 1, 2, 3, 4], "other": [1.5, 0.0, -1.0, 2.0, 0.5], "target": [1, 2, 2, 4, 7]})
    result = fastgd.fit(data[["year", "other"]], data["target"], intercept=True, epochs=5)
    plain = fastgd.fit(data[["year", "other"]].to_numpy(), data["target"].to_numpy(), intercept=True, epochs=5)
    assert result.w.tolist() == plain.w.tolist()
    data.loc[3, "other"] = np.nan
    refused(ValueError, "X is not finite: nan in row 3, feature 1", data[["year", "other"]], data["target"])
    missing = pd.DataFrame({"a": pd.array([1, None, 3], dtype="Int64")})
    refused(ValueError, "X is (not finite: nan|missing .*) in row 1, feature 0", missing, [1, 2, 3])


class ArrowTable:
    """A table of pyarrow, which is not among the test requirements."""

    def __init__(self, **columns):
        self.column_names, self._columns = list(columns), list(columns.values())

    def column(self, number):
        return self._columns[number]


FLAG, NUMBER = [True, False, True, True, False], [0.5, 1.0, -2.0, 3.0, 4.0]
FRAMES = {
    "dummies": (pd.get_dummies(pd.DataFrame({"a": NUMBER, "b": list("pqppq")}))[["b_p", "a"]], "float64"),
    "float32": (pd.DataFrame({"flag": FLAG, "a": pd.array(NUMBER, "float32")}), "float32"),
    "nullable": (pd.DataFrame({"flag": pd.array(FLAG, "boolean"), "a": pd.array(NUMBER, "Float64")}), "float64"),
    "columns of one name": (pd.DataFrame(np.c_[FLAG, NUMBER], columns=["a", "a"]).astype("float32"), "float32"),
    "polars": (pl.DataFrame({"flag": FLAG, "a": NUMBER}), "float64"),
    "Arrow": (ArrowTable(flag=np.array(FLAG), a=np.array(NUMBER)), "float64"),
}


@pytest.mark.parametrize(("frame", "dtype"), FRAMES.values(), ids=FRAMES)
def test_columns_of_several_dtypes_are_features(frame, dtype):
    target = np.arange(5.0).astype(dtype)
    result = fastgd.fit(frame, target, epochs=5)
    assert result.w.dtype == dtype
    assert result.w.tolist() == fastgd.fit(np.c_[FLAG, NUMBER].astype(dtype), target, epochs=5).w.tolist()


MISSING = {  # 1, missing, 5, 7
    "masked": HIDES_1,
    "masked integers": np.ma.masked_array([1, 99999, 5, 7], mask=[0, 1, 0, 0]),
    "masked inf": np.ma.masked_array([1, np.inf, 5, 7], mask=[0, 1, 0, 0]),
    "masked bfloat16": np.ma.masked_array(np.array([1, 3, 5, 7], ml_dtypes.bfloat16), mask=[0, 1, 0, 0]),
    "masked objects": np.ma.masked_array(np.array([1, "?", 5, 7], object), mask=[0, 1, 0, 0]),
    "netCDF4": OfNetCDF4(HIDES_1),
    "scipy.io": OfSciPy(HIDES_1),
    "dask": OfDask(HIDES_1),
    "xarray": OfXarray(HIDES_1),
    "xarray of dask": OfXarray(OfDask(HIDES_1)),
    "masked in a list": [1.0, np.ma.masked, 5, 7],
    "masked numbers in a list": list(HIDES_1),
    "None in a list": [1, None, 5, 7],
    "None in a tuple": (1, None, 5, 7),
    "None in a deque": deque([1, None, 5, 7]),
    "NA in a list": [1, NA, 5, 7],
    "NaT in a list": [1, pd.NaT, 5, 7],
    "objects": np.array([1, None, 5.0, np.float32(7)], object),
    "a NaN among objects": np.array([1, np.nan, 5, 7], object),
    "series": pd.Series([1, None, 5, 7], dtype=object),
    "Int64": pd.Series([1, None, 5, 7], dtype="Int64"),
    "Float32": pd.Series([1, None, 5, 7], dtype="Float32"),
    "a file without __array__": OnlyIndexed(HIDES_1),
    "a list of another class": UserList(HIDES_1),
    "polars": pl.Series([1, None, 5, 7]),
    "polars, float32": pl.Series([1, None, 5, 7], dtype=pl.Float32),
}


@pytest.mark.parametrize("value", MISSING.values(), ids=MISSING)
def test_what_is_missing_is_seen(value):
    assert np.array_equal(read(value, "X").filled(), [1, np.nan, 5, 7], equal_nan=True)


GAP, WHOLE = [1, np.nan, 5, 7], [1, 2, 3, 4]
NESTED = {
    "masked arrays": ([HIDES_1, HIDES_1], [GAP, GAP]),
    "a mask in one": ((x, HIDES_1), [WHOLE, GAP]),
    "masked integers": ([MISSING["masked integers"]] * 2, [GAP, GAP]),
    "deeper": ([[HIDES_1, x], [x, HIDES_1]], [[GAP, WHOLE], [WHOLE, GAP]]),
    "variables": ([OfNetCDF4(HIDES_1), OfDask(HIDES_1), OfSciPy(HIDES_1)], [GAP] * 3),
    "files without __array__": (OnlyIndexed(np.ma.stack([HIDES_1, HIDES_1])), [GAP, GAP]),
    "a list of another class": (UserList([HIDES_1, x]), [GAP, WHOLE]),
    "a sequence": (Sequence(HIDES_1, HIDES_1), [GAP, GAP]),
    "series": ([pd.Series([1, None, 5, 7], dtype="Int64"), pl.Series([1, None, 5, 7])], [GAP, GAP]),
    "lists": ([[1, None, 5, 7], [1.0, 2.0, 3.0, 4.0]], [GAP, WHOLE]),
    "deques in a tuple": ((deque([1, None, 5, 7]), [1, 2, 3, NA]), [GAP, [1, 2, 3, np.nan]]),
}


@pytest.mark.parametrize(("value", "want"), NESTED.values(), ids=NESTED)
def test_what_is_missing_is_seen_in_lists(value, want):
    assert np.array_equal(read(value, "X").filled(), want, equal_nan=True)


def test_what_is_missing_in_frames():
    frame = pd.DataFrame({"flag": pd.array([True, None, False], "boolean"), "a": pd.array([1, 2, None], "Float32"), "b": [None, 1, 2.5]})
    want = [[1, 1, np.nan], [np.nan, 2, 1], [0, np.nan, 2.5]]
    assert np.array_equal(read(frame, "X").filled(), want, equal_nan=True)
    same = pl.DataFrame({"flag": [True, None, False], "a": [1, 2, None], "b": [None, 1.0, 2.5]})
    assert np.array_equal(read(same, "X").filled(), want, equal_nan=True)


@pytest.mark.parametrize("value", [HIDES_1, np.ma.masked, [0.1, None, 0.2, 0.3], pd.Series([0.1, NA, 0.2, 0.3], dtype=object)], ids=repr)
@pytest.mark.parametrize("name", ["w0", "intercept0", "lr", "momentum", "weight_decay", "betas"])
def test_options_have_no_missing_numbers(no_work, value, name):
    pattern = r"^\S+ must be a real number or an array of them; a number is missing( at index 1)? \(masked, None or NA\): give \S+\.filled"
    if name in ("momentum", "weight_decay"):
        refused(ValueError, pattern, x, y, optimizer=SGD(**{name: value}))
    elif name == "betas":
        refused(ValueError, pattern, x, y, optimizer=fastgd.Adam(betas=(value, 0.9)))
    else:
        refused(ValueError, pattern, x, y, intercept=True, **{name: value})


@pytest.mark.parametrize("name", ["epochs", "tol", "min_samples", "history", "threads", "seed"])
def test_counts_are_not_masked(no_work, name):
    for value in (np.ma.masked, np.ma.array(3, mask=True), HIDES_1):
        refused(TypeError, f"^{name} must be ", x, y, **{name: value})


def test_solve_has_no_missing_weight_decay():
    with pytest.raises(ValueError, match=r"^weight_decay must be .*; a number is missing at index 1"):
        fastgd.solve(x, y, weight_decay=HIDES_1)


def test_read_array_refuses_what_is_missing():
    assert read_array([1, 2, 3], "X").tolist() == [1, 2, 3]
    with pytest.raises(ValueError, match=r"^X must be an array of real numbers; a number is missing at index \(1, 0\)"):
        read_array([[1, 2], [None, 3]], "X")


def test_predictions_of_missing_features_are_nan():
    result = fastgd.fit(x, y, epochs=50)
    assert np.array_equal(result.predict(HIDES_1), result.predict([1, np.nan, 5, 7]), equal_nan=True)
    assert np.isnan(result.predict([1, None])).tolist() == [False, True]


def test_too_little_memory_for_an_array_is_no_fault_of_the_argument():
    class TooLarge:
        def __array__(self, *given, **options):
            raise MemoryError("Unable to allocate 9 GiB")

    with pytest.raises(MemoryError, match="9 GiB"):
        fastgd.fit(TooLarge(), [1.0, 2])


FRAMES = {
    "pandas": (pd.DataFrame, lambda frame, names: frame[names], "X[['a', 'b', 'c']]"),
    "polars": (pl.DataFrame, lambda frame, names: frame[names], "X[['a', 'b', 'c']]"),
    "pyarrow": (pa.table, lambda frame, names: frame.select(names), "X.select(['a', 'b', 'c'])"),
}


@pytest.mark.parametrize("library", FRAMES)
@pytest.mark.parametrize("dtype", [None, np.float32])  # of the second column: one dtype for all, or several
def test_frames_have_the_columns_of_the_fit_in_its_order(library, dtype):
    make, pick, in_order = FRAMES[library]
    rng = np.random.default_rng(3)
    data = dict(zip("abcd", rng.normal(size=(4, 30)), strict=True))
    data["b"] = data["b"].astype(dtype)
    whole = make(data)
    X, Y = pick(whole, ["a", "b", "c"]), data["a"] + 2 * data["b"] - data["c"]
    result = fastgd.solve(X, Y)
    np.testing.assert_allclose(result.predict(X), Y, atol=1e-5)
    by_position = "or an array, whose columns are taken by their position"
    for wrong, what in (
        (pick(whole, ["c", "b", "a"]), f"has the columns of the fit in another order: give {in_order}, {by_position}"),
        (whole, f"has 4 columns, and the fit had 3 of them: give {in_order}, {by_position}"),
        (pick(whole, ["a", "b", "d"]), f"has no column 'c', which the fit had: give a frame that has it, {by_position}"),
        (pick(whole, ["a", "b"]), f"has no column 'c', which the fit had: give a frame that has it, {by_position}"),
    ):
        for given in (result.predict, lambda X: result.plot_fit(X, Y)):
            with pytest.raises(ValueError, match=re.escape(f"X {what}")):
                given(wrong)
        with pytest.raises(ValueError, match=re.escape(f"X_val {what}".replace("give X", "give X_val"))):
            fastgd.fit(X, Y, X_val=wrong, y_val=Y)


def test_columns_without_names_are_taken_by_their_position():
    rng = np.random.default_rng(4)
    X, Y = rng.normal(size=(30, 2)), rng.normal(size=30)
    named, numbered = pd.DataFrame(X, columns=["a", "b"]), pd.DataFrame(X)
    expected = fastgd.solve(X, Y).predict(X)
    for of_fit, new in ((X, named), (named, X), (named, numbered), (numbered, named), (named, X.tolist())):
        assert (fastgd.solve(of_fit, Y).predict(new) == expected).all()
    few = fastgd.fit(X, Y, X_val=named, y_val=Y)
    assert few.val_loss == fastgd.fit(named, Y, X_val=X, y_val=Y).val_loss


def test_columns_of_the_fit_are_not_listed_where_they_are_many():
    X = pd.DataFrame(np.eye(40), columns=[f"column_{k}" for k in range(40)])
    result = fastgd.solve(X, np.ones(40))
    with pytest.raises(ValueError, match="another order: give the columns that the fit had, in their order, or an array"):
        result.predict(X[X.columns[::-1]])
