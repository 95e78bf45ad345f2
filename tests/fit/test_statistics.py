"""`stats` of `fit` and `solve`: statsmodels' and NIST's values, exact rationals, and what is said
where the data do not tell."""

from __future__ import annotations

import json
import sys
from dataclasses import fields, replace
from fractions import Fraction

import numpy as np
import pytest

import fastgd
from fastgd.planning import statistics_job
from fastgd.running import statistics
from fastgd.running.elimination import ACCURATE
from fastgd.testing import nist
from tests.fit.statsmodels_values import PATH
from tests.support.exact_statistics import exact_statistics
from tests.support.refusals import refused, refused_call
from tests.support.regressions import features, numbers, regressions, target
from tests.support.scipy_stand_in import scipy

CASES = regressions()
BY_STATSMODELS = json.loads(PATH.read_text("utf-8"))["values"]
NIST = ("norris", "pontius", "noint1", "noint2", "filip", "longley", *(f"wampler{k}" for k in range(1, 6)))
X, Y = features(40, 3, 1), target(features(40, 3, 1), 2)
WEIGHTS = numbers(40, 7, 64) + 0.25


def values(stats) -> dict[str, np.ndarray]:
    """All arrays of statistics, by name."""
    found = {each.name: getattr(stats, each.name) for each in fields(stats)} | {"std_error": stats.std_error, "t": stats.t}
    return {name: value for name, value in found.items() if isinstance(value, np.ndarray | np.generic)}


def same(a, b, index=...) -> None:
    """The same bits."""
    for name, value in values(a).items():
        other = values(b)[name]
        np.testing.assert_array_equal(value[index] if np.ndim(value) else value, other, err_msg=name)


# -- values from elsewhere -------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_the_values_of_statsmodels(name):
    """statsmodels decomposes X by singular values in float64, and float32 data round loss and w."""
    case, wanted = CASES[name], BY_STATSMODELS[name]
    options = {"intercept": case.intercept, "sample_weight": case.weights, "stats": case.stats, **case.options}
    stats = fastgd.solve(case.X, case.y, **options).stats
    columns = np.column_stack([case.X, *([np.ones(len(case.y))] if case.intercept else [])]).astype(float)
    condition = 1.0 if name == "a combination" else np.linalg.cond(columns / np.linalg.norm(columns, axis=0))
    u = np.finfo(case.X.dtype).eps / 2.0
    error = 8.0 * condition * (u if case.X.dtype == np.float32 else len(columns) * u)
    # one sample left over, residuals of 2^-20: their digits are those that X w leaves of y
    error *= max(1.0, np.abs(case.y[np.isfinite(case.y)]).max() / np.sqrt(wanted["residual_variance"]))
    told = ~np.isnan(stats.std_error)
    assert told.all() == (name != "a combination")
    with scipy():
        found = {what: stats.confidence_interval(0.9) if what == "interval" else getattr(stats, what) for what in wanted}
    for what, value in wanted.items():
        value, mine = np.asarray(value), found[what]
        if value.ndim and name == "a combination":
            value, mine = (each[told][:, told] if what == "covariance" else each[told] for each in (value, mine))
        spread = 1.0 + wanted["dof"] if what in ("p", "f_p") else 1.0  # d ln p / d ln t is at most dof
        scale = np.abs(value).max() if what in ("estimate", "interval", "covariance") else np.abs(value)
        assert (np.abs(mine - value) <= spread * error * scale).all(), (what, mine, value)


@pytest.mark.parametrize("name", NIST)
def test_the_certified_values_of_nist(name):
    """As near as the decimal data, rounded to float64, leave them: 2^-53 times the condition."""
    data = nist(name)
    stats = fastgd.solve(data.X, data.y, intercept=data.intercept, stats=True).stats
    exact = data.exact
    allowed = 4.0 * len(data.y) * 2.0**-53 * stats.condition
    assert bool(stats.ill_conditioned) == (name == "filip")
    for mine, certified in (
        (stats.std_error, exact.std_error),
        (np.sqrt(stats.residual_variance), (exact.residual_sd,)),
        (stats.r2, (exact.r2,)),
    ):
        for value, wanted in zip(np.ravel(mine).tolist(), map(float, certified), strict=True):
            assert abs(value - wanted) <= allowed * abs(wanted) + (2.0**-40 if wanted == 0.0 else 0.0), name


