"""The sentence that names the first number that is not finite."""

from __future__ import annotations

import numpy as np
import pytest

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
