"""`solve(ridge=)`: the penalty leaves the intercept alone; exact rationals, and any company."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

import fastgd
from tests.support.exact_statistics import invert
from tests.support.fit_results import same
from tests.support.refusals import refused_call
from tests.support.regressions import features, numbers, target

X, Y = features(40, 3, 1), target(features(40, 3, 1), 2)
WEIGHTS = numbers(40, 7, 64) + 0.25


def exact_ridge(X, y, ridge: float, intercept: bool, weights=None) -> tuple[list[Fraction], Fraction]:
    """(w with the intercept last, loss): XᵀΩX + Σω ridge I, but for the intercept, is solved."""
    rows = [[*map(Fraction, row), *([Fraction(1)] if intercept else [])] for row in np.asarray(X, float).tolist()]
    goal = list(map(Fraction, np.asarray(y, float).tolist()))
    omega = [Fraction(1)] * len(rows) if weights is None else list(map(Fraction, np.asarray(weights, float).tolist()))
    size, total = len(rows[0]), sum(omega)
    gram = [[sum(o * r[i] * r[j] for o, r in zip(omega, rows, strict=True)) for j in range(size)] for i in range(size)]
    for j in range(size - intercept):
        gram[j][j] += total * Fraction(ridge)
    right = [sum(o * r[i] * t for o, r, t in zip(omega, rows, goal, strict=True)) for i in range(size)]
    w = [sum(a * b for a, b in zip(row, right, strict=True)) for row in invert(gram)]
    residuals = [sum(a * b for a, b in zip(row, w, strict=True)) - t for row, t in zip(rows, goal, strict=True)]
    return w, sum(o * r * r for o, r in zip(omega, residuals, strict=True)) / total


def assert_exact(result, wanted, units: float) -> None:
    """w, intercept and loss are within so many units of 2^-53, of their scale."""
    w, loss = wanted
    made = [*np.ravel(result.w).tolist(), *([] if result.intercept is None else [float(result.intercept)])]
    scale = max(map(abs, w))
    for mine, value in zip(made, w, strict=True):
        assert abs(Fraction(mine) - value) <= Fraction(units * 2.0**-53) * scale
    assert abs(Fraction(float(result.loss)) - loss) <= Fraction(units * 2.0**-53) * loss


CASES = {
    "plain": (X, Y, True, None),
    "through zero": (X, Y, False, None),
    "weights": (X, Y, True, WEIGHTS),
    "far from zero": (X + 2.0**20, Y - 2.0**20, True, WEIGHTS),
    "equal columns": (X[:, [0, 0, 1]], Y, True, None),
    "constant column": (np.column_stack([X, np.full(40, 3.0)]), Y, True, None),
}


@pytest.mark.parametrize("ridge", [2.0**-20, 0.125, 64.0])
@pytest.mark.parametrize("name", CASES)
def test_the_exact_solution(name, ridge):
    """Moments in double-double hold it; the intercept is mean(y) − w · mean(x), in float64."""
    case_x, y, intercept, weights = CASES[name]
    result = fastgd.solve(case_x, y, ridge=ridge, intercept=intercept, sample_weight=weights)
    assert result.state.algorithm_names[int(result.state.algorithm)] == "moments"
    assert_exact(result, exact_ridge(case_x, y, ridge, intercept, weights), 16.0)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_more_parameters_than_samples(weights):
    """By LAPACK, of samples that are centred as they are read: n · D roundings, times σ/√ridge."""
    few = slice(0, 6)
    wide = features(6, 9, 3) + 16.0
    omega = None if weights is None else weights[few]
    result = fastgd.solve(wide, Y[few], ridge=0.25, intercept=True, sample_weight=omega)
    assert result.state.algorithm_names[int(result.state.algorithm)] == "lstsq"
    assert_exact(result, exact_ridge(wide, Y[few], 0.25, True, omega), 64 * 6 * 10)
    assert (result.rank, bool(result.ill_conditioned)) == (10, False)


def test_float32_columns_far_from_zero_go_to_their_samples():
    far = (X + 2.0**17).astype(np.float32)
    result = fastgd.solve(far, Y.astype(np.float32), ridge=0.125, intercept=True)
    assert result.state.algorithm_names[int(result.state.algorithm)] == "lstsq"
    w, loss = exact_ridge(far, Y, 0.125, True)
    unit = 2.0**-24  # results are rounded to float32 once; LAPACK works in float64, on centred samples, where the condition is 1.3
    np.testing.assert_allclose(result.w, [float(value) for value in w[:3]], rtol=4 * unit)
    np.testing.assert_allclose(result.loss, float(loss), rtol=4 * unit)


def test_without_an_intercept_it_is_twice_the_weight_decay():
    ridge = np.array([0.0, 0.01, 1.0])[:, None]
    pair = np.stack([X, X[::-1]])
    mine, other = fastgd.solve(pair, Y, ridge=ridge), fastgd.solve(pair, Y, weight_decay=2.0 * ridge)
    same(mine, other)
    same(fastgd.solve(pair, Y, ridge=ridge, reduction="sum"), mine)  # the objective has the mean


def test_no_ridge_is_least_squares():
    mine, other = fastgd.solve(X, Y, ridge=0.0, intercept=True), fastgd.solve(X, Y, intercept=True)
    for result in (mine, other):
        assert_exact(result, exact_ridge(X, Y, 0.0, True), 16.0)
    assert mine.rank == other.rank == 4


def test_it_is_where_descent_with_the_penalty_goes(torch):
    """torch's autograd of the loss and the penalty has a gradient of zero there."""
    result = fastgd.solve(X, Y, ridge=0.3, intercept=True)
    w = torch.tensor(result.w, requires_grad=True)
    intercept = torch.tensor(float(result.intercept), dtype=torch.float64, requires_grad=True)
    loss = ((torch.tensor(X) @ w + intercept - torch.tensor(Y)) ** 2).mean()
    # torch adds 40 squares in float64, each of a residual of 4 products: 40 + 2 · 4 roundings
    assert float(loss.detach()) == pytest.approx(float(result.loss), rel=48 * 2.0**-53)
    (loss + 0.3 * (w * w).sum()).backward()
    scale = 2.0 * float((torch.tensor(X).abs().T @ torch.tensor(Y).abs()).max()) / 40
    assert max(*w.grad.abs().tolist(), abs(float(intercept.grad))) <= 64 * 2.0**-53 * scale