EXACT = {
    "plain": (X, Y, True, None),
    "through zero": (X, Y, False, None),
    "weights": (X, Y, True, WEIGHTS),
    "weights, through zero": (X, Y, False, WEIGHTS),
    "far from zero": (X + 2.0**30, Y + 2.0**30, True, None),
    "very far from zero": (X[:, :2] + 2.0**36, Y, True, WEIGHTS),
    "units": (X * np.array([2.0**-300, 1.0, 2.0**200]), Y, True, None),
    "nearly a combination": (np.column_stack([X[:, :2], X[:, 0] + X[:, 1] * 2.0 + X[:, 2] * 2.0**-30]), Y, True, None),
    "no samples left over": (X[:4], Y[:4], True, None),
}


@pytest.mark.parametrize("name", EXACT)
def test_exact_rationals(name):
    """The inverse of XᵀΩX to ACCURATE; the loss is that of w rounded to float64."""
    case_x, y, intercept, weights = EXACT[name]
    stats = fastgd.solve(case_x, y, intercept=intercept, sample_weight=weights, stats=True).stats
    exact = exact_statistics(case_x, y, intercept, weights)
    dof = len(y) - len(exact.w)
    allowed = Fraction(2.0 * ACCURATE + 2.0**-106 * float(stats.condition) ** 2)
    assert (stats.dof, stats.rank) == (dof, len(exact.w))
    if dof == 0:
        assert np.isnan([*stats.std_error, stats.residual_variance, stats.adjusted_r2]).all()
        return
    variance = exact.squares / dof
    for j in range(len(exact.w)):
        for k in range(len(exact.w)):
            error = Fraction(float(stats.covariance[j, k])) - exact.inverse[j][k] * variance
            assert error**2 <= exact.inverse[j][j] * exact.inverse[k][k] * (allowed * variance) ** 2
    assert abs(Fraction(float(stats.residual_variance)) - variance) <= allowed * variance
    assert abs(Fraction(float(stats.r2)) - (1 - exact.squares / exact.total)) <= allowed


# -- the same in any company -----------------------------------------------------------------------


def a_batch() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    data = rng.normal(size=(70, 30, 3)) + 10.0 ** rng.integers(-2, 7, (70, 1, 3))
    data[5] = data[5, :1]  # constant columns
    data[9, :, 2] = data[9, :, 0] + data[9, :, 1]
    data[11, :, 2] = data[11, :, 0] * (1.0 + 1e-9)
    y = data.sum(axis=-1) + rng.normal(size=(70, 30))
    y[rng.random(y.shape) < 0.1] = np.nan
    return data, y, rng.uniform(0.5, 2.0, y.shape)


@pytest.mark.parametrize("stats", [True, "HC3", {"clusters": np.arange(30) % 7}])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_fit_has_the_same_bits_alone_and_in_company(stats, weighted):
    data, y, weights = a_batch()
    options = {"intercept": True, "nan_policy": "omit", "stats": stats}
    of = (lambda k: {"sample_weight": weights[k]}) if weighted else (lambda k: {})
    whole = fastgd.solve(data, y, threads=2, **options, **of(slice(None))).stats
    small = fastgd.solve(data, y, memory_limit="8 MiB", threads=1, **options, **of(slice(None))).stats
    same(whole, small)
    for k in (0, 5, 9, 11, 69):
        same(whole, fastgd.solve(data[k], y[k], **options, **of(k)).stats, k)


