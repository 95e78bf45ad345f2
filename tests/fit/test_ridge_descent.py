"""`fit(ridge=)`: the penalty leaves the intercept alone, in every kernel and reference."""

from __future__ import annotations

import numpy as np
import pytest

import fastgd
import tests.cuda_on_host  # noqa: F401  registers cuda-host
from fastgd.kernels.update_rules import UPDATE_RULES
from tests.support.refusals import X5, Y5, refused
from tests.support.rule_options import optimizer, rules_with, ways_of

RIDGES = np.array([0.0, 0.03125, 0.25, 1.0, 8.0])
OURS, OTHERS = 2.0, 8.0  # shares of the bound: docs/error-bound.md
COUPLED = [name for name in rules_with("cpu") if UPDATE_RULES[name].decoupled is not True]


@pytest.mark.parametrize("rule", COUPLED)
def test_without_an_intercept_it_is_weight_decay(rule):
    """Bit for bit, in every way to run the rule; of the sum, too."""
    for way in ways_of(rule):
        for reduction, scale in (("mean", 2.0), ("sum", 2.0 * X5.shape[1])):
            options = {"lr": 0.01, "epochs": 6, "history": True, "reduction": reduction, **way}
            ridge = fastgd.fit(X5, Y5, ridge=RIDGES, optimizer=rule, **options)
            decay = fastgd.fit(X5, Y5, optimizer=optimizer(rule, {"weight_decay": scale * RIDGES}), **options)
            assert np.array_equal(ridge.history.w, decay.history.w), (way, reduction)
            assert np.array_equal(ridge.excess_loss, decay.excess_loss, equal_nan=True), (way, reduction)


def loop(X, y, ridge, lr, epochs):
    """w and the intercept at every epoch of gradient descent, as one writes it."""
    w, b = np.zeros(X.shape[1]), 0.0
    rows = [[*w, b]]
    for _ in range(epochs):
        r = X @ w + b - y
        w, b = w - lr * (2 * X.T @ r / len(y) + 2 * ridge * w), b - lr * 2 * r.mean()
        rows.append([*w, b])
    return rows


def share_of_the_bound(history, k, **options):
    """The share of the bound that the worst epoch of fit k uses; inf: the report is not ok."""
    rows = np.column_stack([history.w[k], history.intercept[k]])
    report = fastgd.verify(rows, X5[k], Y5[k], ridge=float(RIDGES[k]), intercept=True, epochs=len(rows) - 1, **options)
    return report.verdicts[0].tau_w if report.ok else np.inf


def test_the_intercept_is_left_alone(backend):
    """The loop above and `fit` agree with the same exact step at every epoch."""
    for way in ({}, {"algorithm": "stream"}) if backend == "cpu" else ({},):
        options = {"ridge": RIDGES, "intercept": True, "lr": 0.02, "epochs": 9, "history": True, "backend": backend}
        result = fastgd.fit(X5, Y5, **options, **way)
        for k in range(5):
            assert share_of_the_bound(result.history, k, lr=0.02) <= (OURS if backend == "cpu" else OTHERS)
            by_hand = np.array(loop(X5[k], Y5[k], RIDGES[k], 0.02, 9))
            assert fastgd.verify(by_hand, X5[k], Y5[k], lr=0.02, ridge=float(RIDGES[k]), intercept=True, epochs=9).ok


@pytest.mark.parametrize("rule", COUPLED)
def test_every_rule_agrees_with_torch(rule, torch):
    """At every epoch, within the bound; torch has a group of its own for the intercept."""
    options = {"ridge": RIDGES, "intercept": True, "lr": 0.01, "epochs": 8, "optimizer": rule, "history": True}
    for way, most in [*((way, OURS) for way in ways_of(rule)), ({"backend": "torch"}, OTHERS)]:
        history = fastgd.fit(X5, Y5, **way, **options).history
        for k in range(5):
            assert share_of_the_bound(history, k, lr=0.01, optimizer=rule) <= most, way


