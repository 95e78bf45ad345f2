"""What is not an array of real numbers: the error says what it is, and what to give instead."""

from __future__ import annotations

import datetime

import ml_dtypes
import numpy as np
import pandas as pd
import polars as pl
import pytest

import fastgd
from tests.support.hidden_masks import OfNetCDF4
from tests.support.refusals import message, refused, x, y
from tests.support.values_that_raise import VALUES

DAYS = pd.date_range("2020-01-01", periods=4)
FORMULA = r"give \(t - t\[0\]\) / np\.timedelta64\(1, 'D'\)$"
DAY, PERIODS = np.timedelta64(1, "D"), pd.period_range("2020-01-01", periods=4)
MOMENTS = [datetime.datetime(2020, 1, 1 + k) for k in range(4)]
OF_OTHERS = rf"with t = np\.asarray\(X\) {FORMULA}"
AS_ARRAY = rf"with t = np\.asarray\(X, 'datetime64\[us\]'\) {FORMULA}"

OF_DURATIONS = rf"with t = np\.asarray\(X, 'timedelta64\[us\]'\) {FORMULA}"

TIMES = {  # {what: (X, what the error says after the name)}
    "datetime64": (DAYS.to_numpy(), f"it has dtype datetime64.*: of times t {FORMULA}"),
    "days": (DAYS.to_numpy().astype("M8[D]"), rf"datetime64\[D\]: of times t {FORMULA}"),
    "timedelta64": (np.arange(4) * DAY, r"it has dtype timedelta64\[D\]: of durations t give t / np\.timedelta64\(1, 'D'\)$"),
    "index": (DAYS, f"it has dtype datetime64.*{OF_OTHERS}"),
    "series": (pd.Series(DAYS), OF_OTHERS),
    "series without a 0": (pd.Series(DAYS, index=range(3, 7)), OF_OTHERS),
    "series of durations": (pd.Series(DAYS - DAYS[0], index=list("abcd")), r"with t = np\.asarray\(X\) give t / "),
    "periods": (PERIODS, rf"with t = np\.asarray\(X\.astype\('datetime64\[us\]'\)\) {FORMULA}"),
    "series of periods": (pd.Series(PERIODS), r"with t = np\.asarray\(X\.astype\('datetime64\[us\]'\)\)"),
    "time zone": (DAYS.tz_localize("UTC"), AS_ARRAY),
    "list of datetimes": (MOMENTS, AS_ARRAY),
    "list of dates": ([moment.date() for moment in MOMENTS], AS_ARRAY),
    "list of NumPy's": (list(DAYS.to_numpy()), AS_ARRAY),
    "list of pandas'": (list(DAYS), AS_ARRAY),
    "list of durations": ([moment - MOMENTS[0] for moment in MOMENTS], OF_DURATIONS),
    "list of NumPy's durations": (list(np.arange(4) * DAY), OF_DURATIONS),
    "objects": (np.array(MOMENTS), AS_ARRAY),
    "polars": (pl.Series(MOMENTS), OF_OTHERS),
    "netCDF4": (OfNetCDF4(DAYS.to_numpy()), OF_OTHERS),
}


@pytest.mark.parametrize(("value", "pattern"), TIMES.values(), ids=TIMES)
def test_times(no_work, value, pattern):
    refused(TypeError, rf"^X must be an array of real numbers; .*{pattern}", value, y)


@pytest.mark.parametrize("value", [value for value, _ in TIMES.values()], ids=TIMES)
def test_what_the_error_advises_for_times_works(value):
    with pytest.raises(TypeError) as raised:
        fastgd.fit(value, y)
    where, _, advice = str(raised.value).rpartition("give ")
    t = eval(where.rpartition("with t = ")[2], {"X": value, "np": np}) if "with t" in where else value
    days = eval(advice, {"t": t, "np": np})
    assert fastgd.fit(days, y, epochs=3).w == fastgd.fit(x - 1, y, epochs=3).w


def test_other_times(no_work):
    refused(TypeError, rf"^X must be an array of real numbers; .*{AS_ARRAY}", [pd.NaT, *DAYS[1:]], y)
    refused(TypeError, rf"^X must be an array of real numbers; it is .*{FORMULA}", MOMENTS[0], y)
    refused(TypeError, r"\(time\) at index 0: convert it to numbers first$", [datetime.time(k) for k in range(4)], y)