def test_shared_features_have_one_inverse():
    data, y, _ = a_batch()
    y = np.nan_to_num(y)
    shared = fastgd.solve(data[0], y, intercept=True, stats=True).stats
    assert shared._inverse.shape == (1, 4, 4)
    assert shared.covariance.shape == (70, 4, 4)
    for k in (0, 42):
        alone = fastgd.solve(data[0], y[k], intercept=True, stats=True).stats
        for name in ("std_error", "covariance", "r2", "f", "aic"):
            np.testing.assert_array_equal(getattr(shared, name)[k], getattr(alone, name))


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_moments_have_the_statistics_of_their_samples(weights):
    moments = fastgd.compress(X, Y, intercept=True, sample_weight=weights)
    of_moments, of_samples = (
        fastgd.solve(moments, stats=True).stats,
        fastgd.solve(X, Y, intercept=True, sample_weight=weights, stats=True).stats,
    )
    unknown = {"log_likelihood", "aic", "bic"} if weights is not None else set()  # Σ ln ω is not in the moments
    for name, value in values(of_moments).items():
        if name in unknown:
            assert np.isnan(value)
        else:
            np.testing.assert_array_equal(value, values(of_samples)[name], err_msg=name)
    batch = fastgd.compress(np.stack([X, 2.0 * X]), Y, intercept=True)
    same(fastgd.solve(batch, stats=True).stats, fastgd.solve(X, Y, intercept=True, stats=True).stats, 0)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("options", [{"standardize": True}, {"memory_limit": "tight"}, {"checkpoint": "folder"}], ids=str)
def test_they_are_those_of_features_as_they_are(shared, options, tmp_path, monkeypatch):
    """From the moments of `solve`, or from one more read."""
    X = features(3 * 30, 2, 5).reshape(3, 30, 2)
    y = np.stack([target(X[0], k) for k in range(3)])
    given = {"X": X[0] if shared else X, "y": y, "intercept": True, "stats": True}
    plain, reads, begin = fastgd.solve(**given).stats, [], statistics.begin
    monkeypatch.setattr(statistics, "begin", lambda job: reads.append(1) or begin(job))
    fastgd.solve(**given)
    assert reads == []  # solve has begun them
    if "memory_limit" in options:  # the facts have no room beside the work
        monkeypatch.setattr(statistics_job, "_take_moments_of", lambda *arguments: None)
        options = {}
    elif "checkpoint" in options:
        options = {"checkpoint": tmp_path / "folder"}
    other = fastgd.solve(**given, **options).stats
    assert len(reads) == ("standardize" not in options)
    for name in ("_inverse", "condition", "rank", "dof"):
        np.testing.assert_array_equal(getattr(other, name), getattr(plain, name))


def test_a_grid_of_rates_has_the_statistics_of_each_w():
    rates = np.array([0.001, 0.01, 0.02])
    grid = fastgd.fit(X, Y, lr=rates, epochs=50, intercept=True, stats=True)
    for k, rate in enumerate(rates):
        one = fastgd.fit(X, Y, lr=float(rate), epochs=50, intercept=True, stats=True)
        for name in ("std_error", "t", "r2", "residual_variance", "f"):
            np.testing.assert_array_equal(getattr(grid.stats, name)[k], getattr(one.stats, name))
        residual = Y - one.predict(X)
        assert float(one.stats.residual_variance) == pytest.approx(float(residual @ residual) / 36, rel=2.0**-40)
    assert (np.diff(grid.stats.residual_variance) < 0.0).all()  # nearer to the minimum
    assert (grid.excess_loss > 0.0).all()


@pytest.mark.parametrize("options", [{"algorithm": "stream"}, {"backend": "numpy"}, {"standardize": True}])
def test_every_algorithm_and_backend_has_them(options):
    first = fastgd.fit(X, Y, epochs=2000, intercept=True, stats=True, **options).stats
    second = fastgd.solve(X, Y, intercept=True, stats=True).stats
    for name in ("std_error", "r2", "f", "aic"):
        np.testing.assert_allclose(getattr(first, name), getattr(second, name), rtol=1e-9)


