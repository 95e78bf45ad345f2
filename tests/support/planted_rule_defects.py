"""Descents with planted defects of the update rule, the recorded rows and the losses, in NumPy:
nothing of fastgd is used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from tests.support.planted_cases import Case, Rng
from tests.support.planted_descents import Planted, heavy_ball, run

# -- rules -----------------------------------------------------------------------------------------


def momentum_holds_lr(case: Case, rng: Rng) -> Planted:
    rates = case.lr * 0.9 ** np.arange(case.epochs)

    def rule(w, g, lr, t, memory):
        memory["v"] = lr * g + (w.dtype.type(0.9) * memory["v"] if t else 0)
        return w - memory["v"]

    return replace(run(case, rule=rule, rate=lambda t: 0.9**t), asked={"lr": rates, "optimizer": ("SGD", {"momentum": 0.9})})


def out_of_step(shift: int) -> Callable[[Case, Rng], Planted]:
    def plant(case: Case, rng: Rng) -> Planted:
        every, mu = int(rng.choice([1, 3, 5])), float(rng.choice([0.0, 0.5]))
        rates = case.lr * 0.8 ** (np.arange(case.epochs) // every)
        planted = run(case, rule=heavy_ball(mu) if mu else None, rate=lambda t: 0.8 ** (max(0, t + shift) // every) if shift else 1.0)
        return replace(planted, asked={"lr": rates, "optimizer": ("SGD", {"momentum": mu})})

    return plant


def lr_schedule(case: Case, rng: Rng) -> Planted:
    """Beside momentum, at a rate that was a number."""
    planted = run(case, rule=heavy_ball(0.9), rate=lambda t: 0.95**t)
    return replace(planted, asked={"optimizer": ("SGD", {"momentum": 0.9})})


def dampening(case: Case, rng: Rng) -> Planted:
    """An exponential average where momentum was asked for."""
    return replace(run(case, rule=heavy_ball(0.9, 0.9, first_damped=True)), asked={"optimizer": ("SGD", {"momentum": 0.9})})


def adam_like(kind: str = "", beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8) -> Callable[..., Any]:
    def rule(w, g, lr, t, memory):
        number = w.dtype.type
        m = number(beta1) * memory.get("m", 0 * g) + number(1 - beta1) * g
        v = number(beta2) * memory.get("v", 0 * g) + number(1 - beta2) * g * g
        memory["m"], memory["v"] = m, v
        power = {"late": t + 2, "twice": 2 * (t + 1)}.get(kind, t + 1)
        first, second = number(1 - beta1**power), number(1 - beta2**power)
        if kind == "before":
            return w - lr * np.sqrt(second) / first * m / (np.sqrt(v) + number(eps))
        if kind == "amsgrad":
            memory["largest"] = v = np.maximum(memory.get("largest", 0 * g), v)
        if kind != "v":
            v = v / second
        if kind != "m":
            m = m / first
        if kind == "accumulates":
            memory["m"], memory["v"] = m, v
        return w - lr * m / (np.sqrt(v) + number(eps))

    return rule


def adam_kind(*kinds: str) -> Callable[[Case, Rng], Planted]:
    """Adam's family: asked for is Adam, or plain descent."""

    def plant(case: Case, rng: Rng) -> Planted:
        asked = {"optimizer": ("Adam", {})} if rng.random() < 0.7 else {}
        return replace(run(case, rule=adam_like(str(rng.choice(kinds)), eps=1e-8)), asked=asked)

    return plant


def adam_eps_before_correction(case: Case, rng: Rng) -> Planted:
    return replace(run(case, rule=adam_like("before", eps=1e-3)), asked={"optimizer": ("Adam", {"eps": 1e-3})})


def rule_constants(case: Case, rng: Rng) -> Planted:
    kind = int(rng.integers(5))
    if kind < 3:
        changed = ({"beta2": 0.99}, {"beta1": 0.95}, {"eps": 1e-3})[kind]
        return replace(run(case, rule=adam_like(**changed)), asked={"optimizer": ("Adam", {})})
    number = np.dtype(case.dtype).type

    def rmsprop(w, g, lr, t, memory):
        memory["v"] = number(0.9) * memory.get("v", 0 * g) + number(0.1) * g * g
        return w - lr * g / (np.sqrt(memory["v"]) + number(1e-8))

    def adagrad(w, g, lr, t, memory):
        memory["v"] = memory.get("v", number(0.1)) + g * g
        return w - lr * g / (np.sqrt(memory["v"]) + number(1e-10))

    if kind == 3:
        return replace(run(case, rule=rmsprop), asked={"optimizer": ("RMSprop", {})})
    return replace(run(case, rule=adagrad), asked={"optimizer": ("Adagrad", {})})


