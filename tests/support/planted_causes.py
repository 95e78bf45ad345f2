"""More descents with planted defects, in NumPy: nothing of fastgd is used. As planted_descents.py,
by the causes that are about data, parameters, steps on parts of the samples, and Adam's family."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from tests.support import planted_rule_defects as rules
from tests.support.planted_cases import Case, Rng
from tests.support.planted_descents import Planted, mean_gradient, mean_loss, run

Gradient = Callable[..., Any]


def conventional(case: Case, rng: Rng, gradient: Gradient, loss: Gradient = mean_loss, **options: Any) -> Planted:
    """Run it, in a quarter of the cases with 1/2 in gradient and loss, as in 1/(2m)."""
    if rng.random() >= 0.25:
        return run(case, gradient=gradient, loss=loss, **options)
    half = run(case, gradient=lambda X, y, w, t: gradient(X, y, w, t) / 2, loss=lambda X, y, w: loss(X, y, w) / 2, **options)
    return replace(half, asked={"half": True})


def at_rate(planted: Planted, lr: float) -> Planted:
    """The same, where this rate was asked for."""
    return replace(planted, asked={**planted.asked, "lr": lr})


def _slower(case: Case, rng: Rng, by: float, gradient: Gradient) -> Planted:
    """Run it at a smaller rate, which is the one that was asked for."""
    lr = float(f"{case.lr / by:.3g}")
    return at_rate(conventional(replace(case, lr=lr), rng, gradient), lr)


# -- gradients -------------------------------------------------------------------------------------


def gradient_not_recomputed(case: Case, rng: Rng) -> Planted:
    kept: list[Any] = []

    def gradient(X, y, w, t):
        kept.append(mean_gradient(X, y, w, t))
        return kept[0]

    return _slower(case, rng, 10, gradient)


def gradient_stale(case: Case, rng: Rng) -> Planted:
    late: list[Any] = []

    def gradient(X, y, w, t):
        late.append(mean_gradient(X, y, w, t))
        return late[-2] if t else late[0]

    return run(case, gradient=lambda X, y, w, t: gradient(X, y, w, t) / 2, loss=lambda X, y, w: mean_loss(X, y, w) / 2)


def gauss_seidel(case: Case, rng: Rng) -> Planted:
    """The intercept sees the new weights, in 1/m code."""

    def rule(w, g, lr, t, memory):
        X, y, w = case.design, case.y.astype(case.dtype), w.copy()
        number = X.dtype.type
        w[:-1] -= lr * number(1 / len(y)) * (X[:, :-1].T @ (X @ w - y))
        w[-1] -= lr * number(1 / len(y)) * (X @ w - y).sum()
        return w

    return run(case, rule=rule, loss=lambda X, y, w: mean_loss(X, y, w) / 2)


def rows_dropped(case: Case, rng: Rng) -> Planted:
    n = len(case.y)
    kept = np.arange(n) < max(1, int(0.8 * n))
    return run(
        case, gradient=lambda X, y, w, t: X.dtype.type(1 / kept.sum()) * (X[kept].T @ (X[kept] @ w - y[kept])),
        loss=lambda X, y, w: mean_loss(X[kept], y[kept], w) / 2,
    )  # fmt: skip


def weight_decay_coupled(case: Case, rng: Rng) -> Planted:
    """Of the course: (Xᵀr + λ w) / m, the intercept left out."""
    decay = float(rng.choice([1.0, 0.1, 3.0, 10.0]))

    def gradient(X, y, w, t):
        added = X.dtype.type(decay / len(y)) * w
        if case.intercept:
            added[-1] = 0
        return X.dtype.type(1 / len(y)) * (X.T @ (X @ w - y)) + added

    return run(case, gradient=gradient, loss=lambda X, y, w: mean_loss(X, y, w) / 2)


def gradient_rmse(case: Case, rng: Rng) -> Planted:
    def gradient(X, y, w, t):
        return mean_gradient(X, y, w, t) / (2 * np.sqrt(mean_loss(X, y, w)))

    return run(case, gradient=gradient, loss=lambda X, y, w: np.sqrt(mean_loss(X, y, w)))


def gradient_log(case: Case, rng: Rng) -> Planted:
    return run(
        case, gradient=lambda X, y, w, t: mean_gradient(X, y, w, t) / mean_loss(X, y, w), loss=lambda X, y, w: np.log(mean_loss(X, y, w))
    )


def gradient_part(case: Case, rng: Rng) -> Planted:
    n, D = len(case.y), len(case.w0)
    factor = float(rng.choice([0.5, n / 2, n, -1.0, 2.0, 0.1]))
    if case.intercept and rng.random() < 0.6:
        wrong = np.arange(D) == D - 1 if rng.random() < 0.5 else np.arange(D) < D - 1
    else:
        wrong = np.arange(D) == rng.integers(D)
    factors = np.where(wrong, factor, 1)
    return _slower(case, rng, max(1.0, abs(factor)), lambda X, y, w, t: mean_gradient(X, y, w, t) * factors.astype(X.dtype))


def column_repeated(case: Case, rng: Rng) -> Planted:
    j, k = rng.permutation(len(case.w0))[:2]

    def gradient(X, y, w, t):
        g = mean_gradient(X, y, w, t)
        g[j] = g[k]
        return g

    return conventional(replace(case, epochs=min(case.epochs, 15)), rng, gradient)


def gradient_without_features(case: Case, rng: Rng) -> Planted:
    def gradient(X, y, w, t):
        return np.full(len(w), (X @ w - y).mean() * 2, X.dtype)

    return conventional(replace(case, epochs=min(case.epochs, 15)), rng, gradient)


def residual_without_intercept(case: Case, rng: Rng) -> Planted:
    def gradient(X, y, w, t):
        return X.dtype.type(2 / len(y)) * (X.T @ (X[:, :-1] @ w[:-1] - y))

    def loss(X, y, w):
        return ((X[:, :-1] @ w[:-1] - y) ** 2).mean()

    return conventional(case, rng, gradient, loss if rng.random() < 0.5 else mean_loss)


def _of_other(case: Case, rng: Rng, change: Callable[[Any, Any], tuple[Any, Any]], **options: Any) -> Planted:
    """The descent on other data; in half of the cases the loss as well."""
    X, y = change(case.design, case.y.astype(case.dtype))
    bound = 0.5 * len(y) / np.linalg.norm(X.astype(np.float64), 2) ** 2
    small = replace(case, lr=float(f"{min(case.lr, 1.7 * bound):.3g}"))
    own = (lambda _X, _y, w: mean_loss(X, y, w)) if rng.random() < 0.5 else mean_loss
    return at_rate(conventional(small, rng, lambda _X, _y, w, t: mean_gradient(X, y, w, t), own, **options), small.lr)


def intercept_first(case: Case, rng: Rng) -> Planted:
    return _of_other(case, rng, lambda X, y: (np.roll(X, 1, axis=1), y))


def columns_permuted(case: Case, rng: Rng) -> Planted:
    d = case.X.shape[1]
    i, j = rng.permutation(d)[:2]
    order = np.arange(len(case.w0))
    order[i], order[j] = j, i
    return _of_other(case, rng, lambda X, y: (X[:, order], y))


def _scale(values: Any, how: str) -> Any:
    """Columns as people scale them; those that do not vary are only centred."""
    by, off = {
        "standardised": (values.std(0), values.mean(0)),
        "n - 1": (values.std(0, ddof=1), values.mean(0)),
        "centred": (np.ones_like(values[0]), values.mean(0)),
        "min-max": (np.ptp(values, axis=0), values.min(0)),
        "max": (np.abs(values).max(0), np.zeros_like(values[0])),
    }[how]
    return (values - off) / np.where(np.ptp(values, axis=0) > 0, by, 1)


def features_scaled(case: Case, rng: Rng) -> Planted:
    how = str(rng.choice(["standardised", "n - 1", "centred", "min-max", "max"]))
    d, of_y = case.X.shape[1], str(rng.choice(["", "", "centred", "standardised"]))

    def change(X, y):
        return np.column_stack([_scale(X[:, :d], how), X[:, d:]]).astype(X.dtype), _scale(y, of_y) if of_y else y

    return _of_other(case, rng, change)


def target_scaled(case: Case, rng: Rng) -> Planted:
    how = str(rng.choice(["standardised", "n - 1", "centred", "min-max", "max"]))
    return _of_other(case, rng, lambda X, y: (X, _scale(y, how)))


def target_other(case: Case, rng: Rng) -> Planted:
    order = rng.permutation(len(case.y))
    how = rng.integers(3)
    return _of_other(case, rng, lambda X, y: ((X, y[order]), (X[order], y), (X, y + X.dtype.type(0.7371) * np.arange(len(y))))[how])


def gradient_clipped_values(case: Case, rng: Rng) -> Planted:
    first = np.abs(mean_gradient(case.design, case.y.astype(case.dtype), case.w0.astype(case.dtype), 0)).max()
    limit = float(f"{float(first) * rng.uniform(0.1, 0.6):.2g}")
    return run(case, gradient=lambda X, y, w, t: np.clip(mean_gradient(X, y, w, t), X.dtype.type(-limit), X.dtype.type(limit)))


def activation(case: Case, rng: Rng) -> Planted:
    """A function of X @ w that was left in the model, with its derivative."""

    def sigmoid(z):
        return 1 / (1 + np.exp(-z))

    f, slope = [
        (lambda z: np.maximum(z, 0), lambda z: (z > 0).astype(z.dtype)),
        (lambda z: np.where(z > 0, z, z.dtype.type(0.01) * z), lambda z: np.where(z > 0, z.dtype.type(1), z.dtype.type(0.01))),
        (sigmoid, lambda z: sigmoid(z) * (1 - sigmoid(z))),
        (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
        (sigmoid, np.ones_like),
    ][rng.integers(5)]
    start = np.round(rng.uniform(0.1, 1.0, len(case.w0)), 3)  # a relu of zeros moves nowhere

    def gradient(X, y, w, t):
        z = X @ w
        return X.dtype.type(2 / len(y)) * (X.T @ ((f(z) - y) * slope(z)))

    def loss(X, y, w):
        return mean_loss(X, y, w) if theirs else ((f(X @ w) - y) ** 2).mean()

    theirs = rng.random() < 0.3
    return replace(run(replace(case, w0=start), gradient=gradient, loss=loss), w0=start)


def gradient_without_axis(case: Case, rng: Rng) -> Planted:
    by = rng.choice([1, len(case.w0)])
    return _slower(case, rng, 4, lambda X, y, w, t: np.full_like(w, mean_gradient(X, y, w, t).sum() / X.dtype.type(by)))


def residual_function(case: Case, rng: Rng) -> Planted:
    """X meets a function of the residual; the loss is the mean of the squares all the same."""
    f = [np.square, np.abs, np.tanh, lambda r: np.clip(r, -1, 1)][rng.integers(4)]
    return run(case, gradient=lambda X, y, w, t: X.dtype.type(1 / len(y)) * (X.T @ f(X @ w - y)))


def epochs_without_step(case: Case, rng: Rng) -> Planted:
    k, last = int(rng.integers(2, 4)), int(rng.integers(2, case.epochs - 2))
    rate = [lambda t: float(t % k == k - 1), lambda t: float(k * (t % k == k - 1)), lambda t: float(t < last)][rng.integers(3)]
    return run(case, rate=rate)


def begins_anew(case: Case, rng: Rng) -> Planted:
    return run(case, rule=lambda w, g, lr, t, memory: memory.setdefault("first", w - lr * g))


def rates_of_parameters(case: Case, rng: Rng) -> Planted:
    factors = rng.permutation(np.arange(5, 95))[: len(case.w0)] / 100  # no two are equal
    factors[0] = 1
    return run(case, gradient=lambda X, y, w, t: mean_gradient(X, y, w, t) * factors.astype(X.dtype))


def loss_of_residuals(case: Case, rng: Rng) -> Planted:
    number = [np.mean, np.var, lambda r: np.median(r * r), lambda r: (r * r).max(), lambda r: np.mean(r) ** 2][rng.integers(5)]
    return run(case, loss=lambda X, y, w: number(X @ w - y))


# -- steps on parts of the samples -----------------------------------------------------------------


def _batches(n: int, size: int) -> list[slice]:
    return [slice(begin, min(begin + size, n)) for begin in range(0, n, size)]


def _steps(case: Case, rng: Rng, size: int) -> Planted:
    scale = str(rng.choice(["mean", "half", "sum"]))

    def rule(w, g, lr, t, memory):
        X, y = case.design, case.y.astype(case.dtype)
        for one in _batches(len(y), size):
            by = {"mean": 2 / len(y[one]), "half": 1 / len(y[one]), "sum": 2.0}[scale]
            w = w - small_lr * X.dtype.type(by) * (X[one].T @ (X[one] @ w - y[one]))
        return w

    largest = max(np.linalg.norm(case.design[one].astype(np.float64), 2) ** 2 for one in _batches(len(case.y), size))
    lr = float(f"{min(case.lr, 0.3 / largest) / size:.2g}")
    small_lr = case.design.dtype.type(lr)
    return replace(run(replace(case, lr=lr), rule=rule), asked={"lr": lr})


def steps_per_sample(case: Case, rng: Rng) -> Planted:
    return _steps(case, rng, 1)


def mini_batches(case: Case, rng: Rng) -> Planted:
    n = len(case.y)
    return _steps(case, rng, int(rng.choice([size for size in (2, 4, 8, 10, 16, 20, 32) if size < n])))


def rows_are_steps(case: Case, rng: Rng) -> Planted:
    n = len(case.y)
    size = int(rng.choice([size for size in (1, 2, 4, 8, 16, 32) if size < n]))
    cuts = _batches(n, size)

    def gradient(X, y, w, t):
        one = cuts[t % len(cuts)]
        return mean_gradient(X[one], y[one], w, t)

    return _slower(case, rng, 3, gradient)


MORE: dict[str, Callable[[Case, Rng], Planted]] = {
    "gradient_not_recomputed": gradient_not_recomputed,
    "gradient_stale in 1/m code": gradient_stale,
    "gauss_seidel in 1/m code": gauss_seidel,
    "rows_dropped in 1/m code": rows_dropped,
    "weight_decay_coupled in 1/m code": weight_decay_coupled,
    "gradient_rmse": gradient_rmse,
    "gradient_log": gradient_log,
    "gradient_part": gradient_part,
    "column_repeated": column_repeated,
    "gradient_without_features": gradient_without_features,
    "residual_without_intercept": residual_without_intercept,
    "intercept_first": intercept_first,
    "columns_permuted": columns_permuted,
    "features_scaled": features_scaled,
    "target_scaled": target_scaled,
    "target_other": target_other,
    "gradient_clipped_values": gradient_clipped_values,
    "activation": activation,
    "steps_per_sample": steps_per_sample,
    "mini_batches": mini_batches,
    "rows_are_steps": rows_are_steps,
    "momentum_holds_lr": rules.momentum_holds_lr,
    "schedule_early": rules.out_of_step(1),
    "schedule_late": rules.out_of_step(-1),
    "schedule_unused": rules.out_of_step(0),
    "lr_schedule beside momentum": rules.lr_schedule,
    "dampening where momentum was asked": rules.dampening,
    "adam_eps_before_correction": rules.adam_eps_before_correction,
    "adam_one_correction": rules.adam_kind("m", "v"),
    "adam_count": rules.adam_kind("late", "twice"),
    "adam_correction_accumulates": rules.adam_kind("accumulates"),
    "adam_amsgrad": rules.adam_kind("amsgrad"),
    "rule_constants": rules.rule_constants,
    "rmsprop_eps_inside": rules.rmsprop_eps_inside,
    "plain_descent": rules.plain_descent,
    "rule_part": rules.rule_part,
    "ridge_forgotten": rules.with_ridge("forgotten"),
    "ridge_on_intercept": rules.with_ridge("on_intercept"),
    "ridge_missing_two": rules.with_ridge("missing_two"),
    "ridge_divided_by_n": rules.with_ridge("divided_by_n"),
    "w_rounded": rules.w_rounded,
    "rows_are_one_array": rules.rows_are_one_array,
    "rows_are_one_array beside an intercept": rules.weights_are_one_array,
    "loss_scaled": rules.of_loss(lambda loss, n, rng: loss * loss.dtype.type(rng.choice([0.1, 100.0, rng.uniform(0.2, 3)]))),
    "loss_log": rules.of_loss(lambda loss, n, rng: np.log(loss, where=loss > 0, out=np.full_like(loss, -np.inf))),
    "loss_cumulative": rules.of_loss(lambda loss, n, rng: np.cumsum(loss)),
    "loss_running_mean": rules.of_loss(lambda loss, n, rng: np.cumsum(loss) / np.arange(1, len(loss) + 1)),
    "loss_rounded": rules.of_loss(lambda loss, n, rng: np.round(loss, int(rng.integers(1, 5)))),
    "gradient_without_axis": gradient_without_axis,
    "residual_function": residual_function,
    "epochs_without_step": epochs_without_step,
    "begins_anew": begins_anew,
    "rates_of_parameters": rates_of_parameters,
    "loss_of_residuals": loss_of_residuals,
}