@pytest.mark.parametrize("unit", ["Y", "M", "D", "s"])
def test_what_the_error_advises_fits_the_unit(unit):
    """Months and years are no number of days: NumPy divides them by months and years alone."""
    t = np.arange(4).astype(f"M8[{unit}]")
    for times, formula in ((t, "(t - t[0]) / "), (t - t[0], "t / ")):
        with pytest.raises(TypeError) as raised:
            fastgd.fit(times, y)
        advice = str(raised.value).rpartition("give ")[2]
        assert advice.startswith(formula)
        numbers = np.arange(4) / {"s": 86400}.get(unit, 1)  # days, or months, or years
        assert fastgd.fit(eval(advice, {"t": times, "np": np}), y, epochs=3).w == fastgd.fit(numbers, y, epochs=3).w


def test_columns_are_named(no_work):
    frame = pd.DataFrame({"v": x, "day": DAYS})
    refused(
        TypeError,
        rf"^X\['day'\] must be an array of real numbers; it has dtype datetime64.*with t = np\.asarray\(X\['day'\]\) {FORMULA}",
        frame,
        y,
    )
    refused(TypeError, r"^X\['day'\] must be an array of real numbers; ", pl.DataFrame({"v": x, "day": MOMENTS}), y)
    for city in (pd.Categorical(list("abca")), list("abca")):
        for make in (pd.DataFrame, pl.DataFrame):
            frame = make({"v": x, "city": city if make is pd.DataFrame else list(city)})
            refused(TypeError, r"^X\['city'\] must be .*'a'.*: encode categories as numbers first, as pandas\.get_dummies does$", frame, y)


class Sparse:
    """A matrix of scipy.sparse, which NumPy takes as one object."""

    shape = (4, 4)

    def toarray(self):
        return np.eye(4)


class SparseToo:
    """An array of a library whose word for it is another."""

    def todense(self):
        return np.eye(4)