# -- what the data do not tell ---------------------------------------------------------------------


def test_columns_that_are_combinations_have_nan_and_are_told():
    result = fastgd.solve(np.column_stack([X, X[:, 0] + X[:, 1]]), Y, intercept=True, stats=True)
    apart = fastgd.solve(X, Y, intercept=True, stats=True).stats
    assert np.isnan(result.stats.std_error).tolist() == [True, True, False, True, False]
    np.testing.assert_allclose(result.stats.std_error[[2, 4]], apart.std_error[[2, 3]], rtol=2.0**-40)
    assert (result.stats.rank, result.stats.dof) == (4, 36)
    assert result.stats.ill_conditioned
    assert "aliased" in result.summary()
    constant = fastgd.solve(np.column_stack([X[:, 0], np.full(40, 3.0)]), Y, intercept=True, stats=True).stats
    assert np.isnan(constant.std_error).tolist() == [False, True, True]
    zeros = fastgd.solve(np.column_stack([X[:, 0], np.zeros(40)]), Y, intercept=True, stats=True).stats
    assert np.isnan(zeros.std_error).tolist() == [False, True, False]


def test_fewer_samples_than_parameters_tell_nothing():
    stats = fastgd.solve(X[:3], Y[:3], intercept=True, stats=True).stats
    assert (stats.rank, stats.dof) == (3, 0)
    assert np.isnan([*stats.std_error, stats.residual_variance, stats.f, stats.adjusted_r2]).all()


def test_float32_data_far_from_zero_are_told():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 2)).astype(np.float32)
    near, far, farther = (fastgd.solve(x + np.float32(c), x[:, 0], intercept=True, stats=True) for c in (10.0, 2.0**13, 2.0**23))
    assert [bool(each.stats.ill_conditioned) for each in (near, far, farther)] == [False, True, True]
    assert "ill-conditioned" in far.summary()
    exact = exact_statistics((x + np.float32(2.0**13)).astype(float), x[:, 0].astype(float), True)
    # the moments of float32 data are float64: 2^-53 times the square of the condition
    np.testing.assert_allclose(far.stats._inverse[0, 0], float(exact.inverse[0][0]), rtol=4 * 2.0**-53 * float(far.stats.condition) ** 2)


def test_a_constant_y_has_no_r2():
    stats = fastgd.solve(X, np.full(40, 1e8), intercept=True, stats=True).stats
    assert np.isnan([stats.r2, stats.adjusted_r2, stats.f]).all()


def test_fits_that_are_not_computed_have_nan():
    data, y = np.stack([X, X, X]), np.stack([Y, Y, Y])
    y[1, 4] = np.inf
    result = fastgd.fit(data, y, intercept=True, nan_policy="propagate", lr=[0.001, 0.001, 1e9], epochs=300, stats=True)
    assert result.status.tolist() == [0, 3, 2]
    for name, value in values(result.stats).items():
        if name not in ("rank", "_inverse"):
            assert np.isfinite(value[0]).all(), name
            assert np.isnan(value[1:]).all(), name
    few = fastgd.solve(X, np.where(np.arange(40) < 3, Y, np.nan), intercept=True, nan_policy="omit", stats=True)
    assert few.status == fastgd.Status.TOO_FEW_SAMPLES
    assert np.isnan(few.stats.std_error).all()


# -- the result ------------------------------------------------------------------------------------


