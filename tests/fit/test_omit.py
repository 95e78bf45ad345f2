"""nan_policy="omit", samples of weight 0, min_samples: a fit that lost samples has the bits of the
fit without those rows."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

import fastgd
from fastgd.kernels import cpu
from fastgd.kernels.chunk import Samples
from fastgd.kernels.cpu import read_only
from fastgd.planning import plan
from fastgd.running import pieces
from tests import grids
from tests.support.fit_cases import BAD, holes
from tests.support.fit_results import same
from tests.support.refusals import refused

NAMES = ("float32", "float64")


def same_fit(result, index, alone):
    """Fit `index` of a result equals another result of one fit, bit for bit."""
    for name in ("w", "intercept", "loss", "epochs", "n_used", "status", "lr", "rank", "condition"):
        ours, theirs = getattr(result, name), getattr(alone, name)
        assert (ours is None and theirs is None) or np.array_equal(np.asarray(ours)[index], np.asarray(theirs), equal_nan=True), name
    for name in ("w", "slots", "products", "epoch", "algorithm", "status"):
        assert np.array_equal(np.asarray(getattr(result.state, name))[index], getattr(alone.state, name), equal_nan=True), f"state.{name}"
    if result.history is not None:
        for name in ("w", "loss", "intercept"):
            ours, theirs = getattr(result.history, name), getattr(alone.history, name)
            assert (ours is None and theirs is None) or np.array_equal(ours[index], theirs, equal_nan=True), f"history.{name}"


def delete(kept, *arrays):
    return [None if array is None else np.ascontiguousarray(array[kept]) for array in arrays]


SIZES = ((50, 1), (50, 3), (9, 4), (4096, 2), (9000, 2), (70_000, 1))
CASES = grids.thin("omit", list(product(SIZES, NAMES, (False, True), (False, True), ("auto", "moments", "stream"), (None, 1e-3))), 4)


@pytest.mark.parametrize(("size", "name", "intercept", "weighted", "algorithm", "lr"), CASES)
def test_omitting_is_deleting(size, name, intercept, weighted, algorithm, lr):
    (n, d), m = size, 5 if size[0] < 1000 else 2
    X, y, weights, kept = holes(m, n, d, name, seed=n + d, weighted=weighted)
    options = {"lr": lr, "epochs": 4, "intercept": intercept, "algorithm": algorithm, "history": True}
    result = fastgd.fit(X, y, sample_weight=weights, nan_policy="omit", **options)
    assert (result.n_used == kept.sum(1)).all()
    for f in range(m):
        one_x, one_y, one_weights = delete(kept[f], X[f], y[f], None if weights is None else weights[f])
        same_fit(result, f, fastgd.fit(one_x, one_y, sample_weight=one_weights, **options))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("rule", ["adam", "nadam", "rmsprop"])
def test_omitting_is_deleting_for_other_rules(name, weighted, rule):
    X, y, weights, kept = holes(3, 40, 2, name, seed=4, weighted=weighted)
    options = {"optimizer": rule, "lr": 0.05, "epochs": 20, "history": True}
    result = fastgd.fit(X, y, sample_weight=weights, nan_policy="omit", **options)
    for f in range(3):
        one_x, one_y, one_weights = delete(kept[f], X[f], y[f], None if weights is None else weights[f])
        same_fit(result, f, fastgd.fit(one_x, one_y, sample_weight=one_weights, **options))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("spoil", ["y", "X and y", "nothing"])
@pytest.mark.parametrize("n", [30, 5000])
def test_shared_features_with_gaps_of_their_own(name, weighted, spoil, n):
    """One X for many targets, and two learning rates: each pair of them loses its own samples."""
    rng = np.random.default_rng(n)
    X, y = rng.standard_normal((n, 2)).astype(name), rng.standard_normal((6, n)).astype(name)
    weights = rng.uniform(0.5, 2, n).astype(name) if weighted else None
    if weights is not None:
        weights[3] = 0
    if spoil != "nothing":
        y[1, 4], y[3, :5], y[5] = np.nan, np.inf, np.nan
    if spoil == "X and y":
        X[7, 1] = -np.inf
    options = {"lr": np.array([1e-3, 0.2])[:, None], "epochs": 5, "history": True, "intercept": True}
    result = fastgd.fit(X, y, sample_weight=weights, nan_policy="omit", **options)
    kept = np.isfinite(X).all(1) & np.isfinite(y)
    assert result.w.shape == (2, 6, 2)
    for i, f in np.ndindex(2, 6):
        if not kept[f].any():
            assert result.status[i, f] == fastgd.Status.TOO_FEW_SAMPLES
            continue
        one_x, one_y, one_weights = delete(kept[f], X, y[f], weights)
        same_fit(result, (i, f), fastgd.fit(one_x, one_y, sample_weight=one_weights, **options | {"lr": options["lr"][i, 0]}))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("one", ["group", "fit"])
def test_a_group_at_a_time_a_fit_at_a_time_and_in_threads(name, shared, one, monkeypatch):
    X, y, weights, _ = holes(40, 60, 2, name, seed=8, weighted=True)
    if shared:
        X, weights = np.nan_to_num(X[0], posinf=1, neginf=1), weights[0]
        y[1] = 1  # it loses what has no weight, and nothing else
    overflows = {"float32": 1e30, "float64": 1e200}[name]  # such a fit goes on from its samples
    options = {"sample_weight": weights, "nan_policy": "omit", "epochs": 5, "lr": [[0.01], [overflows]], "history": True}
    want = fastgd.fit(X, y, **options)
    assert (want.state.algorithm == np.array([[1], [0]])).all()
    monkeypatch.setattr(plan, "INLINE_NS", 0)
    if one == "group":
        monkeypatch.setattr(plan, "MOMENTS_BYTES", 3000)
    else:
        monkeypatch.setattr(pieces, "PIECE_NS", 1)
    for threads in (1, 3):
        result = fastgd.fit(X, y, threads=threads, **options)
        assert same(result.history.w, want.history.w)
        assert same(result.history.loss, want.history.loss)
        assert same(result.n_used, want.n_used)


def test_every_backend_leaves_out_the_same_samples(backend):
    X, y, weights, kept = holes(3, 30, 2, "float64", seed=2, weighted=True)
    options = {"lr": 1e-3, "epochs": 6, "backend": backend, "history": True}
    result = fastgd.fit(X, y, sample_weight=weights, nan_policy="omit", **options)
    for f in range(3):
        one_x, one_y, one_weights = delete(kept[f], X[f], y[f], weights[f])
        same_fit(result, f, fastgd.fit(one_x, one_y, sample_weight=one_weights, **options))


SOLVED = list(product(((40, 2), (5, 4), (4, 6)), NAMES, (False, True), (False, True), (0.0, 0.3), ("mean", "sum")))


@pytest.mark.parametrize(("size", "name", "intercept", "weighted", "decay", "reduction"), grids.thin("omit, solve", SOLVED, 2))
def test_solve_without_the_missing_samples(size, name, intercept, weighted, decay, reduction):
    (n, d), m = size, 6
    X, y, weights, kept = holes(m, n, d, name, seed=n, weighted=weighted, share=0.3)
    kept[:, 0] = True
    X[:, 0], y[:, 0] = 1, 1
    if weights is not None:
        weights[:, 0] = 1
    options = {"intercept": intercept, "weight_decay": decay, "reduction": reduction}
    result = fastgd.solve(X, y, sample_weight=weights, nan_policy="omit", min_samples=1, **options)
    for f in range(m):
        one_x, one_y, one_weights = delete(kept[f], X[f], y[f], None if weights is None else weights[f])
        same_fit(result, f, fastgd.solve(one_x, one_y, sample_weight=one_weights, **options))


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_of_weight_zero_is_not_there(name, backend):
    """Whatever its numbers are, under every policy."""
    X, y = np.arange(12.0).reshape(6, 2).astype(name), np.array([1, -1, 2, 0, 3, 1], name)
    weights = np.array([1, 0, 2, 0, 1, 3], name)
    want = fastgd.fit(X[weights > 0], y[weights > 0], sample_weight=weights[weights > 0], epochs=9, backend=backend)
    X[1], y[3] = np.nan, np.inf
    for policy in ("raise", "omit", "propagate"):
        result = fastgd.fit(X, y, sample_weight=weights, epochs=9, nan_policy=policy, backend=backend)
        assert same(result.w, want.w)
        assert same(result.loss, want.loss)
        assert result.n_used == 4
        assert result.status == fastgd.Status.COMPLETED


def test_a_negative_zero_is_a_weight_of_zero():
    assert fastgd.fit([1.0, np.nan, 3], [1.0, 2, 3], sample_weight=[1.0, -0.0, 1]).n_used == 2


def test_auto_counts_the_samples_that_stay():
    """n_used ≤ 2 d: stream, as for data of that length."""
    X, y = np.random.default_rng(0).standard_normal((2, 9, 3)), np.ones((2, 9))
    y[0, :3] = np.nan
    result = fastgd.fit(X, y, lr=0.1, epochs=3, nan_policy="omit")
    assert result.state.algorithm.tolist() == [0, 1]
    assert result.n_used.tolist() == [6, 9]


@pytest.mark.parametrize("settings", [{}, {"lr": 0.1}, {"lr": [[0.1], [0.2]]}, {"algorithm": "stream", "lr": 0.1}], ids=str)
def test_too_few_samples(backend, settings):
    if backend != "cpu" and "algorithm" in settings:
        settings = {"lr": 0.1}
    X, y = np.random.default_rng(1).standard_normal((4, 9, 2)), np.ones((4, 9))
    y[0], y[1, 2:], y[2, 4:] = np.nan, np.nan, np.nan
    options = {"epochs": 4, "history": 2, "backend": backend, "nan_policy": "omit", **settings}
    result = fastgd.fit(X, y, min_samples=4, **options)
    few = np.broadcast_to([True, True, False, False], result.status.shape)
    assert (result.n_used == [0, 2, 4, 9]).all()
    assert ((result.status == fastgd.Status.TOO_FEW_SAMPLES) == few).all()
    assert (np.isnan(result.w).all(-1) == few).all()
    assert (np.isnan(result.loss) == few).all()
    assert (np.isnan(result.history.w).all((-1, -2)) == few).all()
    assert (result.epochs[few] == 0).all()
    assert same(fastgd.fit(X[3], y[3], **options | {"lr": 0.1}).w, fastgd.fit(X, y, min_samples=4, **options | {"lr": 0.1}).w[3])
    with_two = fastgd.fit(X, y, min_samples=2, **options)
    assert (with_two.status == np.where([True, False, False, False], fastgd.Status.TOO_FEW_SAMPLES, 0)).all()
    assert same(with_two.w[..., 2:, :], result.w[..., 2:, :])


def test_too_few_samples_of_dense_data_and_of_solve():
    assert fastgd.fit(np.ones((3, 1)), np.ones(3), min_samples=4).status == fastgd.Status.TOO_FEW_SAMPLES
    assert fastgd.fit(np.ones((3, 1)), np.ones(3), min_samples=3).status == fastgd.Status.COMPLETED
    X, y = np.ones((2, 3, 1)), np.array([[1.0, 2, np.nan], [np.nan] * 3])
    result = fastgd.solve(X, y, nan_policy="omit", min_samples=2)
    assert result.status.tolist() == [fastgd.Status.COMPLETED, fastgd.Status.TOO_FEW_SAMPLES]
    assert result.w[0] == 1.5
    assert np.isnan(result.w[1]).all()
    assert result.rank.tolist() == [1, 0]
    assert result.n_used.tolist() == [2, 0]


def test_a_state_goes_on_without_the_missing_samples():
    X, y, weights, _ = holes(4, 30, 2, "float64", seed=3, weighted=True)
    options = {"sample_weight": weights, "nan_policy": "omit", "optimizer": fastgd.Adam(lr=0.1)}
    first = fastgd.fit(X, y, epochs=7, **options)
    assert same(fastgd.fit(X, y, epochs=5, state=first.state, **options).w, fastgd.fit(X, y, epochs=12, **options).w)


@pytest.mark.parametrize("policy", ["raise", "propagate"])
def test_what_is_missing_without_omit(policy):
    weights = np.ones((2, 4))
    weights[1, 2] = np.nan
    X, y = np.arange(1.0, 5)[:, None], np.ones(4)
    if policy == "raise":
        pattern = r"^sample_weight is not finite: nan in row 2 of fit 1 of 2\. .*nan_policy='omit'"
        refused(ValueError, pattern, X, y, sample_weight=weights)
        return
    result = fastgd.fit(X, y, sample_weight=weights, nan_policy=policy)
    assert result.status.tolist() == [fastgd.Status.COMPLETED, fastgd.Status.INVALID_DATA]
    assert np.isnan(result.w[1]).all()


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("name", NAMES)
def test_a_weight_that_is_not_finite(name, bad, backend):
    """−inf too is not finite rather than negative: left out, refused or NaN for its fit alone, as
    the policy says."""
    X, y, weights, _ = holes(2, 20, 2, name, seed=5, weighted=True, share=0)
    weights[1, 3] = bad
    options = {"lr": 0.01, "epochs": 5, "history": True, "backend": backend}
    stays = np.arange(20) != 3
    alone = fastgd.fit(X[1, stays], y[1, stays], sample_weight=weights[1, stays], **options)
    same_fit(fastgd.fit(X, y, sample_weight=weights, nan_policy="omit", **options), 1, alone)
    result = fastgd.fit(X, y, sample_weight=weights, nan_policy="propagate", **options)
    assert result.status.tolist() == [fastgd.Status.COMPLETED, fastgd.Status.INVALID_DATA]
    assert np.isnan(result.w[1]).all()
    same_fit(result, 0, fastgd.fit(X[0], y[0], sample_weight=weights[0], **options))
    refused(ValueError, rf"^sample_weight is not finite: {bad:g} in row 3 of fit 1 of 2\. ", X, y, sample_weight=weights, **options)
    assert fastgd.solve(X, y, sample_weight=weights, nan_policy="omit").n_used.tolist() == [20, 19]


def test_a_negative_weight_is_named_though_one_before_it_is_not_finite():
    weights = np.array([1, -np.inf, 1, -2.0])
    refused(
        ValueError,
        "^sample_weight must be at least 0; it is -2 in row 3$",
        np.ones(4),
        np.ones(4),
        sample_weight=weights,
        nan_policy="omit",
    )


def test_the_first_datum_that_counts_is_named():
    X, y = np.ones((3, 5, 2)), np.ones((3, 5))
    X[0, 1, 1], X[2, 3, 0], y[1, 4] = np.nan, np.inf, np.nan
    weights = np.ones((3, 5))
    weights[0, 1] = 0
    refused(ValueError, "^X is not finite: inf in row 3, feature 0 of fit 2 of 3", X, y, sample_weight=weights)
    weights[2, 3] = 0
    refused(ValueError, "^y is not finite: nan in row 4 of fit 1 of 3", X, y, sample_weight=weights)


def test_a_cancelled_search_has_found_nothing():
    """The lists of samples are not filled then, and what weights left out before does not make them
    so."""
    X, y, weights, _ = holes(3, 50, 2, "float64", seed=6, weighted=True)
    one = np.arange(3)
    samples = Samples(*map(read_only, (X, y)), one, one, read_only(weights), one, np.empty((0, 50), np.int32), one * 0 - 1, one * 0 + 50)
    cpu.find_kept(samples, True, False, np.zeros(1, np.int32))
    assert (samples.n_used < 50).all()
    kept, places = samples.kept, samples.kept_index
    cpu.find_kept(samples, True, True, np.ones(1, np.int32))
    assert samples.kept is kept
    assert samples.kept_index is places
