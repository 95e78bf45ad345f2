"""Nothing is timed before it agrees: each check lets what is right pass, and finds what is not."""

from __future__ import annotations

import numpy as np
import pytest

import fastgd
from fastgd.speed import agreeing


def samples(dtype=np.float32, n=60, d=3):
    rng = np.random.default_rng(3)
    X = rng.normal(size=(4, n, d)).astype(dtype)
    return X, (X.sum(axis=-1) + rng.normal(size=(4, n))).astype(dtype)


@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_normal_equations_stay_within_what_rounding_may_do(dtype, intercept):
    """Also of columns that are nearly equal, in the data's own dtype; a digit less is found."""
    X, y = samples(dtype)
    for share in (1.0, 0.1, 0.03):
        A = X[0].copy()
        A[:, 1] = A[:, 0] + dtype(share) * A[:, 1]
        own = np.concatenate([A, np.ones((len(A), 1), dtype)], axis=1) if intercept else A
        w = np.linalg.solve(own.T @ own, own.T @ y[0])
        assert w.dtype == dtype
        assert 0 < agreeing.check_coefficients(w, A, y[0], np.finfo(dtype).eps / 2, intercept) < 0.5
    exact = np.linalg.lstsq(own.astype(float), y[0].astype(float), rcond=None)[0]
    with pytest.raises(agreeing.Disagrees, match="times what rounding may do"):
        agreeing.check_coefficients(1.1 * exact, A, y[0], np.finfo(dtype).eps / 2, intercept)


@pytest.mark.parametrize(("n", "number", "intercept"), [(60, 0.0, False), (60, 3.0, True), (2, None, False)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_of_dependent_columns_the_least_w_is_meant(dtype, n, number, intercept):
    """Not any that fits as well."""
    X, y = samples(dtype, n)
    if number is not None:
        X[..., -1] = number
    own = np.concatenate([X[0], np.ones((n, 1), dtype)], axis=1) if intercept else X[0]
    w = np.linalg.pinv(own, rcond=n * np.finfo(dtype).eps) @ y[0]
    assert 0 < agreeing.check_coefficients(w, X[0], y[0], np.finfo(dtype).eps / 2, intercept) < 0.5
    idle = np.linalg.svd(own.astype(float))[2][-1]
    with pytest.raises(agreeing.Disagrees, match="times what rounding may do"):
        agreeing.check_coefficients(w + 0.1 * idle, X[0], y[0], np.finfo(dtype).eps / 2, intercept)


def test_what_rounding_may_do_grows_with_the_square_of_the_condition():
    shares = []
    for small in (1.0, 1e-3):  # the condition is 1 / small, and w is (1, 1)
        A = np.diag([1.0, small])
        shares.append(agreeing.check_coefficients(np.array([1 + 1e-9 / small**2, 1.0]), A, A.sum(axis=1), 2.0**-24))
    assert 0.5 < shares[1] / shares[0] < 2


@pytest.mark.parametrize("options", [{}, {"nan_policy": "omit"}])
def test_a_batch_of_descents(options, monkeypatch):
    X, y = samples()
    if options:
        X[:, 7, 1] = np.nan

    def call():
        return fastgd.fit(X, y, lr=0.05, epochs=8, history=True, **options)

    assert 0 < agreeing.check_descents(call, X, y, 8, {"lr": 0.05}, lr=0.05, **options) <= agreeing.OURS
    with pytest.raises(agreeing.Disagrees, match="tau = "):
        agreeing.check_descents(call, X, y, 8, {"lr": 0.0501}, lr=0.05, **options)
    wrong = call()
    wrong.w[2, 0] = np.nextafter(wrong.w[2, 0], np.float32(9))
    with pytest.raises(agreeing.Disagrees, match=r"fit 2 of .* has another w alone"):
        agreeing.check_descents(lambda: wrong, X, y, 8, {"lr": 0.05}, lr=0.05, **options)


def test_standardized_descents():
    X, y = samples()
    X[..., 0] *= 100

    def call(lr=0.05):
        return fastgd.fit(X, y, lr=lr, epochs=8, standardize=True)

    assert 0 < agreeing.check_standardized(call, X, y, 0.05, 8) <= agreeing.OURS
    with pytest.raises(agreeing.Disagrees, match="standardised fit 0"):
        agreeing.check_standardized(lambda: call(0.05001), X, y, 0.05, 8)