def rmsprop_eps_inside(case: Case, rng: Rng) -> Planted:
    number = np.dtype(case.dtype).type
    alpha = float(rng.choice([0.9, 0.99]))

    def rule(w, g, lr, t, memory):
        memory["v"] = number(alpha) * memory.get("v", 0 * g) + number(1 - alpha) * g * g
        return w - lr * g / np.sqrt(memory["v"] + number(1e-3))

    return replace(run(case, rule=rule), asked={"optimizer": ("RMSprop", {"eps": 1e-3, "alpha": alpha})})


def plain_descent(case: Case, rng: Rng) -> Planted:
    return replace(run(case), asked={"optimizer": ("SGD", {"momentum": 0.9})})


def rule_part(case: Case, rng: Rng) -> Planted:
    """The intercept, or all but it, without the momentum or the Adam that was asked for."""
    alone = np.arange(len(case.w0)) == len(case.w0) - 1
    plain = alone if rng.random() < 0.7 else ~alone
    kinds = (heavy_ball(0.9), ("SGD", {"momentum": 0.9})), (adam_like(), ("Adam", {})), (heavy_ball(0.8), ("SGD", {}))
    kind, told = kinds[rng.integers(3)]

    def rule(w, g, lr, t, memory):
        return np.where(plain, w - lr * g, kind(w, g, lr, t, memory))

    return replace(run(case, rule=rule), asked={"optimizer": told})


def with_ridge(kind: str) -> Callable[[Case, Rng], Planted]:
    """Descent with a penalty that was asked for, and a defect in its gradient."""

    def plant(case: Case, rng: Rng) -> Planted:
        ridge, n = float(rng.choice([0.1, 0.03, 0.5])), len(case.y)
        factor = {"forgotten": 0.0, "missing_two": 1.0, "divided_by_n": 2 / n}.get(kind, 2.0)
        slopes = np.ones(len(case.w0))
        slopes[len(slopes) - (case.intercept and kind != "on_intercept") :] = 0
        number = np.dtype(case.dtype).type
        momentum = heavy_ball(0.5) if rng.random() < 0.3 else None
        small = replace(case, lr=float(f"{case.lr / 2:.3g}"))

        def gradient(X, y, w, t):
            residual = X @ w - y
            return number(2 / n) * (X.T @ residual) + number(factor * ridge) * (slopes.astype(w.dtype) * w)

        def loss(X, y, w):
            residual = X @ w - y
            return (residual * residual).mean() + (number(ridge) * (w[: case.X.shape[1]] ** 2).sum() if told else 0)

        told = rng.random() < 0.5
        asked = {"lr": small.lr, "ridge": ridge, "optimizer": ("SGD", {"momentum": 0.5 if momentum else 0.0})}
        return replace(run(small, gradient=gradient, loss=loss, rule=momentum), asked=asked)

    return plant


# -- rows, losses ----------------------------------------------------------------------------------


def w_rounded(case: Case, rng: Rng) -> Planted:
    decimals = int(rng.integers(0, 4))

    def rule(w, g, lr, t, memory):
        return np.round(w - lr * g, decimals)

    rounded = replace(case, w0=np.round(case.w0, decimals))
    return run(rounded, rule=rule) if rng.random() < 0.5 else _rounded_record(case, decimals)


def _rounded_record(case: Case, decimals: int) -> Planted:
    planted = run(case)
    return replace(planted, w=np.round(planted.w, decimals), loss=planted.loss)


def rows_are_one_array(case: Case, rng: Rng) -> Planted:
    planted = run(case)
    return replace(planted, w=np.repeat(planted.w[-1:], len(planted.w), axis=0))


def weights_are_one_array(case: Case, rng: Rng) -> Planted:
    """h.append((w, b)) with w -= ..., b = b - ...: the numbers b are kept, w is its end."""
    planted = run(case)
    rows = np.array(planted.w)
    rows[:, :-1] = rows[-1, :-1]
    return replace(planted, w=rows, loss=planted.loss)


def of_loss(change: Callable[..., Any]) -> Callable[[Case, Rng], Planted]:
    def plant(case: Case, rng: Rng) -> Planted:
        planted = run(case)
        return replace(planted, loss=change(planted.loss, len(case.y), rng).astype(planted.loss.dtype))

    return plant
