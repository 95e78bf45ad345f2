"""Descents with defects that have no name: the answer must be "unknown"."""

from __future__ import annotations

from tests.support.planted_cases import Case, Rng
from tests.support.planted_descents import Planted, mean_gradient, run


def one_jump(case: Case, rng: Rng) -> Planted:
    """w is reset in one epoch."""
    at = int(rng.integers(2, case.epochs - 1))

    def rule(w, g, lr, t, memory):
        return (w - lr * g) * w.dtype.type(0.99 if t == at else 1)

    return run(case, rule=rule)


def noisy_gradient(case: Case, rng: Rng) -> Planted:
    return run(case, gradient=lambda X, y, w, t: mean_gradient(X, y, w, t) * (1 + 1e-3 * rng.standard_normal(w.shape)).astype(X.dtype))


def sample_by_sample(case: Case, rng: Rng) -> Planted:
    """Stochastic descent: one sample after the other, in a new order every epoch."""

    def run_epoch(w, g, lr, t, memory):
        X, y = case.design, case.y.astype(case.dtype)
        for i in rng.permutation(len(y)):
            w = w - lr / X.dtype.type(len(y)) * 2 * (X[i] @ w - y[i]) * X[i]
        return w

    return run(case, rule=run_epoch)


def wrong_feature(case: Case, rng: Rng) -> Planted:
    """One entry of X has another value in the gradient."""
    i, j = int(rng.integers(len(case.y))), int(rng.integers(case.X.shape[1]))

    def gradient(X, y, w, t):
        X = X.copy()
        X[i, j] *= X.dtype.type(1.5)
        return mean_gradient(X, y, w, t)

    return run(case, gradient=gradient)


def free_rates(case: Case, rng: Rng) -> Planted:
    """Every epoch has a rate of its own: it may be a schedule, and may be anything else."""
    factors = rng.uniform(0.3, 1, case.epochs)
    return run(case, rate=lambda t: factors[t])


NAMELESS = {
    "one_jump": one_jump,
    "noisy_gradient": noisy_gradient,
    "sample_by_sample": sample_by_sample,
    "wrong_feature": wrong_feature,
    "free_rates": free_rates,
}