def rounding_leaves(X, y, p, ridge, weights=None):
    """How far rounding may leave a descent at the safe rate, 1 over the largest curvature 2 λ_max,
    from the minimum p = (w, intercept).

    Each epoch leaves at most 1 − λ_min / λ_max of the distance and adds the rounding of the
    gradient, 2γ|A|ᵀ(|A||p| + |y|) at the rate 1 / (2 λ_max), and of w: all epochs together add both
    λ_max / λ_min times.
    """
    n, d = X.shape
    root = np.sqrt(np.full(n, 1 / n) if weights is None else weights / weights.sum())
    A, penalty = np.column_stack([X, np.ones(n)]) * root[:, None], np.append(np.full(d, ridge), 0.0)
    low, *_, high = np.linalg.eigvalsh(A.T @ A + np.diag(penalty))
    terms = np.abs(A).T @ (np.abs(A) @ np.abs(p) + np.abs(root * y)) + penalty * np.abs(p)
    return 2.0**-53 * ((n + d + 8) * np.linalg.norm(terms) + high * np.linalg.norm(p)) / low


@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("algorithm", ["moments", "stream"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_it_ends_at_the_minimum_that_solve_finds(standardize, algorithm, reduction):
    """excess_loss is measured from there, and tol stops near it."""
    ridges = RIDGES[1:]
    options = {"intercept": True, "standardize": standardize}
    found = fastgd.solve(X5[1:], Y5[1:], ridge=ridges, **options)
    given = {"ridge": ridges, "reduction": reduction, "algorithm": algorithm, **options}
    epochs = 3000 if standardize else 100_000  # beside a large ridge the intercept's direction is flat
    ended = fastgd.fit(X5[1:], Y5[1:], epochs=epochs, excess_loss=True, **given)
    for k, (X, y) in enumerate(zip(X5[1:], Y5[1:], strict=True)):  # in the coordinates in which the descent is made
        center, scale = (X.mean(axis=0), found.scale[k]) if standardize else (np.zeros(X.shape[1]), 1.0)
        minimum, end = (np.append(one.w[k] * scale, one.intercept[k] + one.w[k] @ center) for one in (found, ended))
        assert np.linalg.norm(end - minimum) <= rounding_leaves((X - center) / scale, y, minimum, ridges[k])
    assert (ended.excess_loss <= 1e-12 * Y5[1:].var(axis=1)).all()
    assert (fastgd.fit(X5[1:], Y5[1:], epochs=epochs, tol=1e-6, **given).status == fastgd.Status.CONVERGED).all()
    far = fastgd.fit(X5[1:], Y5[1:], epochs=3, excess_loss=True, **given)
    scale = found.scale if standardize else 1.0
    penalty = ridges * (((far.w * scale) ** 2).sum(axis=1) - ((found.w * scale) ** 2).sum(axis=1))
    sizes = far.loss + found.loss + ridges * (((far.w * scale) ** 2).sum(axis=1) + ((found.w * scale) ** 2).sum(axis=1))
    off = np.abs(far.excess_loss - (far.loss - found.loss + penalty))
    assert (off <= 16 * 2.0**-53 * sizes).all()  # each term is made with fewer roundings of its own size


def test_weights_gaps_and_mini_batches():
    rng = np.random.default_rng(1)
    weights, gaps = rng.uniform(0.5, 2.0, Y5.shape), np.where(rng.random(Y5.shape) < 0.1, np.nan, Y5)
    found = fastgd.solve(X5, gaps, ridge=0.5, intercept=True, sample_weight=weights, nan_policy="omit")
    ended = fastgd.fit(X5, gaps, ridge=0.5, intercept=True, sample_weight=weights, nan_policy="omit", epochs=100_000)
    for k, kept in enumerate(~np.isnan(gaps)):
        minimum, end = (np.append(of.w[k], of.intercept[k]) for of in (found, ended))
        assert np.linalg.norm(end - minimum) <= rounding_leaves(X5[k, kept], Y5[k, kept], minimum, 0.5, weights[k, kept])
    one = fastgd.fit(X5, Y5, ridge=0.5, intercept=True, lr=0.02, epochs=5, algorithm="stream")
    batch = fastgd.fit(X5, Y5, ridge=0.5, intercept=True, lr=0.02, epochs=5, batch_size=X5.shape[1], shuffle=False)
    assert np.array_equal(one.w, batch.w)


def test_wide_fits_and_packs_have_the_bits_of_each_alone():
    rng = np.random.default_rng(2)
    for d, m in ((2, 70), (40, 3)):
        X, Y, ridges = rng.normal(size=(m, 90, d)), rng.normal(size=(m, 90)), rng.uniform(0, 1, m)
        for dtype in ("float32", "float64"):
            options = {"intercept": True, "epochs": 12, "tol": 1e-3, "dtype": dtype}
            whole = fastgd.fit(X, Y, ridge=ridges, **options)
            for k in (0, m - 1):
                alone = fastgd.fit(X[k], Y[k], ridge=ridges[k], **options)
                assert np.array_equal(alone.w, whole.w[k])
                assert (alone.intercept, alone.epochs, alone.excess_loss) == (whole.intercept[k], whole.epochs[k], whole.excess_loss[k])


@pytest.mark.parametrize("rule", ["sgd", "adam"])
def test_cuda_kernels_have_the_cpus_bits(rule, cuda_backend):
    wide = np.concatenate([X5] * 7, axis=2)
    for X, way in ((X5, {"algorithm": "moments"}), (X5, {"algorithm": "stream"}), (X5, {"batch_size": 2}), (wide, {})):
        options = {"ridge": RIDGES, "intercept": True, "lr": 0.01, "epochs": 5, "optimizer": rule, "history": True, "excess_loss": True}
        host, device = (fastgd.fit(X, Y5, backend=name, **way, **options) for name in ("cpu", cuda_backend))
        assert np.array_equal(host.history.w, device.history.w), way
        assert np.array_equal(host.intercept, device.intercept), way
        assert np.array_equal(host.excess_loss, device.excess_loss, equal_nan=True), way


def test_an_axis_of_a_sweep_and_a_value_for_each_group():
    swept = fastgd.sweep(X5[0], Y5[0], grid={"ridge": RIDGES, "lr": [0.01, 0.02]}, epochs=7, intercept=True)
    for i, j in np.ndindex(swept.loss.shape):
        assert swept.loss[i, j] == fastgd.fit(X5[0], Y5[0], ridge=RIDGES[i], lr=[0.01, 0.02][j], epochs=7, intercept=True).loss
    rows, labels = X5.reshape(-1, X5.shape[2]), np.repeat(np.arange(5), X5.shape[1])
    grouped = fastgd.fit_groups(rows, Y5.ravel(), labels, ridge=RIDGES, intercept=True, epochs=7)
    assert np.array_equal(grouped.w, fastgd.fit(X5, Y5, ridge=RIDGES, intercept=True, epochs=7).w)
    assert np.array_equal(grouped.hyperparameters["ridge"], RIDGES)


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ("ridge must be at least 0; it is -1", {"ridge": -1.0}),
        ("give ridge, which leaves the intercept alone, or weight_decay", {"ridge": 1.0, "optimizer": fastgd.SGD(weight_decay=0.1)}),
        ("the weight decay of AdamW is not: give optimizer='adam'", {"ridge": 1.0, "optimizer": "adamw"}),
        ("the weight decay of NAdam is not", {"ridge": 1.0, "optimizer": fastgd.NAdam(decoupled_weight_decay=True)}),
        ("maximize=True leads up", {"ridge": 1.0, "optimizer": fastgd.SGD(maximize=True)}),
        ("ridge goes with reduction='sum' where every fit uses all samples", {"ridge": 1.0, "reduction": "sum", "nan_policy": "omit"}),
        ("do not broadcast.*ridge .3,.", {"ridge": [1.0, 2.0, 3.0]}),
    ],
)  # fmt: skip
def test_what_is_refused(no_work, words, options):
    refused(ValueError, words, X5, Y5, **options)


def test_statistics_are_those_of_least_squares():
    refused(ValueError, "stats are those of least squares, and ridge makes a fit with a penalty", X5, Y5, ridge=1.0, stats=True)
