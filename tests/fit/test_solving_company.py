"""solve: the same bits in any company, exact scaling, and what it says about bad input."""

from __future__ import annotations

import numpy as np
import pytest

import fastgd
from fastgd import Status

NAMES = ("w", "intercept", "loss", "rank", "condition", "ill_conditioned", "status", "n_used", "epochs")


def same(a, b, index=...):
    """Whether `b` is the part `index` of `a`, bit for bit (NaN equals NaN)."""
    for name in NAMES:
        left, right = getattr(a, name), getattr(b, name)
        if left is not None:
            left, right = np.asarray(left), np.asarray(right)
            np.testing.assert_array_equal(np.broadcast_to(left, left.shape)[index], right, err_msg=name, strict=right.ndim > 0)
    np.testing.assert_array_equal(a.state.w[index], b.state.w)
    np.testing.assert_array_equal(a.state.algorithm[index], b.state.algorithm)


@pytest.fixture
def data():
    """40 fits of 30 samples and 4 features: every fifth is collinear, every seventh is badly
    conditioned."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((40, 30, 4)), rng.standard_normal((40, 30))
    X[::5, :, 1] = X[::5, :, 0]
    X[::7, :, 3] = X[::7, :, 2] + 1e-7 * rng.standard_normal((6, 30))
    return X, y


@pytest.mark.parametrize("name", ["float32", "float64"])
@pytest.mark.parametrize("settings", [{}, {"intercept": True, "weight_decay": 1e-3}, {"reduction": "sum", "weight_decay": 2.0}])
def test_alone_and_in_a_batch(data, name, settings):
    X, y = (a.astype(name) for a in data)
    batch = fastgd.solve(X, y, **settings)
    if not settings:
        assert sorted(set(batch.state.algorithm.tolist())) == [batch.state.algorithm_names.index(n) for n in ("moments", "lstsq")]
    for i in range(40):
        same(batch, fastgd.solve(X[i], y[i], **settings), i)
    same(batch, fastgd.solve(X[[3, 8]], y[[3, 8]], **settings), [3, 8])


@pytest.mark.parametrize("name", ["float32", "float64"])
def test_packs_of_one_matrix(name):
    """Of several X with many targets each, and of decays that change between packs or in one."""
    rng = np.random.default_rng(1)
    X, y = rng.standard_normal((3, 1, 30, 4)).astype(name), rng.standard_normal((3, 70, 30)).astype(name)
    X[1, ..., 2] = 0
    decay = np.repeat([0.0, 0.5, 0.0, 0.25, 0.0, 0.5], [20, 12, 32, 32, 64, 50]).reshape(3, 70)
    for settings in ({}, {"intercept": True, "weight_decay": decay}, {"weight_decay": decay[::-1], "reduction": "sum"}):
        together = fastgd.solve(X, y, **settings)
        for i, j in np.ndindex(3, 70):
            given = {key: value[i, j] if key == "weight_decay" else value for key, value in settings.items()}
            same(together, fastgd.solve(X[i, 0], y[i, j], **given), (i, j))


@pytest.mark.parametrize("name", ["float32", "float64"])
def test_threads_and_layouts(data, name):
    X, y = (np.concatenate([a] * 60).astype(name) for a in data)  # enough for a pool
    one = fastgd.solve(X, y, intercept=True, threads=1)
    same(one, fastgd.solve(X, y, intercept=True, threads=3))
    same(one, fastgd.solve(np.asfortranarray(X), y.T.copy().T, intercept=True))
    same(one, fastgd.solve(X.astype(np.float64), y, intercept=True, dtype=name))
    wide = np.zeros((*X.shape[:2], 8), name)
    wide[..., ::2] = X
    same(one, fastgd.solve(wide[..., ::2], y, intercept=True, threads=3))


def test_long_fits():
    """Samples in several ranges: the moments come from several tasks."""
    rng = np.random.default_rng(1)
    X, y = rng.standard_normal((2, 140_000, 2)), rng.standard_normal((2, 140_000))
    both = fastgd.solve(X, y, threads=2)
    same(both, fastgd.solve(X[1], y[1], threads=1), 1)


@pytest.mark.parametrize("name", ["float32", "float64"])
def test_shared_data_and_many_penalties(data, name):
    X, y = (a.astype(name) for a in data)
    decay = np.array([0.0, 1e-9, 0.5, 0.0])[:, None, None]
    result = fastgd.solve(X[:6], y[:30].reshape(5, 6, 30), weight_decay=decay, intercept=True)  # X shared along an axis in the middle
    assert result.w.shape == (4, 5, 6, 4)
    assert result.rank.shape == result.loss.shape == (4, 5, 6)
    for index in np.ndindex(4, 5, 6):
        k, i, j = index
        same(result, fastgd.solve(X[j], y[:30].reshape(5, 6, 30)[i, j], weight_decay=decay[k, 0, 0], intercept=True), index)
    one = fastgd.solve(X[5], y, weight_decay=[[0.0], [0.1]], threads=2)
    for k, i in np.ndindex(2, 40):
        same(one, fastgd.solve(X[5], y[i], weight_decay=[0.0, 0.1][k]), (k, i))
    targets = fastgd.solve(X, y[0])
    for i in range(40):
        same(targets, fastgd.solve(X[i], y[0]), i)


def test_shared_data_are_factored_once(data, monkeypatch):
    from fastgd.running import minimisers

    seen = []
    real = minimisers.factor
    monkeypatch.setattr(minimisers, "factor", lambda X, root: seen.append(len(X)) or real(X, root))
    X, y = data
    result = fastgd.solve(X[:2, :3], y[:, None, :3], weight_decay=np.array([0.0, 0.5])[:, None, None], threads=1)
    assert seen == [1] * 4  # 2 X, 2 penalties; 160 fits
    for k, i, j in np.ndindex(2, 40, 2):
        same(result, fastgd.solve(X[j, :3], y[i, :3], weight_decay=[0.0, 0.5][k]), (k, i, j))


@pytest.mark.parametrize("decay", [0.0, 0.25])
def test_powers_of_two_change_no_digit(data, decay):
    """Units are exact factors: w scales with them, bit for bit, far beyond the exponents of the
    squares."""
    X, y = data[0][1], data[1][1]
    before = fastgd.solve(X, y, weight_decay=decay)
    for shift in (-480, 480):
        scaled = fastgd.solve(np.ldexp(X, shift), np.ldexp(y, -shift), weight_decay=np.ldexp(decay, 2 * shift))
        np.testing.assert_array_equal(scaled.w, np.ldexp(before.w, -2 * shift))
        assert scaled.condition == before.condition
        assert scaled.loss == np.ldexp(before.loss, -2 * shift)
    if decay == 0:
        shifts = np.array([500, -500, 0, 3])
        scaled = fastgd.solve(np.ldexp(X, shifts), y)
        np.testing.assert_array_equal(scaled.w, np.ldexp(before.w, -shifts))
        assert (scaled.condition, int(scaled.rank)) == (before.condition, 4)
        bad, target = X + np.array([0, 0, 1e5, 1e5]), y  # by LAPACK in float32
        plain = fastgd.solve(bad, target, dtype="float32")
        scaled = fastgd.solve(np.ldexp(bad, [20, -20, 30, -30]), target, dtype="float32")
        assert scaled.state.algorithm_names[int(scaled.state.algorithm)] == "lstsq"
        np.testing.assert_array_equal(scaled.state.w, np.ldexp(plain.state.w, [-20, 20, -30, 30]))


def test_results_beyond_the_dtype():
    result = fastgd.solve([[1e-200, 0.0], [0.0, 1.0]], [1e200, 1.0])
    assert result.status is Status.DIVERGED
    assert result.w.tolist() == [np.inf, 1.0]
    small = fastgd.solve(np.array([1e-30, 2e-30], np.float32), np.array([1e30, 2e30], np.float32))
    assert (small.status, small.w) == (Status.DIVERGED, np.inf)


@pytest.mark.parametrize("name", ["float32", "float64"])
@pytest.mark.parametrize("shared", [False, True])
def test_data_that_are_not_finite(data, name, shared):
    X, y = (a.astype(name) for a in data)
    X = X[1].copy() if shared else X.copy()
    y = y.copy()
    if not shared:
        X[5, 3, 2] = np.nan  # a fit for LAPACK
        X[6, 0, 0] = np.inf
    y[8, 29] = -np.inf
    bad = [8] if shared else [5, 6, 8]
    told = "y is not finite: -inf in row 29 of fit 8 of 40" if shared else "X is not finite: nan in row 3, feature 2 of fit 5 of 40"
    with pytest.raises(ValueError, match=told):
        fastgd.solve(X, y)
    result = fastgd.solve(X, y, nan_policy="propagate")
    good = np.delete(np.arange(40), bad)
    assert np.flatnonzero(result.status == Status.INVALID_DATA).tolist() == bad
    assert np.isnan(result.w[bad]).all()
    assert np.isnan(result.loss[bad]).all()
    assert np.isnan(result.condition[bad]).all()
    assert not result.rank[bad].any()
    assert result.ill_conditioned[bad].all()
    same(result, fastgd.solve(X if shared else X[good], y[good]), good)


@pytest.mark.parametrize(("X", "y"), [([[np.nan, 1.0, 2.0]], [1.0]), ([[0.0, 1.0, 2.0]], [np.inf])])
def test_few_samples_that_are_not_finite(X, y):
    with pytest.raises(ValueError, match="is not finite"):
        fastgd.solve(X, y)
    result = fastgd.solve([X, [[1.0, 2, 2]]], [y, [9.0]], nan_policy="propagate")
    assert result.status.tolist() == [Status.INVALID_DATA, Status.COMPLETED]
    assert np.isnan(result.w[0]).all()
    assert np.isfinite(result.w[1]).all()


def test_a_rank_below_the_number_of_parameters_is_ill_conditioned():
    """Whatever the status: a fit that was not made has rank 0."""
    x = np.arange(5.0)
    few = fastgd.solve(x, x, intercept=True, min_samples=9)
    bad = fastgd.solve([1.0, np.nan], [1.0, 2.0], nan_policy="propagate")
    for result, status in ((few, Status.TOO_FEW_SAMPLES), (bad, Status.INVALID_DATA)):
        assert (result.status, int(result.rank), bool(result.ill_conditioned)) == (status, 0, True)


def test_the_face_of_the_result():
    result = fastgd.solve([1, 2, 3, 4], [2, 4, 6, 8])
    assert (float(result.w), float(result.loss), int(result.epochs), result.history) == (2.0, 0.0, 0, None)
    assert np.isnan(result.lr)
    assert result.status is Status.COMPLETED
    assert (int(result.rank), float(result.condition), bool(result.ill_conditioned), int(result.n_used)) == (1, 1.0, False, 4)
    assert (result.backend, result.algorithm, result.w.dtype) == ("cpu", "moments", np.float64)
    assert result.predict([5.0]).tolist() == [10.0]
    assert repr(result) == "FitResult(COMPLETED: w = 2, loss 0, 0 epochs; cpu, moments)"
    assert fastgd.fit([1, 2, 3, 4], [2, 4, 6, 8]).rank is None
    deficient = fastgd.solve(np.ones((3, 5, 2)), np.ones((3, 5)))
    assert "(3 of 3)" in deficient.explanation
    assert fastgd.solve(np.float16([1, 2, 3]), np.float16([1, 2, 3])).w.dtype == np.float32
    with pytest.raises(ValueError, match="state was made with optimizer 'solve', but this fit has 'sgd'"):
        fastgd.fit([1, 2, 3, 4], [2, 4, 6, 8], state=result.state)


def test_a_summary_says_what_is_ill_conditioned(data, tmp_path):
    result = fastgd.solve(*data)
    told = result.summary()
    assert told.startswith("40 fits of 4 features by solve\n")
    assert "rank       3 to 4, median 4" in told
    assert "warning    8 of 40 ill-conditioned" in told
    result.save(tmp_path / "solved.npz")
    same(result, fastgd.load(tmp_path / "solved.npz"))


def test_tensors_come_back_as_tensors(data, torch):
    expected = fastgd.solve(*data, intercept=True)
    result = fastgd.solve(*(torch.from_numpy(a) for a in data), intercept=True)
    for name in NAMES:
        assert isinstance(getattr(result, name), torch.Tensor)
        np.testing.assert_array_equal(getattr(result, name).numpy(), getattr(expected, name))


def test_inputs_are_not_changed(data):
    X, y = data
    before = X.copy(), y.copy()
    fastgd.solve(X, y, intercept=True)
    np.testing.assert_array_equal(X, before[0])
    np.testing.assert_array_equal(y, before[1])


def test_progress(data):
    told = []
    fastgd.solve(*data, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (40, 40)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"weight_decay": -0.5}, ValueError, "weight_decay must be at least 0; it is -0.5"),
        ({"weight_decay": [0.0, -1.0]}, ValueError, "weight_decay must be at least 0; it is -1 at index 1"),
        ({"weight_decay": np.nan}, ValueError, "weight_decay must be finite; it is nan"),
        ({"weight_decay": True}, TypeError, "weight_decay must be a real number"),
        (
            {"weight_decay": np.zeros(3)},
            ValueError,
            r"leading axes do not broadcast against each other: X and y \(40,\), weight_decay \(3,\)",
        ),
        ({"reduction": "none"}, ValueError, "reduction must be 'mean' or 'sum', not 'none'"),
        ({"nan_policy": "drop"}, ValueError, "nan_policy must be 'raise', 'omit' or 'propagate', not 'drop'"),
        ({"threads": 0}, ValueError, "threads must be a whole number, at least 1; it is 0"),
        ({"dtype": "int32"}, ValueError, "dtype must be 'float32' or 'float64', not 'int32'"),
        ({"intercept": 1.0}, TypeError, "intercept must be True or False, not 1.0"),
    ],
)
def test_bad_options(data, settings, error, message):
    with pytest.raises(error, match=message):
        fastgd.solve(*data, **settings)


def test_bad_data():
    with pytest.raises(ValueError, match=r"X has 3 samples .* but y has 4"):
        fastgd.solve([1.0, 2, 3], [1.0, 2, 3, 4])
    with pytest.raises(TypeError, match="y must be an array of real numbers"):
        fastgd.solve([1.0, 2, 3], ["a", "b", "c"])
