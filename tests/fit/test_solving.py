"""solve: against exact rationals, the NIST sets, and the limit of fit. Every bound is derived where
it stands."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

import fastgd
from fastgd.testing import nist
from tests.specification.rationals import exact_minimiser

U = {"float32": 2.0**-24, "float64": 2.0**-53}
LAPACK = 30  # LAPACK's own tests accept a backward error of 30 · max(n, D) · u


def design(X, intercept=False):
    X = np.asarray(X, np.float64).reshape(len(X), -1)
    return np.column_stack([X, np.ones(len(X))]) if intercept else X


def parameters(result):
    w = np.asarray(result.state.w if result.w.dtype == np.float64 else result.w, np.float64)
    if w.shape[-1:] != result.state.w.shape[-1:]:
        w = np.concatenate([w, np.asarray(result.intercept, np.float64)[..., None]], axis=-1)
    return w


def algorithm(result):
    return result.state.algorithm_names[int(result.state.algorithm)]


def bound(X, y, w, name, algorithm):
    """|w − exact| at most, of each parameter.

    Let columns have lengths l, κ = the largest l_j |x_j⁺| (x_j⁺: row j of the pseudo-inverse), S =
    Σ l_k |w_k| + |y|. Moments: entry (i, j) is wrong by at most γ l_i l_j, γ = (n + 40)² u² for
    compensated sums (Ogita, Rump, Oishi 2005: γ_n², the butterfly and the pairwise sums with 3 u²
    each being in the 40) and (n + 40) · 2^-53 for float64 sums of exact products. As (G⁻¹)_ij =
    x_i⁺·x_j⁺, and the last residual of the refinement errs no more than moments of D + 40 samples,
    the parameter moves by 2 γ D κ² S / l_j. LAPACK: [X y] has a backward error of ε = 30 max(n, D)
    · 2^-53 · √(D + 1) per column, which moves it by ε (κ S + D κ² |r|) / l_j (Wedin 1973). First
    order; the factor 2 covers the higher ones where ε κ D < 1/4, which is asserted. Then the result
    is rounded once.
    """
    n, size = X.shape
    lengths = np.sqrt((X * X).sum(axis=0))
    condition = np.sqrt((np.linalg.pinv(X / lengths, rcond=0) ** 2).sum(axis=1)).max()
    total = (lengths * abs(w)).sum() + np.linalg.norm(y)
    if algorithm == "moments":
        gamma = (n + 40) * 2.0**-53 if name == "float32" else ((n + 40) * 2.0**-53) ** 2 + ((size + 40) * 2.0**-53) ** 2
        assert gamma * condition**2 * size**2 < 0.25
        moved = 2 * gamma * size * condition**2 * total
    else:
        epsilon = LAPACK * max(n, size) * 2.0**-53 * np.sqrt(size + 1)
        assert epsilon * condition * size < 0.25
        moved = 2 * epsilon * (condition * total + size * condition**2 * np.linalg.norm(y - X @ w))
    return U[name] * abs(w) + moved / lengths


def check(X, y, name="float64", expect=None, **settings):
    """Solve in this dtype and compare with exact rationals; returns the result and the largest
    share of the bound."""
    X, y = np.asarray(X, name), np.asarray(y, name)
    result = fastgd.solve(X, y, **settings)
    exact = exact_minimiser(X, y, settings.get("intercept", False))
    if expect:
        assert algorithm(result) == expect
    limit = bound(
        design(X, settings.get("intercept", False)), y.astype(float), np.array([float(v) for v in exact]), name, algorithm(result)
    )
    w = parameters(result)
    wrong = np.array([float(abs(Fraction(float(a)) - b)) for a, b in zip(w, exact, strict=True)])
    assert np.all(wrong <= limit), (wrong / limit).max()
    return result


# -- against what is exact -------------------------------------------------------------------------


@pytest.mark.parametrize("regression", nist(), ids=lambda regression: regression.name)
def test_nist_sets(regression):
    result = fastgd.solve(regression.X, regression.y, intercept=regression.intercept)
    exact = np.array([Fraction(v) for v in regression.exact.beta_of_float64])
    X = design(regression.X, regression.intercept)
    limit = bound(X, regression.y, exact.astype(float), "float64", algorithm(result))
    wrong = abs(np.array([Fraction(float(v)) for v in parameters(result)]) - exact).astype(float)
    assert np.all(wrong <= limit)
    assert algorithm(result) == "moments"
    assert bool(result.ill_conditioned) == (regression.name == "filip")
    assert int(result.rank) == X.shape[1]
    scaled = X / np.sqrt((X * X).sum(axis=0))
    indices = np.sqrt((np.linalg.pinv(scaled, rcond=0) ** 2).sum(axis=1))
    # the pseudo-inverse by SVD is wrong by 30 max(n, D) u κ₂ of itself (LAPACK's own test), ours by
    # D³ u κ² at most; κ₂ ≤ D κ
    room = 30 * len(X) * 2.0**-53 * X.shape[1] * indices.max()
    ours = X.shape[1] ** 3 * 2.0**-53 * min(indices.max() ** 2, 2.0**46 if regression.name != "filip" else indices.max())
    assert abs(float(result.condition) / indices.max() - 1) <= room + ours
    # the loss is that of moments: |Σr² − exact| ≤ γ (|y| + Σ l|w|)² of section 6, then what w's own
    # rounding adds; L, L/W and the true one are rounded
    lengths = np.sqrt((X * X).sum(axis=0))
    total = (lengths * abs(exact.astype(float))).sum() + np.linalg.norm(regression.y)
    rounding = (((len(X) + 40) * 2.0**-53) ** 2 * total**2 * 2 + ((lengths * limit).sum()) ** 2) / len(X)
    true = float(regression.exact.mse_of_float64)
    assert abs(float(result.loss) - true) <= rounding + 4 * 2.0**-53 * true


@pytest.mark.parametrize("name", ["float32", "float64"])
@pytest.mark.parametrize(("n", "d", "intercept"), [(4, 1, False), (7, 2, True), (3, 2, True), (40, 5, False), (33, 6, True), (3, 3, False)])
def test_exact_rationals(n, d, intercept, name):
    rng = np.random.default_rng(n * d)
    check(rng.standard_normal((n, d)), rng.standard_normal(n), name, expect="moments", intercept=intercept)
    check(rng.integers(-9, 10, (n, d)) + 0.5, rng.integers(-9, 10, n), name, expect="moments", intercept=intercept)


def test_nearly_correctly_rounded():
    """In well-conditioned problems the bound is u (1 + 2^-20) of each parameter: the neighbour of
    the exact value at worst."""
    rng = np.random.default_rng(0)
    for name in ("float32", "float64"):
        X, y = rng.standard_normal((20, 60, 3)).astype(name), rng.standard_normal((20, 60)).astype(name)
        w = fastgd.solve(X, y).w
        for i in range(20):
            exact = exact_minimiser(X[i], y[i])
            correct = np.array([float(v) for v in exact]).astype(name)  # double rounding may give the neighbour, too
            assert np.all(abs(w[i] - correct) <= np.spacing(abs(correct)))
            assert (w[i] == correct).any()


@pytest.mark.parametrize(("degree", "how"), [(4, "moments"), (6, "moments"), (7, "moments"), (11, "moments"), (14, "lstsq")])
def test_powers(degree, how):
    """Collinearity indices 6e3, 8e5, 1e7, 3e11 and more than there are: Cholesky in float64, in
    double-double, then singular values."""
    x = np.linspace(1, 2, 31)
    X = x[:, None] ** np.arange(degree + 1)
    if how == "moments":
        result = check(X, np.sin(5 * x), expect=how)
        assert bool(result.ill_conditioned) == (degree == 11)
    else:
        result = fastgd.solve(X, np.sin(5 * x))
        assert algorithm(result) == how
        assert result.ill_conditioned
        assert result.rank < degree + 1


def test_float32_data_that_float64_moments_cannot_hold():
    rng = np.random.default_rng(1)
    X = rng.standard_normal((50, 2)).astype(np.float32) + np.float32(4e5)
    y = rng.standard_normal(50)
    result = check(X, y, "float32", expect="moments", intercept=True)  # of shifted columns
    assert result.ill_conditioned
    features = np.column_stack([X, np.ones(50, np.float32)])  # a feature is what it is
    assert check(features, y, "float32", expect="lstsq").ill_conditioned
    near = check(X - np.float32(4e5 - 100), rng.standard_normal(50), "float32", expect="moments", intercept=True)
    assert not near.ill_conditioned


def test_what_counts_as_dependent():
    """Columns that differ in the last digit of float32 are told apart; sums that were rounded in
    float64 are not."""
    X = np.ones((64, 2), np.float32)
    X[::2, 1] = np.nextafter(np.float32(1), np.float32(2))
    apart = check(X, np.arange(64), "float32", expect="lstsq")
    assert (int(apart.rank), bool(apart.ill_conditioned)) == (2, True)
    features = np.random.default_rng(2).standard_normal((64, 2))
    rounded = fastgd.solve(np.column_stack([features, features @ [0.3, 0.7]]), np.arange(64.0))
    assert (int(rounded.rank), bool(rounded.ill_conditioned)) == (2, True)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize(("n", "d", "intercept"), [(8, 3, False), (8, 2, True), (3, 5, False), (2, 3, True)])
def test_ridge(n, d, intercept, reduction):
    """s Xᵀ(Xw − y) + weight_decay w = 0 is (XᵀX + λI) w = Xᵀy, λ = weight_decay/s: the least
    squares of rows √λ·I below X."""
    rng = np.random.default_rng(3)
    X, y = rng.standard_normal((n, d)), rng.standard_normal(n)
    decay = 8.0 / n if reduction == "mean" else 8.0  # λ = 4, √λ = 2; for n = 3, 8/3 is rounded: by u of λ, counted below
    result = fastgd.solve(X, y, weight_decay=decay, reduction=reduction, intercept=intercept)
    exact = np.array([float(v) for v in exact_minimiser(X, y, intercept, penalty=4)])
    rows = np.concatenate([design(X, intercept), 2 * np.eye(d + intercept)])
    extended = np.concatenate([y, np.zeros(d + intercept)])
    # dw/dλ = −(G + λI)⁻¹ w, no longer than |w|/λ: a change of λ by 2u, and the square root's, moves
    # w by 3u |w|
    limit = bound(rows, extended, exact, "float64", algorithm(result)) + 3 * U["float64"] * np.linalg.norm(exact)
    assert np.all(abs(parameters(result) - exact) <= limit + U["float64"] * abs(exact))  # `exact` was rounded
    assert algorithm(result) == ("moments" if n >= d + intercept else "lstsq")
    assert int(result.rank) == d + intercept
    same = fastgd.solve(rows, extended)
    assert np.all(abs(parameters(result) - same.w) <= 2 * limit)


@pytest.mark.parametrize("settings", [{}, {"weight_decay": 0.5}, {"weight_decay": 3.0, "reduction": "sum", "intercept": True}])
def test_descent_converges_to_it(settings):
    """After T epochs |w_T − w*| ≤ ρ^T |w*| + ℓ/(1 − ρ), ρ = 1 − lr (λ_min + decay), ℓ = 6u |w*| the
    rounding of one step.

    A step rounds w once, lr·g never (fma), the gradient with decay three times, where |lr · decay ·
    w| ≤ |w|; that is 4u |w*|, and the moments' own error is far below the rest.
    """
    rng = np.random.default_rng(4)
    X, y = rng.standard_normal((50, 3)), rng.standard_normal(50)
    target = fastgd.solve(X, y, **settings)
    decay = settings.get("weight_decay", 0.0)
    others = {name: value for name, value in settings.items() if name != "weight_decay"}
    run = fastgd.fit(X, y, optimizer=fastgd.SGD(weight_decay=decay), epochs=2000, **others)
    values = np.linalg.eigvalsh(design(X, "intercept" in settings).T @ design(X, "intercept" in settings))
    s = 2.0 if settings.get("reduction") == "sum" else 2.0 / 50
    rho = 1 - float(run.lr) * (s * values[0] + decay)
    size = np.linalg.norm(target.state.w)
    assert 0 < rho < 0.9
    apart = (rho**2000 + 6 * U["float64"] / (1 - rho)) * size
    assert np.linalg.norm(run.state.w - target.state.w) <= apart
    # the mean square has the gradient −decay w · (2/n)/s there and the Hessian 2G/n; each of the
    # two losses is rounded once
    loss = float(target.loss)
    assert abs(float(run.loss) - loss) <= decay * 2 / 50 / s * size * apart + values[-1] / 50 * apart**2 + 4 * U["float64"] * loss


# -- rank ------------------------------------------------------------------------------------------


def wedin(X, w, y, rank):
    """How far a minimum-norm solution may be off: ε (3 κ |w| + κ² |r| / σ_1), κ = σ_1/σ_r, ε = 30
    max(n, D) u (Wedin 1973)."""
    values = np.linalg.svd(X, compute_uv=False)
    condition = values[0] / values[rank - 1]
    r = np.linalg.norm(y - X @ w)
    size = np.linalg.norm(w) + np.linalg.norm(y) / values[0]
    return LAPACK * max(X.shape) * 2.0**-53 * (3 * condition * size + condition**2 * r / values[0])


@pytest.mark.parametrize("name", ["float32", "float64"])
def test_equal_features_share_the_weight(name):
    rng = np.random.default_rng(5)
    X = rng.integers(-9, 10, (30, 3)).astype(name)
    y = rng.standard_normal(30).astype(name)
    result = fastgd.solve(np.concatenate([X, X[:, :1], 2 * X[:, 1:2]], axis=1), y)
    a, b, c = exact_minimiser(X, y)
    exact = np.array([float(v) for v in (a / 2, b / 5, c, a / 2, 2 * b / 5)])  # minimum norm: a = p + q, b = p + 2q
    assert int(result.rank) == 3
    assert result.ill_conditioned
    assert algorithm(result) == "lstsq"
    all_columns = np.concatenate([X, X[:, :1], 2 * X[:, 1:2]], axis=1).astype(float)
    limit = wedin(all_columns, exact, y.astype(float), 3)
    assert np.all(abs(result.w - exact) <= limit + 2 * U[name] * abs(exact))
    inverse = np.linalg.pinv(all_columns) @ y
    assert np.all(abs(result.state.w - inverse) <= 2 * limit)


@pytest.mark.parametrize(("n", "d", "intercept"), [(1, 1, True), (1, 3, False), (2, 2, True), (5, 9, False), (20, 300, False)])
def test_fewer_samples_than_parameters(n, d, intercept):
    rng = np.random.default_rng(6)
    X, y = rng.standard_normal((n, d)), rng.standard_normal(n)
    result = fastgd.solve(X, y, intercept=intercept)
    full = design(X, intercept)
    if d < 10:
        exact = np.array([float(v) for v in exact_minimiser(X, y, intercept)])
        assert np.all(abs(result.state.w - exact) <= wedin(full, exact, y, n) + U["float64"] * abs(exact))
    inverse = np.linalg.pinv(full) @ y
    assert np.all(abs(result.state.w - inverse) <= 2 * wedin(full, inverse, y, n))
    assert (int(result.rank), bool(result.ill_conditioned), algorithm(result)) == (n, True, "lstsq")
    # σ_1/σ_n of an n × D matrix by LAPACK twice: each σ is wrong by 30 max(n, D) u σ_1
    values = np.linalg.svd(full, compute_uv=False)
    assert abs(float(result.condition) / (values[0] / values[-1]) - 1) <= 4 * LAPACK * d * 2.0**-53 * values[0] / values[-1]


def test_more_than_256_features():
    rng = np.random.default_rng(7)
    X, y = rng.standard_normal((600, 257)), rng.standard_normal(600)
    result = fastgd.solve(X, y)
    other = np.linalg.lstsq(X, y, rcond=None)[0]
    assert algorithm(result) == "lstsq"
    assert np.all(abs(result.w - other) <= 2 * bound(X, y, other, "float64", "lstsq"))
    half = fastgd.solve(X[:, :256], y)
    assert algorithm(half) == "moments"
    other = np.linalg.lstsq(X[:, :256], y, rcond=None)[0]
    assert np.all(
        abs(half.w - other) <= bound(X[:, :256], y, other, "float64", "lstsq") + bound(X[:, :256], y, other, "float64", "moments")
    )


def test_features_and_targets_of_nothing():
    rng = np.random.default_rng(8)
    X, y = rng.standard_normal((9, 3)), rng.standard_normal(9)
    X[:, 1] = 0
    result = fastgd.solve(X, y)
    assert (result.w[1], int(result.rank), bool(result.ill_conditioned)) == (0, 2, True)
    rest = fastgd.solve(X[:, [0, 2]], y)
    assert np.all(abs(result.w[[0, 2]] - rest.w) <= wedin(X, result.w, y, 2))
    nothing = fastgd.solve(0 * X, y)
    assert (nothing.w.tolist(), int(nothing.rank), float(nothing.condition)) == ([0, 0, 0], 0, 1)
    assert fastgd.solve(X[:, [0, 2]], 0 * y).w.tolist() == [0, 0]
    assert fastgd.solve(X, y, weight_decay=0.1).w[1] == 0
    assert int(fastgd.solve(X, y, weight_decay=0.1).rank) == 3
    constant = fastgd.solve(np.full((9, 1), 7.5), y, intercept=True)
    assert (int(constant.rank), bool(constant.ill_conditioned)) == (1, True)


def test_descent_from_zero_finds_the_same_minimum_norm():
    X, y = np.array([[1.0, 1, 0], [2, 2, 1], [3, 3, 0], [1, 1, 5]]), np.array([1.0, 2, 4, 3])
    target, run = fastgd.solve(X, y), fastgd.fit(X, y, epochs=3000)
    values = np.linalg.eigvalsh(X.T @ X)
    rho = 1 - float(run.lr) * values[1] / 2  # s = 2/4; along the vector of the eigenvalue 0 only roundings add up, 6u |w| an epoch
    room = wedin(X, target.w, y, 2) + (rho**3000 + 6 * 3000 * U["float64"]) * np.linalg.norm(target.w)
    assert np.linalg.norm(run.w - target.w) <= room
