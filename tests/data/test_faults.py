"""The sentence that names the first number that is not finite."""

from __future__ import annotations

import numpy as np
import pytest

import fastgd
from fastgd.data.items import Items
from tests.support.refusals import refused

repeat = np.broadcast_to


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
    "not representable": (poisoned((9, 2), (4, 0), 1e39), np.ones(9), r"^X is too large for float32: 1e\+39 in row 4, feature 0; give "),
    "y not representable": (np.ones(9), poisoned((2, 9), (1, 4), -1e39), r"^y is too large for float32: -1e\+39 in row 4 of fit 1 of 2; "),
}  # fmt: skip


@pytest.mark.parametrize(("X", "y", "pattern"), NOT_FINITE.values(), ids=NOT_FINITE)
def test_where_data_are_not_finite(backend, X, y, pattern):
    dtype = "float32" if "too large" in pattern else None
    refused(ValueError, pattern, X, y, backend=backend, epochs=2, dtype=dtype)
    refused(ValueError, pattern, X, y, backend=backend, epochs=2, dtype=dtype, lr=0.0)
    refused(ValueError, pattern, X, y, backend=backend, epochs=2, dtype=dtype, lr=[[[0.0]], [[0.1]]], intercept=True)
    if backend == "cpu":
        refused(ValueError, pattern, X, y, algorithm="stream", epochs=0, dtype=dtype, lr=0.0)
    if dtype is None:
        refused(ValueError, "give nan_policy='omit' to leave such .*, or 'propagate' to get NaN for such fits alone", X, y, backend=backend)


PLACES = {  # {array that is spoiled: (number, what the error says)}
    "X": (np.inf, r"^X is not finite: inf in row 6, feature 1 of fit 19998 of 20,000\. Clean"),
    "y": (np.nan, r"^y is not finite: nan in row 6 of fit 19998 of 20,000\. Clean"),
    "sample_weight": (np.nan, r"^sample_weight is not finite: nan in row 6 of fit 19998 of 20,000\. Clean"),
    "negative": (-2.0, r"^sample_weight must be at least 0; it is -2 in row 6 of fit 19998 of 20,000$"),
}


@pytest.mark.parametrize("layout", ["plain", "samples first", "float64", "masked"])
@pytest.mark.parametrize("spoiled", PLACES)
def test_the_place_is_found_in_few_pieces(spoiled, layout, monkeypatch):
    """As fast as the fit: items are taken many at a time, also where bad numbers of weight 0 come
    first."""
    X, y, weights = np.ones((20_000, 9, 2), np.float32), np.ones((20_000, 9), np.float32), np.ones((20_000, 9), np.float32)
    X[:, 3], weights[:, 3] = np.nan, 0
    value, pattern = PLACES[spoiled]
    {"X": X[..., 1], "y": y}.get(spoiled, weights)[19_998, 6] = value
    if layout == "samples first":
        y, weights = (np.ascontiguousarray(a.T).T for a in (y, weights))
    elif layout == "float64":
        X, y, weights = (a.astype("f8") for a in (X, y, weights))
    elif layout == "masked":
        y = np.ma.masked_array(y, mask=False)
        y[0, 3] = np.ma.masked
    dtype = "float32" if layout == "float64" else None
    taken = []
    monkeypatch.setattr(Items, "_at", lambda self, *where, at=Items._at: (taken.append(1), at(self, *where))[1])
    refused(ValueError, pattern, X, y, sample_weight=weights, lr=0.1, epochs=1, dtype=dtype)
    assert len(taken) < 100


def test_bad_numbers_of_weight_0_are_passed_over():
    """Fits share X and the weights along different axes."""
    rng = np.random.default_rng(0)
    X, weights, y = rng.standard_normal((4, 1, 9, 2)), np.ones((1, 5, 9)), rng.standard_normal((4, 5, 9))
    X[2, 0, 7, 1], weights[0, :, 7] = np.nan, 0
    assert (fastgd.fit(X, y, sample_weight=weights, epochs=1).n_used == 8).all()
    weights[0, 3, 7] = 1
    refused(ValueError, r"^X is not finite: nan in row 7, feature 1 of fit \(2, 0\) of 20", X, y, sample_weight=weights, epochs=1)
    y[1, 2, 0] = np.inf
    turned = y.transpose(1, 0, 2).copy().transpose(1, 0, 2)
    refused(ValueError, r"^[Xy] is not finite", X, turned, sample_weight=weights, epochs=1)
    weights[0, 3, 7] = 0
    refused(ValueError, r"^y is not finite: inf in row 0 of fit \(1, 2\) of 20", X, turned, sample_weight=weights, epochs=1)


def test_the_place_is_found_among_many_fits():
    X = np.ones((300_000, 7), np.float32)
    X[299_999, 6] = np.inf
    refused(ValueError, "inf in row 6, feature 0 of fit 299999 of 300,000", X[..., None], np.ones(7, np.float32), lr=0.1, epochs=1)