def test_frames_summaries_and_files_have_them(tmp_path):
    result = fastgd.solve(np.stack([X, 2.0 * X]), Y, intercept=True, stats=True)
    one = fastgd.solve(X, Y, intercept=True, stats="HC1")
    with scipy():
        frame, p, p_of_one, summary = result.to_frame("polars", features=["a", "b", "c"]), result.stats.p, one.stats.p, one.summary()
    names = [f"{what}_{name}" for what in ("std_error", "t", "p") for name in ("w_a", "w_b", "w_c", "intercept")]
    assert [name for name in frame.columns if name in names] == names
    np.testing.assert_array_equal(frame["p_intercept"].to_numpy(), p[:, 3])
    np.testing.assert_array_equal(frame["r2"].to_numpy(), result.stats.r2)
    assert f"(std error {one.stats.std_error[0]:.6g}, t {one.stats.t[0]:.6g}, p {p_of_one[0]:.6g})" in summary
    assert "HC1" in summary
    for name, each in (("batch", result), ("one", one)):
        each.save(tmp_path / name)
        again = fastgd.load(tmp_path / name)
        same(again.stats, each.stats)
        assert (again.stats.covariance_kind, again.stats.weights_are) == (each.stats.covariance_kind, each.stats.weights_are)
        assert repr(again.stats) == repr(each.stats)
    replace(result, stats=replace(result.stats, r2=result.stats.r2[:1])).save(tmp_path / "crafted")
    refused_call(ValueError, r"stats\.r2 has shape \(1,\)", lambda: fastgd.load(tmp_path / "crafted"))


def test_without_scipy_there_are_errors_but_no_p(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy", None)
    monkeypatch.setitem(sys.modules, "scipy.special", None)
    result = fastgd.solve(X, Y, intercept=True, stats=True)
    columns = result.to_frame("polars").columns
    assert "std_error_w_0" in columns
    assert not any(name.startswith("p_") for name in columns)
    assert ", p " not in result.summary()
    for call in (lambda: result.stats.p, lambda: result.stats.f_p, lambda: result.stats.confidence_interval()):
        with pytest.raises(ImportError, match=r"fastgd\[stats\]"):
            call()


def test_results_of_torch_have_numpy_statistics(torch):
    result = fastgd.solve(torch.tensor(X), torch.tensor(Y), intercept=True, stats=True)
    same(result.stats, fastgd.solve(X, Y, intercept=True, stats=True).stats)


# -- refusals --------------------------------------------------------------------------------------


def test_bad_options_are_refused_before_any_work(no_work):
    for stats, error, words in (
        (1, TypeError, "stats must be True"),
        ("HC4", ValueError, "covariance of stats must be"),
        ({"kind": 1}, ValueError, "stats has no option 'kind'"),
        ({"covariance": "cluster"}, ValueError, "needs clusters"),
        ({"covariance": "HC0", "clusters": [1] * 40}, ValueError, "go with covariance='cluster'"),
        ({"clusters": [1.5] * 40}, TypeError, "whole numbers or texts"),
        ({"clusters": [None] * 40}, TypeError, "whole numbers or texts"),
        ({"weights_are": "big"}, ValueError, "weights_are of stats must be"),
    ):
        refused(error, words, X, Y, stats=stats)


def test_what_statistics_do_not_go_with_is_refused():
    moments = fastgd.compress(X, Y)
    for words, call in (
        ("weight_decay", lambda: fastgd.solve(X, Y, weight_decay=[0.0, 0.1], stats=True)),
        ("weight_decay", lambda: fastgd.fit(X, Y, optimizer=fastgd.AdamW(), stats=True)),
        ("maximize", lambda: fastgd.fit(X, Y, lr=0.1, optimizer=fastgd.SGD(maximize=True), stats=True)),
        ("samples are gone", lambda: fastgd.solve(moments, stats="HC3")),
        ("label for each of 40 samples; they have 39", lambda: fastgd.solve(X, Y, stats={"clusters": np.arange(39)})),
        ("does not broadcast", lambda: fastgd.solve(X, Y, stats={"clusters": np.ones((2, 40), int)})),
        ("there are none", lambda: fastgd.solve(X, Y, stats={"weights_are": "frequency"})),
    ):
        refused_call(ValueError, words, call)
    stats = fastgd.solve(X, Y, stats=True).stats
    for level, error in ((1.0, ValueError), ("0.9", TypeError), (True, TypeError)):
        refused_call(error, "level must be a number between 0 and 1", lambda level=level: stats.confidence_interval(level))
