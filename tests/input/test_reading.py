"""What a caller gives as an array: what works, and what the error says of what does not."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

import fastgd
from fastgd import SGD
from tests.support.refusals import refused, x, y


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
