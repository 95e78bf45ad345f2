"""What is missing in an array: what a mask hides, and values of `nodata`, compared before any
conversion."""

from __future__ import annotations

import math

import ml_dtypes
import numpy as np
import pandas as pd
import polars as pl
import pytest

import fastgd
from fastgd.input.missing import Numbers, as_stored, read_nodata
from fastgd.input.reading import read
from tests.support.hidden_masks import OfDask
from tests.support.refusals import refused, x, y

DATA = ("X", "y", "sample_weight")


OPTIONS = {
    "a number": (-9999, {"X": (-9999,), "y": (-9999,), "sample_weight": (-9999,)}),
    "several": ([254, 255.0], {"X": (254, 255), "y": (254, 255), "sample_weight": (254, 255)}),
    "an array": (np.array([[1, 2]], "u1"), {"X": (1, 2), "y": (1, 2), "sample_weight": (1, 2)}),
    "NumPy's number": (np.float32(0.1), {name: (float(np.float32(0.1)),) for name in DATA}),
    "for y": ({"y": -1}, {"X": (), "y": (-1,), "sample_weight": ()}),
    "of its own for each": ({"X": None, "y": (1e36,), "sample_weight": {0}}, {"X": (), "y": (1e36,), "sample_weight": (0,)}),
    "NaN, which is missing anyhow": ([math.nan, 3, -math.inf], {"X": (3,), "y": (3,), "sample_weight": (3,)}),
}


@pytest.mark.parametrize(("option", "want"), OPTIONS.values(), ids=OPTIONS)
def test_nodata_is_read(option, want):
    assert read_nodata(option, DATA) == want


@pytest.mark.parametrize("option", ["-9999", True, 1j, [None], ["x"], {"y": "x"}, print, np.ma.masked, [[1]]], ids=str)
def test_nodata_that_is_no_number(no_work, option):
    refused(
        TypeError, r"^nodata(\['y'\])? must be a number or several of them, the same for all arrays or in a mapping", x, y, nodata=option
    )


def test_nodata_of_no_array(no_work):
    refused(ValueError, "^nodata has an array 'Y'; there are: X, y, sample_weight$", x, y, nodata={"Y": 0})


@pytest.mark.parametrize("option", [10**400, -(10**5000), [1, 10**400], {"y": 10**400}], ids=["one", "digits", "several", "for y"])
def test_nodata_beyond_every_number_of_an_array(no_work, option):
    refused(ValueError, r"^nodata(\['y'\])? has a number beyond 1\.8e\+308, which no array can hold", x, y, nodata=option)


def test_nodata_that_no_array_can_hold(no_work):
    """-9999 in uint16 data has long become 55537: the caller must know."""
    counts = np.array([1, 2, 3, 4], np.uint16)
    refused(ValueError, "^nodata is -9999, which y, of dtype uint16, cannot hold", x, counts, nodata={"y": -9999})
    refused(ValueError, "^nodata is 0.5, which X, of dtype uint16, and y, of dtype uint16, cannot hold", counts, counts, nodata=0.5)
    frame = pd.DataFrame({"a": counts, "b": counts.astype("i1")})
    refused(ValueError, "^nodata is 70000, which X, ", frame, counts, nodata=70000)
    with pytest.raises(AssertionError, match="work began"):  # X can hold it
        fastgd.fit(x, counts, nodata=-9999)
    with pytest.raises(AssertionError, match="work began"):  # a column of X can
        fastgd.fit(frame, counts, nodata=-100)


HELD = [
    (-9999, "int16", True), (-9999, "uint16", False), (-9999, "float16", True), (255, "uint8", True), (256, "uint8", False),
    (255.0, "uint8", True), (0.5, "int64", False), (2**63, "int64", False), (2**63, "uint64", True), (1, "bool", True), (2, "bool", False),
    (1e36, "float32", True), (1e39, "float32", False), (-3.40282346639e38, "float32", True), (1e-60, "float32", False),
    (0.1, "float32", True), (1e300, "float64", True), (10**400, "float64", False), (65536, "float16", False), (-9999, "bfloat16", True),
]  # fmt: skip


@pytest.mark.parametrize(("number", "name", "held"), HELD, ids=str)
def test_what_a_dtype_can_hold(number, name, held):
    dtype = np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name)
    found = as_stored((number,), dtype)
    assert list(found) == ([number] if held else [])
    if held:
        assert np.array([number]).astype(dtype)[0] == found[number]  # an array of it is stored alike


STORED = {
    "float32": np.array([1, 1e36, 5, 7], "f4"),
    "float32, swapped": np.array([1, 1e36, 5, 7], ">f4"),
    "float64": np.array([1, 1e36, 5, 7]),
    "bfloat16": np.array([1, 1e36, 5, 7]).astype(ml_dtypes.bfloat16),
    "masked": np.ma.masked_array(np.array([1, 1e36, 5, 7], "f4"), mask=False),
    "a list of arrays": [np.float32(1), np.array(1e36, "f4"), np.array(5.0), 7],
    "dask": OfDask(np.array([1, 1e36, 5, 7], "f4")),
    "polars": pl.Series([1, 1e36, 5, 7], dtype=pl.Float32),
    "a list": [1, 1e36, 5, 7],
    "objects": np.array([1, 1e36, 5, 7], object),
}


@pytest.mark.parametrize("value", STORED.values(), ids=STORED)
def test_values_are_compared_in_the_arrays_own_dtype(value):
    """float32(1e36) is 999999961690316245365415600208216064: it is not equal to 1e36."""
    assert read(value, "y", nodata=(1e36,)).missing.tolist() == [False, True, False, False]
    assert np.isfinite(read(value, "y", nodata=(2e36,)).filled()).all()


def test_values_are_compared_as_a_tensor_of_bfloat16_holds_them(torch):
    tensor = torch.tensor([1, -9999, 5, 7], dtype=torch.bfloat16)  # -9984
    assert read(tensor, "y", nodata=(-9999,)).missing.tolist() == [False, True, False, False]


def test_columns_are_compared_in_their_own_dtypes():
    frame = pd.DataFrame({"a": np.array([1e36, 2, 3], "f4"), "b": np.array([1e36, 1, 255]), "c": np.array([255, 254, 0], "u1")})
    missing = read(frame, "X", nodata=(1e36, 255)).filled()
    assert np.isnan(missing).tolist() == [[True, True, True], [False, False, False], [False, True, False]]
    rows = [np.array([1e36, 2], "f4"), np.array([255, 1e36])]
    assert read(rows, "X", nodata=(1e36,)).missing.tolist() == [[True, False], [False, True]]


def test_integers_are_compared_exactly():
    """2^53 + 1 is no float64."""
    value = np.array([2**53, 2**53 + 1, 2**53 + 2])
    assert read(value, "y", nodata=(2**53 + 1,)).missing.tolist() == [False, True, False]


def test_a_mask_and_nodata_are_joined():
    value = np.ma.masked_array([1, -9999, 3, 4], mask=[1, 0, 0, 0])
    numbers = read(value, "y", nodata=(-9999, 4))
    assert np.array_equal(numbers.filled(), [np.nan, np.nan, 3, np.nan], equal_nan=True)
    assert value.mask.tolist() == [True, False, False, False]  # the caller's, unchanged
    assert value.data.tolist() == [1, -9999, 3, 4]


def test_nothing_is_missing():
    numbers = Numbers(x)
    assert numbers.missing is None
    assert numbers.filled() is x
