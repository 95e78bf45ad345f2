"""Descents with planted defects, written by hand in NumPy: nothing of fastgd is used. Shared by the
tests and by benchmarks/diagnosis.py.

1. `PLANTS` maps a code to a function (case, rng) -> Planted. A case is data, start, rate and dtype;
   everything is computed in the case's dtype, with a column of ones where there is an intercept.
2. `correct` is the same loop without a defect. Every loop is one that people write: residual,
   gradient, step, in their usual order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tests.support.planted_cases import Case, Rng


@dataclass(frozen=True)
class Planted:
    """A history with a defect, and what its author would say was done."""

    w: np.ndarray
    loss: np.ndarray
    asked: dict[str, Any] = field(default_factory=dict)  # optimizer=("sgd", {...}), dtype=…
    w0: np.ndarray | None = None


def run(
    case: Case,
    *,
    gradient: Callable[..., Any] | None = None,
    rule: Callable[..., Any] | None = None,
    loss: Callable[..., Any] | None = None,
    rate: Callable[[int], float] | None = None,
    start: np.ndarray | None = None,
) -> Planted:
    """Descend with what is given instead of the right thing. gradient(X, y, w, t); rule(w, g, lr,
    t, memory); loss(X, y, w)."""
    X, y = case.design, case.y.astype(case.dtype)
    number = X.dtype.type
    w = (case.w0 if start is None else start).astype(case.dtype)
    gradient, rule, loss = gradient or mean_gradient, rule or plain_rule, loss or mean_loss
    rows, losses, memory = [w.copy()], [], {}
    with np.errstate(all="ignore"):
        for t in range(case.epochs):
            losses.append(loss(X, y, w))
            lr = number(case.lr if rate is None else case.lr * rate(t))
            w = rule(w, gradient(X, y, w, t), lr, t, memory)
            rows.append(w.copy())
        losses.append(loss(X, y, w))
    return Planted(np.array(rows), np.array(losses), w0=case.w0)


def mean_gradient(X, y, w, t):
    residual = X @ w - y
    return X.dtype.type(2 / len(y)) * (X.T @ residual)


def mean_loss(X, y, w):
    residual = X @ w - y
    return (residual * residual).mean()


def plain_rule(w, g, lr, t, memory):
    return w - lr * g


def correct(case: Case, rng: Rng | None = None) -> Planted:
    return run(case)


# -- gradients -------------------------------------------------------------------------------------


def scaled(factor: Callable[[int], float]) -> Callable[[Case, Rng], Planted]:
    def plant(case: Case, rng: Rng) -> Planted:
        return run(case, gradient=lambda X, y, w, t: X.dtype.type(factor(len(y))) * (X.T @ (X @ w - y)))

    return plant


def lr_scaled(case: Case, rng: Rng) -> Planted:
    factor = rng.choice([0.1, 0.3, 0.9, 1.1, 1.5, 3.0, 1 + 10 ** rng.uniform(-3, -1), rng.uniform(0.2, 0.8)])
    return run(replace(case, lr=case.lr * factor))


def gradient_stale(case: Case, rng: Rng) -> Planted:
    late: list[Any] = []
    zero_first = rng.random() < 0.5

    def gradient(X, y, w, t):
        late.append(mean_gradient(X, y, w, t))
        return late[-2] if t else late[0] * X.dtype.type(0 if zero_first else 1)

    return run(case, gradient=gradient)


def zero_grad_missing(case: Case, rng: Rng) -> Planted:
    def rule(w, g, lr, t, memory):
        memory["grad"] = memory.get("grad", 0) + g
        return w - lr * memory["grad"]

    return run(case, rule=rule)


def gauss_seidel(case: Case, rng: Rng) -> Planted:
    kind = rng.choice(["order", "reverse", "intercept last", "intercept first"] if case.intercept else ["order", "reverse"])

    def plant() -> Planted:
        X, y = case.design, case.y.astype(case.dtype)
        number, D = X.dtype.type, X.shape[1]
        blocks = {"order": [[j] for j in range(D)], "reverse": [[j] for j in reversed(range(D))]}
        blocks |= {"intercept last": [list(range(D - 1)), [D - 1]], "intercept first": [[D - 1], list(range(D - 1))]}
        w, rows, losses = case.w0.astype(case.dtype), [], []
        for _ in range(case.epochs):
            rows.append(w.copy())
            losses.append(mean_loss(X, y, w))
            for block in blocks[kind]:
                w = w.copy()
                w[block] -= number(case.lr) * (number(2 / len(y)) * (X[:, block].T @ (X @ w - y)))
        rows.append(w.copy())
        losses.append(mean_loss(X, y, w))
        return Planted(np.array(rows), np.array(losses), w0=case.w0)

    with np.errstate(all="ignore"):
        return plant()


def intercept_not_updated(case: Case, rng: Rng) -> Planted:
    def gradient(X, y, w, t):
        g = mean_gradient(X, y, w, t)
        g[-1] = 0
        return g

    return run(case, gradient=gradient)


def sign_gradient(case: Case, rng: Rng) -> Planted:
    return run(case, gradient=lambda X, y, w, t: np.sign(mean_gradient(X, y, w, t)))


def normalized_gradient(case: Case, rng: Rng) -> Planted:
    def gradient(X, y, w, t):
        g = mean_gradient(X, y, w, t)
        return g / np.sqrt((g * g).sum())

    return run(case, gradient=gradient)


def gradient_clipped(case: Case, rng: Rng) -> Planted:
    first = np.linalg.norm(mean_gradient(case.design, case.y.astype(case.dtype), case.w0.astype(case.dtype), 0).astype(np.float64))
    limit = float(f"{first * rng.uniform(0.2, 0.6):.2g}")

    def gradient(X, y, w, t):
        g = mean_gradient(X, y, w, t)
        length = np.sqrt((g * g).sum())
        return g * X.dtype.type(limit) / length if length > limit else g

    return run(case, gradient=gradient)


def rows_dropped(case: Case, rng: Rng) -> Planted:
    n = len(case.y)
    masks = [np.arange(n) < max(1, int(0.8 * n)), np.arange(n) < n - 1, np.arange(n) >= max(1, n // 10), np.arange(n) % 2 == 0]
    masks.append(np.arange(n) != rng.integers(n))
    kept = masks[rng.integers(len(masks))]
    divisor = n if rng.random() < 0.3 else kept.sum()
    return run(case, gradient=lambda X, y, w, t: X.dtype.type(2 / divisor) * (X[kept].T @ (X[kept] @ w - y[kept])))


def broadcast(case: Case, rng: Rng) -> Planted:
    axis = int(rng.integers(2))  # the gradient is a mean over all pairs
    return run(case, gradient=lambda X, y, w, t: X.dtype.type(2 / len(y)) * (X.T @ (X @ w - y[:, None]).mean(axis)), loss=_over_pairs)


def _over_pairs(X, y, w):  # y of shape (n, 1)
    return ((X @ w - y[:, None]) ** 2).mean()


# -- rules -----------------------------------------------------------------------------------------


def heavy_ball(mu: float, dampening: float = 0.0, first_damped: bool = False, nesterov: bool = False):
    def rule(w, g, lr, t, memory):
        number = w.dtype.type
        if t == 0:
            memory["v"] = g * number(1 - dampening) if first_damped else g
        else:
            memory["v"] = number(mu) * memory["v"] + number(1 - dampening) * g
        return w - lr * (g + number(mu) * memory["v"] if nesterov else memory["v"])

    return rule


def _momentum_of(rng: Rng) -> float:
    return float(rng.choice([0.9, 0.5, 0.8, 0.95, 0.99, 0.3, round(rng.uniform(0.2, 0.97), 3)]))


def momentum(case: Case, rng: Rng) -> Planted:
    return run(case, rule=heavy_ball(_momentum_of(rng)))


def dampening(case: Case, rng: Rng) -> Planted:
    mu = _momentum_of(rng)
    exponential = rng.random() < 0.4
    damping = mu if exponential else float(rng.choice([0.1, 0.5, 0.9, 0.25]))
    return run(case, rule=heavy_ball(mu, damping, first_damped=exponential))


def nesterov_torch(case: Case, rng: Rng) -> Planted:
    return run(case, rule=heavy_ball(_momentum_of(rng), nesterov=True))


def nesterov_sutskever(case: Case, rng: Rng) -> Planted:
    mu, memory = _momentum_of(rng), {}

    def gradient(X, y, w, t):
        memory.setdefault("v", np.zeros_like(w))
        return mean_gradient(X, y, w + X.dtype.type(mu) * memory["v"], t)

    def rule(w, g, lr, t, unused):
        memory["v"] = w.dtype.type(mu) * memory["v"] - lr * g
        return w + memory["v"]

    return run(case, gradient=gradient, rule=rule)


def weight_decay_coupled(case: Case, rng: Rng) -> Planted:
    decay = float(rng.choice([0.1, 0.01, 0.5, round(rng.uniform(0.02, 0.9), 3)]))
    mu = float(rng.choice([0.0, 0.9]))
    ball = heavy_ball(mu)
    planted = run(case, rule=lambda w, g, lr, t, memory: ball(w, g + w.dtype.type(decay) * w, lr, t, memory))
    return replace(planted, asked={"optimizer": ("SGD", {"momentum": mu})})


def weight_decay_decoupled(case: Case, rng: Rng) -> Planted:
    decay = float(rng.choice([0.1, 0.01, 0.5, round(rng.uniform(0.02, 0.9), 3)]))
    mu = float(rng.choice([0.5, 0.9]))
    ball = heavy_ball(mu)

    def rule(w, g, lr, t, memory):
        return ball(w * (1 - lr * w.dtype.type(decay)), g, lr, t, memory)

    return replace(run(case, rule=rule), asked={"optimizer": ("SGD", {"momentum": mu})})


def l1(case: Case, rng: Rng) -> Planted:
    penalty = float(rng.choice([0.1, 0.01, 0.5, round(rng.uniform(0.02, 0.9), 3)]))
    return run(case, gradient=lambda X, y, w, t: mean_gradient(X, y, w, t) + X.dtype.type(penalty) * np.sign(w))


def lr_schedule(case: Case, rng: Rng) -> Planted:
    gamma, every, T = float(rng.choice([0.9, 0.95, 0.98])), int(rng.choice([5, 8, 10])), case.epochs
    kinds = [
        lambda t: gamma**t,
        lambda t: gamma ** (t // every),
        lambda t: 1 / (1 + (1 - gamma) * t),
        lambda t: 1 / np.sqrt(1 + t),
        lambda t: (1 + np.cos(np.pi * t / T)) / 2,
        lambda t: 1 - t / (T + 5),
        lambda t: min(1.0, (t + 1) / every),
        lambda t: 0.1 if t >= T // 2 else 1.0,
    ]
    return run(case, rate=kinds[rng.integers(len(kinds))])


def adam_like(bias=True, inside=False, decay=0.0, beta1=0.9, beta2=0.999, eps=1e-8):
    def rule(w, g, lr, t, memory):
        number = w.dtype.type
        m = memory["m"] = number(beta1) * memory.get("m", 0 * g) + number(1 - beta1) * g
        v = memory["v"] = number(beta2) * memory.get("v", 0 * g) + number(1 - beta2) * g * g
        if bias:
            m, v = m / number(1 - beta1 ** (t + 1)), v / number(1 - beta2 ** (t + 1))
        root = np.sqrt(v + number(eps)) if inside else np.sqrt(v) + number(eps)
        return w * (1 - lr * number(decay)) - lr * m / root if decay else w - lr * m / root

    return rule


def adam_kind(**options):
    def plant(case: Case, rng: Rng) -> Planted:
        return run(case, rule=adam_like(**options))

    return plant


def adamw(case: Case, rng: Rng) -> Planted:
    return run(case, rule=adam_like(decay=float(rng.choice([0.01, 0.1]))))


# -- precision, start, loss ------------------------------------------------------------------------


def float32_storage(case: Case, rng: Rng) -> Planted:
    wide = replace(case, dtype="float64")
    start = case.w0.astype(np.float32)
    planted = run(wide, rule=lambda w, g, lr, t, memory: (w - lr * g).astype(np.float32).astype(np.float64), start=start)
    return replace(planted, asked={"dtype": "float64"})


def float32_arithmetic(case: Case, rng: Rng) -> Planted:
    if rng.random() < 0.5:
        planted = run(replace(case, dtype="float32"))
    else:  # the gradient alone

        def gradient(X, y, w, t):
            narrow = [part.astype(np.float32) for part in (X, y, w)]
            return mean_gradient(*narrow, t).astype(np.float64)

        planted = run(replace(case, dtype="float64"), gradient=gradient)
    return replace(planted, w=planted.w.astype(np.float64), loss=planted.loss.astype(np.float64), asked={"dtype": "float64"})


def initial_w(case: Case, rng: Rng) -> Planted:
    return replace(run(case, start=case.w0 + rng.standard_normal(case.w0.size)), w0=case.w0)


def recorded_after_update(case: Case, rng: Rng) -> Planted:
    planted = run(replace(case, epochs=case.epochs + 1))
    return replace(planted, w=planted.w[1:], loss=planted.loss[1:] if rng.random() < 0.5 else planted.loss[:-1])


def loss_of(kind: Callable[..., Any]):
    def plant(case: Case, rng: Rng) -> Planted:
        return run(case, loss=kind)

    return plant


def loss_after_update(case: Case, rng: Rng) -> Planted:
    planted = run(replace(case, epochs=case.epochs + 1))
    return replace(planted, w=planted.w[:-1], loss=planted.loss[1:])


def loss_one_epoch_late(case: Case, rng: Rng) -> Planted:
    planted = run(case)
    return replace(planted, loss=np.concatenate([planted.loss[:1], planted.loss[:-1]]))


def loss_includes_penalty(case: Case, rng: Rng) -> Planted:
    weight = float(rng.choice([0.1, 0.01, 0.5]))
    return run(case, loss=lambda X, y, w: mean_loss(X, y, w) + X.dtype.type(weight) * (w * w).sum())


def _n_minus_1(X, y, w):
    residual = X @ w - y
    return (residual * residual).sum() / (len(y) - 1)


PLANTS: dict[str, Callable[[Case, Rng], Planted]] = {
    "gradient_sum": scaled(lambda n: 2),
    "gradient_missing_two": scaled(lambda n: 1 / n),
    "gradient_sum_missing_two": scaled(lambda n: 1),
    "gradient_sign": scaled(lambda n: -2 / n),
    "gradient_divided_twice": scaled(lambda n: 2 / n / n),
    "gradient_n_minus_1": scaled(lambda n: 2 / (n - 1)),
    "gradient_double_two": scaled(lambda n: 4 / n),
    "lr_scaled": lr_scaled,
    "lr_schedule": lr_schedule,
    "zero_grad_missing": zero_grad_missing,
    "gradient_stale": gradient_stale,
    "momentum": momentum,
    "dampening": dampening,
    "nesterov_torch": nesterov_torch,
    "nesterov_sutskever": nesterov_sutskever,
    "weight_decay_coupled": weight_decay_coupled,
    "weight_decay_decoupled": weight_decay_decoupled,
    "l1": l1,
    "intercept_not_updated": intercept_not_updated,
    "gauss_seidel": gauss_seidel,
    "adam": adam_kind(),
    "adamw": adamw,
    "adam_no_bias_correction": adam_kind(bias=False),
    "adam_eps_inside": adam_kind(inside=True),
    "sign_gradient": sign_gradient,
    "normalized_gradient": normalized_gradient,
    "gradient_clipped": gradient_clipped,
    "float32_storage": float32_storage,
    "float32_arithmetic": float32_arithmetic,
    "loss_after_update": loss_after_update,
    "loss_one_epoch_late": loss_one_epoch_late,
    "loss_sum": loss_of(lambda X, y, w: ((X @ w - y) ** 2).sum()),
    "loss_half": loss_of(lambda X, y, w: ((X @ w - y) ** 2).mean() / 2),
    "loss_rmse": loss_of(lambda X, y, w: np.sqrt(((X @ w - y) ** 2).mean())),
    "loss_n_minus_1": loss_of(_n_minus_1),
    "loss_includes_penalty": loss_includes_penalty,
    "loss_absolute": loss_of(lambda X, y, w: np.abs(X @ w - y).mean()),
    "initial_w": initial_w,
    "recorded_after_update": recorded_after_update,
    "rows_dropped": rows_dropped,
    "broadcast": broadcast,
    "loss_broadcast": loss_of(_over_pairs),
    "half_convention": lambda case, rng: run(
        case, gradient=lambda X, y, w, t: X.T @ (X @ w - y) / len(y), loss=lambda X, y, w: mean_loss(X, y, w) / 2
    ),
}
