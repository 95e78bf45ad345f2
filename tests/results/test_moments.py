"""Moments: parts are added as the specification says, features selected, files read again."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import fastgd
from fastgd import Moments
from tests.support.refusals import refused_call
from tests.support.values_that_raise import VALUES

ARRAYS = ("gram", "gram_exponents", "weighing", "gram_index", "target", "exponents", "n_used", "invalid")


def same(a: Moments, b: Moments) -> bool:
    others = [field.name for field in dataclasses.fields(Moments) if field.name not in ARRAYS]
    equal = all(np.array_equal(getattr(a, name), getattr(b, name), equal_nan=True) for name in ARRAYS)
    return equal and all(getattr(a, name) == getattr(b, name) for name in others)


def data(shape: tuple[int, ...], n: int, d: int, dtype: str, weighted: bool):
    rng = np.random.default_rng(n + d)
    X = (rng.normal(size=(*shape, n, d)) * 10.0 ** rng.integers(-3, 4, d)).astype(dtype)
    weights = (rng.uniform(size=(*shape, n)) * 8.0 ** rng.integers(-2, 3, n)).astype(dtype) if weighted else None
    return X, rng.normal(size=(*shape, n)).astype(dtype), weights


def part_of(X, y, weights, first: int, stop: int, **options) -> Moments:
    weights = None if weights is None else weights[..., first:stop]
    return fastgd.compress(X[..., first:stop, :], y[..., first:stop], sample_weight=weights, **options)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("n", "length"), [(22_000, 4096), (22_000, 8192), (8192, 4096), (5000, 4096), (100, 4096)])
def test_parts_of_a_power_of_two_of_chunks_have_the_bits_of_the_whole(dtype, weighted, n, length):
    X, y, weights = data((2,), n, 3, dtype, weighted)
    parts = (part_of(X, y, weights, first, first + length, intercept=True) for first in range(0, n, length))
    assert same(Moments.merge(parts), fastgd.compress(X, y, sample_weight=weights, intercept=True))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_another_multiple_of_4096_gives_other_bits(dtype):
    # sums of chunks: the last bits depend on whether the second or the fourth is added to the third
    sums = [1.0, 0.0, 2.0**-53, -(2.0**-53), 0.0, 0.0] if dtype == "float32" else [1.0, 2.0**-60, 2.0**-120, -(2.0**-60), 0.0, 0.0]
    X, y = np.ones((6 * 4096, 1), dtype), np.zeros(6 * 4096, dtype)
    for chunk, total in enumerate(sums):
        y[4096 * chunk] = total
    whole = fastgd.compress(X, y)
    for length, is_whole in ((4096, True), (8192, True), (3 * 4096, False)):
        merged = Moments.merge(part_of(X, y, None, first, first + length) for first in range(0, len(y), length))
        assert np.array_equal(merged.target, whole.target) == is_whole


def entry_of(moments: Moments, fit: int, i: int, j: int) -> Fraction:
    """A_ij, i ≤ j ≤ D, as the exact value of what is stored."""
    D, record = moments.n_parameters, moments.gram_index[fit]
    if j == D:
        planes, exponents = moments.target[fit, :, i], moments.exponents[fit]
    else:
        planes, exponents = moments.gram[record, :, j * (j + 1) // 2 + i], moments.gram_exponents[record]
    power = int(exponents[i] + exponents[j] + moments.weighing[record, 2])
    return sum(map(Fraction, planes.tolist())) * Fraction(2) ** power


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("weighted", [False, True])
def test_other_cuts_have_the_same_value_but_for_rounding(dtype, weighted):
    n, u = 500, Fraction(2) ** (-53 if dtype == "float32" else -104)
    X, y, weights = data((2,), n, 2, dtype, weighted)
    cuts = [0, 1, 33, 34, 210, n]
    merged = Moments.merge(part_of(X, y, weights, first, stop) for first, stop in pairwise(cuts))
    assert merged.n_used.tolist() == [n, n]
    for fit in range(2):
        columns = [list(map(Fraction, column.tolist())) for column in (X[fit, :, 0], X[fit, :, 1], y[fit])]
        weight = [Fraction(1)] * n if weights is None else list(map(Fraction, weights[fit].tolist()))
        for j in range(3):
            for i in range(j + 1):
                terms = [w * a * b for w, a, b in zip(weight, columns[i], columns[j], strict=True)]
                # n / 32 + 5 additions in a lane and a butterfly, 3 between parts, each off by u
                assert abs(entry_of(merged, fit, i, j) - sum(terms)) <= (n // 32 + 10) * u * sum(map(abs, terms))


def test_a_part_without_samples_changes_nothing():
    X, y, _ = data((3,), 50, 2, "float64", False)
    nothing = fastgd.compress(X[:, :5], np.full((3, 5), np.nan), nan_policy="omit")
    some = fastgd.compress(X, y, nan_policy="omit")
    for merged in (nothing + some, some + nothing):
        found, expected = fastgd.solve(merged), fastgd.solve(X, y)
        assert np.array_equal(found.w, expected.w)
        assert np.array_equal(found.n_used, expected.n_used)
        assert np.array_equal(merged.exponents, some.exponents)


def test_parts_with_and_without_weights_can_be_added():
    X, y, weights = data((), 60, 2, "float64", True)
    of_ones = np.concatenate([np.ones(30), weights[30:]])
    merged = part_of(X, y, None, 0, 30) + part_of(X, y, weights, 30, 60)
    assert merged.weighted
    found, expected = (fastgd.fit(each, lr=0.01, epochs=5).w for each in (merged, fastgd.compress(X, y, sample_weight=of_ones)))
    assert np.array_equal(found, expected)


def test_a_gram_record_that_fits_share_stays_shared():
    X, y, _ = data((), 300, 2, "float32", False)
    many = np.stack([y, 2 * y, -y])
    one, two = fastgd.compress(X[:100], many[:, :100]), fastgd.compress(X[100:], many[:, 100:])
    assert len((one + two).gram) == 1
    gaps = many.copy()
    gaps[1, 7] = np.nan
    own = fastgd.compress(X[:100], gaps[:, :100], nan_policy="omit")
    merged = own + fastgd.compress(X[100:], gaps[:, 100:], nan_policy="omit")
    expected = fastgd.solve(X, gaps, nan_policy="omit")
    assert merged.n_used.tolist() == expected.n_used.tolist() == [300, 299, 300]
    found = fastgd.solve(merged).w
    assert (np.abs(found - expected.w) <= np.spacing(np.abs(expected.w))).all()  # both are rounded to float32 about once


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("features", [[0, 2], [1], 3, slice(1, None), [True, False, False, True], [3, 0, 1]])
def test_selected_features_have_the_bits_of_these_features(dtype, intercept, features):
    X, y, _ = data((2,), 80, 4, dtype, False)
    columns = np.atleast_1d(np.arange(4)[features])
    assert same(fastgd.compress(X, y, intercept=intercept).select(features), fastgd.compress(X[..., columns], y, intercept=intercept))


def test_a_saved_file_has_every_bit(tmp_path: Path) -> None:
    X, y, weights = data((2, 1), 40, 3, "float64", True)
    y = np.broadcast_to(y, (2, 5, 40))
    moments = fastgd.compress(X, y, sample_weight=weights)
    moments.save(tmp_path / "moments")
    again = fastgd.load(tmp_path / "moments")
    assert same(again, moments)
    assert again.leading == (2, 5)
    assert np.array_equal(fastgd.fit(again, lr=1e-7).w, fastgd.fit(moments, lr=1e-7).w)


def test_it_prints_itself() -> None:
    X, y, weights = data((2,), 40, 3, "float64", True)
    y[0, 3] = np.nan
    moments = fastgd.compress(X, y, sample_weight=weights, intercept=True, nan_policy="omit")
    size = sum(getattr(moments, name).nbytes for name in ARRAYS)
    assert moments.nbytes == size
    shown = f"<Moments: fits 2 of 3 features and an intercept; samples 39 to 40, weighted; dtype float64; memory {size / 1024:.1f} KiB>"
    assert repr(moments) == shown
    assert "39 to 40" in moments._repr_html_()
    assert "invalid 1;" in repr(fastgd.compress(X, y, nan_policy="propagate"))


def test_what_does_not_belong_together_is_refused() -> None:
    X, y, _ = data((2,), 40, 3, "float64", False)
    moments = fastgd.compress(X, y)
    refused_call(ValueError, r"fits of shape \(2,\) and \(1,\)", lambda: moments + fastgd.compress(X[:1], y[:1]))
    refused_call(ValueError, "n_features 3 and 2", lambda: moments + fastgd.compress(X[..., :2], y))
    refused_call(ValueError, "dtype float64 and float32", lambda: moments + fastgd.compress(X, y, dtype="float32"))
    refused_call(ValueError, "intercept False and True", lambda: moments + fastgd.compress(X, y, intercept=True))
    with pytest.raises(TypeError, match="unsupported operand"):
        moments + 1
    refused_call(ValueError, "nothing to merge", lambda: Moments.merge([]))
    refused_call(TypeError, "part 1 is", lambda: Moments.merge([moments, X]))
    for index in ([3], 2**63, "a", VALUES["array"]()):
        refused_call(IndexError, "index of 3 features", lambda index=index: moments.select(index))
    refused_call(ValueError, "each once", lambda: moments.select([1, 1]))
    refused_call(ValueError, "at least one", lambda: moments.select([]))
    refused_call(ValueError, "1-D X", lambda: fastgd.compress(X[0, :, 0], y[0]).select([0]))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"gram": np.zeros((2, 2, 5))}, "gram has shape"),
        ({"target": [[1.0]]}, "target is a list"),
        ({"exponents": np.zeros((2, 4))}, "exponents has shape .* float64"),
        ({"gram_index": np.array([0, 2])}, "gram_index names records"),
        ({"leading": (3,)}, "does not broadcast"),
        ({"n_features": 2}, "has shape"),
        ({"n_features": "3"}, "n_features"),
        ({"dtype": "float16"}, "dtype"),
        ({"leading": None}, "leading"),
        ({"keys": None}, "no labels"),
        ({"gram": np.ma.zeros((2, 2, 6))}, "gram is a MaskedArray"),
    ],
)
def test_changed_moments_are_refused(changed, words, tmp_path: Path) -> None:
    X, y, _ = data((2,), 40, 3, "float64", False)
    right = fastgd.compress(X, y)
    wrong = dataclasses.replace(right, **changed)
    for call in (lambda: fastgd.fit(wrong), lambda: wrong + right, lambda: Moments.merge([right, wrong])):
        refused_call(ValueError, words, call)