class Dataset:
    """A dataset of torch: NumPy would take it for a list."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return x[index], y[index]


class TensorDataset(Dataset):
    pass


OTHERS = {
    "sparse": (Sparse(), r"it is sparse \(Sparse\): give X\.toarray\(\)$"),
    "sparse, another": (SparseToo(), r"it is sparse \(SparseToo\): give X\.todense\(\)$"),
    "dataset": (TensorDataset(), r"it is a TensorDataset: give the arrays in it, such as X, y = dataset\.tensors"),
    "loader": (type("DataLoader", (), {})(), "it is a DataLoader: give the arrays in it"),
    "complex": (x + 0j, r"it is complex \(complex128\): give X\.real"),
    "complex list": ([1j, 2, 3, 4], r"with 1j \(complex\) at index 0: give X\.real"),
    "strings": (list("abcd"), r"'a' .*: encode categories as numbers first"),
    "array of strings": (np.array(list("abcd")), "it is text, of dtype <U1, such as 'a': encode categories as numbers first"),
    "no strings": (np.array([], "U1"), "it is text, of dtype <U1, and empty"),
    "numbers as text": (["1", "2.5"], r"'1' .*: give np\.asarray\(X, 'float64'\)$"),
    "bytes": (np.array([b"1"] * 4), r"dtype \|S1, such as b'1': give np"),
    "string dtype": (np.array(["1"] * 4, np.dtypes.StringDType()), r"StringDType.*, such as '1': give np"),
    "categories": (pd.Series(list("abca"), dtype="category"), "'a' .*: encode categories"),
    "arrays of one length as objects": (pd.Series([x, x]), r"it has dtype object, with .* \(ndarray\) at index 0: give list\(X\)"),
    "4-bit integers": (x.astype(ml_dtypes.int4), r"dtype int4: give X\.astype\('float64'\) if these are numbers$"),
    "ragged": (
        [[1.0, 2.0], [3.0]],
        r"it is ragged: X\[0\] has shape \(2,\), X\[1\] has \(1,\); fill the shorter ones up with NaN and give nan",
    ),
    "ragged arrays": ([x, x[:3]], r"it is ragged: X\[0\] has shape \(4,\), X\[1\] has \(3,\)"),
    "ragged masked arrays": ([x, np.ma.array(x[:3])], r"it is ragged: X\[0\] has shape \(4,\), X\[1\] has \(3,\)"),
    "ragged inside": ([[[1, 2], [3, 4]], [[1, 2], [3]]], r"it is ragged: X\[1\]\[0\] has shape \(2,\), X\[1\]\[1\] has \(1,\)"),
    "ragged arrays in lists": ([[x], [x[:3]]], r"it is ragged: X\[0\] has shape \(1, 4\), X\[1\] has \(1, 3\)"),
    "ragged with None": ([[1.0, None], [3.0]], r"it is ragged: X\[0\] has shape \(2,\), X\[1\] has \(1,\)"),
    "lists and numbers": ([[1.0, 2.0], 3.0], r"it is ragged: X\[0\] has shape \(2,\), X\[1\] has \(\)"),
}


@pytest.mark.parametrize(("value", "pattern"), OTHERS.values(), ids=OTHERS)
def test_what_to_give_instead(no_work, value, pattern):
    refused(TypeError, rf"^X must be an array of real numbers; .*{pattern}", value, y)


def test_datasets_of_torch(no_work, torch):
    data = torch.utils.data.TensorDataset(torch.ones(4, 1), torch.ones(4))
    for value in (data, torch.utils.data.DataLoader(data), torch.utils.data.Subset(data, [0, 1])):
        refused(TypeError, rf"^X must be an array of real numbers; it is a {type(value).__name__}: give the arrays in it", value, y)
        refused(TypeError, r"^y must be an array of real numbers; it is a \w+: give the arrays in it", x, value)
    refused(TypeError, r"^X must be an array of real numbers; it is Linear\(", torch.nn.Linear(1, 1), y)


def test_a_dataset_of_torch_alone(no_work, torch):
    """X and y are in it: that y is missing is not what helps."""
    data = torch.utils.data.TensorDataset(torch.ones(4, 1), torch.ones(4))
    for value in (data, torch.utils.data.Subset(data, [0, 1])):
        refused(TypeError, rf"^y is missing, and X is no array: it is a {type(value).__name__}: give the arrays in it", value)


def test_ragged_data_filled_up_with_nan_work():
    """What the error advises."""
    rows = [[1.0, 2.0, 4.0], [3.0, 1.0, np.nan]]
    result = fastgd.solve([1.0, 2.0, 3.0], rows, nan_policy="omit")
    assert result.n_used.tolist() == [3, 2]
    assert result.w[1] == 1.0


ARGUMENTS = (
    "X", "y", "lr", "epochs", "optimizer", "schedule", "w0", "intercept", "intercept0", "standardize", "state", "sample_weight",
    "reduction", "seed", "tol", "excess_loss", "nan_policy", "nodata", "min_samples", "history", "dtype", "algorithm", "backend", "threads",
    "memory_limit", "progress", "out",
)  # fmt: skip


def _outcome(call):
    try:
        fastgd.fit(**call)
    except Exception as error:
        return str(error)


@pytest.mark.parametrize("kind", VALUES)
def test_values_that_raise_when_they_are_asked_what_they_are(kind, no_work):
    """In every argument, alone and within what an argument may hold: the error is in words."""
    value = VALUES[kind]()
    given = [{name: value} for name in ARGUMENTS]
    given += [{name: [value] * 8} for name in ("X", "y", "lr", "w0", "sample_weight", "nodata")]
    given += [{"out": {"w": value}}, {"nodata": {"y": value}}, {"optimizer": fastgd.SGD(momentum=value)}]
    given += [{"optimizer": fastgd.Adam(betas=(0.9, value))}]
    for options in given:
        call = {"X": np.ones((8, 2)), "y": np.ones(8), **options}
        if kind == "repr of a number" and "work began" in _outcome(call):
            continue  # it is a number all the same
        with pytest.raises((ValueError, TypeError)) as caught:
            fastgd.fit(**call)
        assert "\n" not in message(caught), options.keys()