def test_scaled_features_are_penalised_alike():
    """Scaled by hand to standard deviation 1, and back."""
    spread = X.std(axis=0)
    by_hand = fastgd.solve((X - X.mean(axis=0)) / spread, Y, ridge=0.2, intercept=True)
    result = fastgd.solve(X, Y, ridge=0.2, intercept=True, standardize=True)
    # By hand a scaled number has some 16 roundings (a mean and a spread of 40 samples, summed in
    # pairs), times the condition of these columns above √(n · ridge) · I, which is 1.2.
    rounding = 1.25 * 2 * 16 * 2.0**-53  # of both sides
    np.testing.assert_allclose(result.w, by_hand.w / spread, rtol=rounding)
    np.testing.assert_allclose(result.intercept, by_hand.intercept - by_hand.w @ (X.mean(axis=0) / spread), rtol=2 * rounding)
    assert result.center.shape == (3,)


@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_fit_has_the_same_bits_alone_in_company_and_from_moments(weighted, standardize):
    rng = np.random.default_rng(0)
    data = rng.normal(size=(60, 30, 3)) + 10.0 ** rng.integers(-2, 7, (60, 1, 3))
    data[5] = data[5, :1]
    y = data.sum(axis=-1) + rng.normal(size=(60, 30))
    y[rng.random(y.shape) < 0.1] = np.nan
    weights = rng.uniform(0.5, 2.0, y.shape) if weighted else None
    options = {"intercept": True, "nan_policy": "omit"}
    ridge = np.array([0.0, 1e-3, 1.0])[:, None]
    more = {"ridge": ridge, "standardize": standardize}
    whole = fastgd.solve(data, y, sample_weight=weights, threads=2, **options, **more)
    same(fastgd.solve(data, y, sample_weight=weights, threads=1, memory_limit="4 MiB", **options, **more), whole)
    moments = fastgd.compress(data, y, sample_weight=weights, **options)
    by_moments = fastgd.solve(moments, **more)
    solved = whole.state.algorithm == 1
    np.testing.assert_array_equal(by_moments.w[solved], whole.w[solved])
    for k in (0, 5, 59):
        alone = fastgd.solve(
            data[k], y[k], sample_weight=None if weights is None else weights[k], **options, ridge=ridge[:, 0], standardize=standardize
        )
        for name in ("w", "intercept", "loss", "rank", "condition"):
            np.testing.assert_array_equal(getattr(alone, name), getattr(whole, name)[:, k])


def test_shared_features_and_a_path_of_ridges():
    ys = np.stack([Y, 2.0 * Y, Y[::-1]])
    path = fastgd.solve(X, ys, ridge=np.array([0.1, 1.0, 10.0])[:, None], intercept=True)
    assert path.w.shape == (3, 3, 3)
    for i, ridge in enumerate((0.1, 1.0, 10.0)):
        for k in range(3):
            np.testing.assert_array_equal(path.w[i, k], fastgd.solve(X, ys[k], ridge=ridge, intercept=True).w)
    assert list(path.to_frame("polars").columns)[-1] == "ridge"


def test_bad_ridges_are_refused():
    for error, words, options in (
        (ValueError, "give ridge, which leaves the intercept alone, or weight_decay", {"ridge": 1.0, "weight_decay": 0.1}),
        (ValueError, "ridge must be", {"ridge": -1.0}),
        (TypeError, "ridge must be", {"ridge": "much"}),
        (ValueError, "ridge must be at most", {"ridge": 1e308}),
        (ValueError, "broadcast", {"ridge": np.ones(3), "X": np.stack([X, X])}),
        (ValueError, "stats are those of least squares", {"ridge": 1.0, "stats": True}),
    ):
        refused_call(
            error, words, lambda options=options: fastgd.solve(options.get("X", X), Y, **{k: v for k, v in options.items() if k != "X"})
        )


@pytest.mark.parametrize("options", [{}, {"standardize": True}, {"sample_weight": True}])
def test_few_kept_samples_are_those_alone(options):
    """Three kept samples of three features and an intercept: `omit` is deleting the rows."""
    x, kept = X[:8].copy(), np.array([0, 3, 6])
    x[~np.isin(np.arange(8), kept), 1] = np.nan
    given = {name: WEIGHTS[:8] if name == "sample_weight" else value for name, value in options.items()}
    alone = {name: WEIGHTS[kept] if name == "sample_weight" else value for name, value in options.items()}
    same_options = {"ridge": 0.5, "intercept": True, "nan_policy": "omit", "min_samples": 1}
    found, expected = fastgd.solve(x, Y[:8], **same_options, **given), fastgd.solve(X[kept], Y[kept], **same_options, **alone)
    assert same(found.w, expected.w)
    assert same(found.intercept, expected.intercept)
    assert found.state.algorithm == expected.state.algorithm
