"""A bad fit harms only itself: NaN, inf and a rate that diverges, among many fits; statuses, epochs
and messages."""

from __future__ import annotations

import numpy as np
import pytest

import fastgd
from fastgd import Status
from tests.support.against_arbiter import same_bits
from tests.support.fit_cases import assert_same, parts_of

NAMES = ["float32", "float64"]


def test_three_of_a_million():
    """NaN in X, inf in y and a diverging rate at 3 of 10⁶ positions: all others keep their bits."""
    m, n = 1_000_000, 8
    rng = np.random.default_rng(1)
    X, y = rng.standard_normal((m, n, 1), np.float32), rng.standard_normal((m, n), np.float32)
    lr = rng.uniform(0, 0.1, m)
    settings = {"epochs": 5, "intercept": True, "nan_policy": "propagate", "history": True}
    clean = fastgd.fit(X, y, lr=lr, **settings)
    assert (clean.status == Status.COMPLETED).all()
    places = np.array([7, m // 2 + 3, m - 1])
    X[places[0], 3] = np.nan
    y[places[1], 5] = np.inf
    lr[places[2]] = 1e37
    poisoned = fastgd.fit(X, y, lr=lr, **settings)
    assert poisoned.status[places].tolist() == [Status.INVALID_DATA, Status.INVALID_DATA, Status.DIVERGED]
    assert poisoned.epochs[places].tolist()[:2] == [0, 0]
    assert 1 <= poisoned.epochs[places[2]] <= 2
    assert not np.isfinite(poisoned.loss[places]).any()
    others = np.ones(m, bool)
    others[places] = False
    theirs = parts_of(clean)
    for name, values in parts_of(poisoned).items():
        assert same_bits(values[others], theirs[name][others]), name
    told = repr(poisoned)
    assert "2 INVALID_DATA" in told
    assert "1 DIVERGED" in told


def clean_and_poisoned(name, poison, **settings):
    rng = np.random.default_rng(2)
    X, y = rng.standard_normal((9, 40, 3)).astype(name), rng.standard_normal((9, 40)).astype(name)
    settings = {"lr": 0.05, "epochs": 6, "history": True, "nan_policy": "propagate"} | settings
    clean = fastgd.fit(X, y, **settings)
    poison(X, y)
    return clean, fastgd.fit(X, y, **settings)


WAYS = [
    {},
    {"algorithm": "moments"},
    {"algorithm": "stream"},
    {"lr": None},
    {"lr": None, "algorithm": "stream"},
    {"intercept": True},
    {"threads": 3},
    {"lr": np.array([0.05, 0.1, 0.2])[:, None]},
    {"tol": 1e-3},
    {"optimizer": fastgd.SGD(momentum=0.9)},
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["X", "y"])
def test_one_bad_number(name, way, bad, where):
    def poison(X, y):
        if where == "X":
            X[4, 13, 1] = bad
        else:
            y[4, 39] = bad

    clean, poisoned = clean_and_poisoned(name, poison, **way)
    others = [0, 1, 2, 3, 5, 6, 7, 8]
    theirs = parts_of(clean)
    sweep = poisoned.loss.ndim == 2
    for part, values in parts_of(poisoned).items():
        ours, wanted = (values[:, others], theirs[part][:, others]) if sweep else (values[others], theirs[part][others])
        assert same_bits(ours, wanted), part
    here = (slice(None), 4) if sweep else 4
    assert np.all(poisoned.status[here] == Status.INVALID_DATA)
    assert np.all(poisoned.epochs[here] == 0)
    assert not np.isfinite(poisoned.loss[here]).any()
    assert not np.isfinite(poisoned.history.loss[here]).any()
    assert np.all(poisoned.w[here] != poisoned.w[here])
    assert np.all(poisoned.state.algorithm[here] == fastgd.State.algorithm_names.index("stream"))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("algorithm", ["auto", "stream"])
def test_shared_data_that_are_bad(name, algorithm):
    rng = np.random.default_rng(3)
    X, y = rng.standard_normal((4, 20, 2)).astype(name), rng.standard_normal((5, 20)).astype(name)
    settings = {"lr": np.array([0.01, 0.1])[:, None, None], "epochs": 4, "history": True, "algorithm": algorithm, "nan_policy": "propagate"}
    clean = fastgd.fit(X[:, None], y, **settings)
    assert clean.loss.shape == (2, 4, 5)
    X[2, 7, 0] = np.nan
    y[1, 3] = np.inf
    poisoned = fastgd.fit(X[:, None], y, **settings)
    bad = np.zeros((2, 4, 5), bool)
    bad[:, 2] = bad[:, :, 1] = True
    assert ((poisoned.status == Status.INVALID_DATA) == bad).all()
    theirs = parts_of(clean)
    for part, values in parts_of(poisoned).items():
        assert same_bits(values[~bad], theirs[part][~bad]), part
    one = fastgd.fit(X[2], y, **settings | {"lr": np.array([0.01, 0.1])[:, None]})  # one bad X for all
    assert (one.status == Status.INVALID_DATA).all()
    assert_same(one, poisoned, lambda values: values[:, 2])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("lr", [None, 0.1])
def test_all_are_bad(name, lr):
    X, y = np.full((6, 10, 2), np.nan, name), np.zeros((6, 10), name)
    result = fastgd.fit(X, y, lr=lr, epochs=3, nan_policy="propagate", history=True)
    assert (result.status == Status.INVALID_DATA).all()
    assert (result.epochs == 0).all()
    assert np.isnan(result.loss).all()
    assert np.isnan(result.w).all()
    assert (result.history.w[:, 0] == 0).all()
    one = fastgd.fit(X[0], y[0], lr=lr, epochs=3, nan_policy="propagate")
    assert one.status is Status.INVALID_DATA


@pytest.mark.parametrize("name", NAMES)
def test_rates_that_diverge_harm_nobody_else(name):
    rng = np.random.default_rng(4)
    X, y = rng.standard_normal((30, 2)).astype(name), rng.standard_normal(30).astype(name)
    lr = np.geomspace(1e-10, 1e30, 41)
    result = fastgd.fit(X, y, lr=lr, epochs=40, history=True)
    diverged = result.status == Status.DIVERGED
    assert 5 < diverged.sum() < 36
    assert (np.diff(diverged.astype(int)) >= 0).all()
    first = [
        int(np.argmin(np.isfinite(loss) & np.isfinite(w).all(axis=1)))
        for loss, w in zip(result.history.loss, result.history.w, strict=True)
    ]
    assert result.epochs.tolist() == [f if d else 40 for f, d in zip(first, diverged, strict=True)]
    for i in range(0, 41, 5):
        assert_same(fastgd.fit(X, y, lr=lr[i], epochs=40, history=True), result, lambda values, i=i: values[i])


def test_data_too_large_for_float32():
    X, y = np.ones((3, 5, 1)), np.ones((3, 5))
    X[1, 2, 0] = 1e300
    with np.errstate(all="ignore"):
        result = fastgd.fit(X, y, dtype="float32", lr=0.1, epochs=3, nan_policy="propagate")
    assert result.status.tolist() == [Status.COMPLETED, Status.INVALID_DATA, Status.COMPLETED]


@pytest.mark.parametrize("way", [{}, {"lr": None}, {"algorithm": "stream"}, {"lr": np.array([0.1, 0.2])[:, None]}], ids=str)
@pytest.mark.parametrize("bad", [np.nan, -np.inf])
def test_raise_names_the_fit_and_the_row(way, bad):
    rng = np.random.default_rng(5)
    X, y = rng.standard_normal((142, 12, 3)), rng.standard_normal((142, 12))
    settings = {"lr": 0.1, "epochs": 3} | way
    X[17, 5, 2] = bad
    with pytest.raises(ValueError, match=rf"X .*{bad:g}.* row 5.* feature 2.* fit 17 of 142"):
        fastgd.fit(X, y, **settings)
    X[17, 5, 2] = 0
    y[3, 11] = bad
    with pytest.raises(ValueError, match=rf"y .*{bad:g}.* row 11.* fit 3 of 142"):
        fastgd.fit(X, y, **settings)
    with pytest.raises(ValueError, match=rf"y .*{bad:g}.* row 11"):
        fastgd.fit(X[3], y[3], **settings | {"lr": 0.1})


def test_raise_is_the_default_and_leaves_nothing_behind():
    X, y = np.ones((2, 5, 1)), np.ones((2, 5))
    y[1, 0] = np.nan
    with pytest.raises(ValueError, match="or 'propagate' to get NaN"):
        fastgd.fit(X, y, lr=0.1)
    assert fastgd.fit(X[0], y[0], lr=0.1).status is Status.COMPLETED
