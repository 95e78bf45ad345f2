"""The formulas of docs/error-bound.md, written out from the page, against the code.

The one known exception of the bound is measured, too.
"""

from __future__ import annotations

import re

import numpy as np
import pytest

import fastgd
from fastgd.verification.bound import check_history
from fastgd.verification.bound.yardstick import Yardstick
from tests.support.paths import ROOT

ACCURACY = (ROOT / "docs" / "accuracy.md").read_text("utf-8")

T = np.longdouble


def a(m):
    return min(T(m) + 2, 6 * np.sqrt(T(m)) + 2)


@pytest.mark.parametrize("held_higher", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [1.0, 2.0**-100], ids=["ordinary", "small"])
def test_one_step(dtype, reduction, intercept, weighted, held_higher, size):
    """|δg|, Λ and ℓ of the sections up to "State in higher precision"; small data show the η."""
    rng = np.random.default_rng(1)
    n, d = 50, 3
    D = d + int(intercept)
    X, y, omega = size * rng.normal(size=(n, d)), size * rng.normal(size=n), rng.uniform(0.1, 3, n)
    X, y, omega, w = (part.astype(dtype) for part in (X, y, omega, size * rng.normal(size=D)))
    yardstick = Yardstick(X, y, reduction, dtype, intercept, omega if weighted else None, held_higher=held_higher)
    truth = yardstick.measure(yardstick.parameters(w, "w"))
    expected, bound = truth.step(np.array([0.1], yardstick.type), yardstick)

    u, eta = T(np.finfo(dtype).eps) / 2, T(np.finfo(dtype).smallest_subnormal)
    X, y, w, omega = np.c_[X, np.ones((n, D - d))].astype(T), y.astype(T), w.astype(T), omega.astype(T) if weighted else np.ones(n, T)
    W = omega.sum()
    s = 2 / W if reduction == "mean" else T(2)
    r = X @ w - y
    g = s * X.T @ (omega * r)
    delta = u * (a(D) * (abs(X) @ abs(w)) + abs(y) + abs(r)) + (D + 2 + held_higher * abs(X).sum(1)) * eta
    loss = omega @ (r * r) / W
    if weighted:
        b = a(n) - 2 if reduction == "mean" else 0
        underflow = ((s + 2 + omega) @ abs(X) + max(1, s) * n) * eta
        dg = s * abs(X).T @ (omega * (delta + a(n + 2) * u * abs(r))) + underflow + (3 + b) * u * abs(g) + 2 * eta
        spread = 2 * (omega * abs(r)) @ delta + delta @ (omega * delta) + (a(n + 2) + 2) * u * omega @ (r * r)
        Lambda = (spread + (abs(r).sum() + n) * eta) / W + (2 + (a(n) - 2)) * u * loss + 2 * eta
    else:
        underflow = max(1, s) * (abs(X).sum(0) + n) * eta
        dg = s * abs(X).T @ (delta + a(n) * u * abs(r)) + underflow + 3 * u * abs(g) + 2 * eta
        Lambda = (2 * abs(r) @ delta + delta @ delta + (a(n) + 2) * u * r @ r) / n + 2 * u * loss + 2 * eta
    lr = T(yardstick.extended(0.1)[()])
    ell = lr * dg + 2 * u * abs(lr * g) + u * abs(w - lr * g) + 2 * eta + held_higher * (u * abs(w) + eta)

    own_rounding = 100 * n * np.finfo(yardstick.type).eps  # of both ways to evaluate the formulas
    for from_page, from_code in ((dg, truth.gradient_error[0]), (Lambda, truth.loss_error[0]), (ell, bound[0])):
        assert (abs(from_page - from_code) <= own_rounding * from_page).all()
    assert (abs(w - lr * g - expected[0]) <= own_rounding * (abs(w) + lr * abs(g))).all()


EXCEPTION = [(1, 100, 1e-6), (1, 1000, 1.0), (1, 1000, 1e-6), (10, 1000, 1e-6), (1, 10_000, 1e-4)]


@pytest.mark.parametrize(("n", "D", "share"), EXCEPTION)
def test_the_known_exception_is_as_bad_as_the_page_says(n, D, share):
    """docs/accuracy.md, "The known exception": wide data, predictions much smaller than y."""
    X, y = np.random.default_rng(n * D).normal(size=(n, D)).astype(np.float32), np.ones(n, np.float32)
    lr = float(np.float32(share / (2 / n * np.linalg.eigvalsh(X.astype(float) @ X.T.astype(float))[-1])))
    told = re.findall(rf"^\| {n} × {D:,} \| ([\d.e-]+) \| ([\d.]+), ([\d.]+) \|", ACCURACY, re.MULTILINE)
    of_stream = next((float(w), float(loss)) for rate, w, loss in told if float(rate) == share)
    shares = {}
    for backend in ("cpu", "numpy"):
        result = fastgd.fit(X, y, lr=lr, epochs=5, history=True, backend=backend)
        found = check_history(X, y, result.history.w, result.history.loss, lr=lr, dtype="float32")
        shares[result.algorithm] = found.tau_w, found.tau_loss
    assert tuple(float(f"{tau:.3g}") for tau in shares["stream"]) == of_stream
    assert max(shares["manual"]) < 1
