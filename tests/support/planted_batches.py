"""Descents on mini-batches and with weights, with planted defects, in NumPy: nothing of fastgd is
used. As planted_descents.py; they are judged by `fastgd.verify`, as their users hand them over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from tests.support.planted_cases import Case, Rng
from tests.support.planted_descents import Planted, run


def batches_of(case: Case, rng: Rng, ragged: bool = False) -> int:
    """The size of a batch; ragged: the last one is smaller."""
    n = len(case.y)
    sizes = [size for size in range(1 + (n > 3), n) if not ragged or n % size]
    return int(rng.choice(sizes)) if sizes else n


def descend(
    case: Case, rng: Rng, size: int, *, gradient: Callable[..., Any] | None = None, loss: Callable[..., Any] | None = None,
    rate: Callable[[int, int], float] = lambda epoch, step: 1.0, weights: np.ndarray | None = None, drop: bool = False, add: bool = False,
    momentum: float = 0.0, each_epoch: bool = False, **asked: Any,
) -> Planted:  # fmt: skip
    """Run it on batches, in order or shuffled, with a row for each epoch or for each step."""
    X, y, n = case.design, case.y.astype(case.dtype), len(case.y)
    number, epochs = X.dtype.type, min(case.epochs, 12)
    order = np.array([rng.permutation(n) if rng.random() < 0.5 else np.arange(n) for _ in range(epochs)])
    weights = np.ones(n, case.dtype) if weights is None else weights.astype(case.dtype)
    by_step, gradient = bool(rng.random() < 0.5), gradient or right
    w, step = case.w0.astype(case.dtype), 0
    rows, losses, total, v = [w], [], 0, None
    with np.errstate(all="ignore"):
        losses.append((loss or of_all)(X, y, w))
        for epoch in range(epochs):
            total, v = 0, None if each_epoch else v
            for k in range(0, n - n % size if drop else n, size):
                b = order[epoch, k : k + size]
                found = gradient(X[b], y[b], w, weights[b], size, n)
                total = total + found if add else found
                v = total if v is None or not momentum else number(momentum) * v + total
                w = w - number(case.lr * rate(epoch, step)) * v
                step += 1
                if by_step:
                    rows.append(w)
                    losses.append((loss or of_all)(X, y, w))
            if not by_step:
                rows.append(w)
                losses.append((loss or of_all)(X, y, w))
    told = {"batch_size": size, "order": order, "epochs": epochs, **asked}
    return Planted(np.array(rows), np.array(losses) if weights.min() == 1 else None, {"verify": told}, w0=case.w0)


def right(X, y, w, weights, size, n):
    weighted = weights * (X @ w - y)
    return X.dtype.type(2) / weights.sum() * (X.T @ weighted)


def of_all(X, y, w):
    residual = X @ w - y
    return (residual * residual).mean()


def scaled(by: Callable[[int, int, int], float], ragged: bool = False):
    """by(samples of the batch, size, n): the factor on the right gradient."""

    def plant(case: Case, rng: Rng) -> Planted:
        size = batches_of(case, rng, ragged)
        return descend(
            case, rng, size, gradient=lambda X, y, w, weights, size, n: X.dtype.type(by(len(y), size, n)) * right(X, y, w, weights, size, n)
        )

    return plant


def lr_scaled(case: Case, rng: Rng) -> Planted:
    factor = float(rng.choice([0.1, 0.3, 1.1, 1.5, 0.75]))
    return scaled(lambda m, size, n: factor)(case, rng)


def weight_decay(case: Case, rng: Rng) -> Planted:
    decay = float(rng.choice([0.1, 0.01, 0.5]))

    def gradient(X, y, w, weights, size, n):
        return right(X, y, w, weights, size, n) + X.dtype.type(decay) * w

    return descend(case, rng, batches_of(case, rng), gradient=gradient)


def drop_last(case: Case, rng: Rng) -> Planted:
    return descend(case, rng, batches_of(case, rng, ragged=True), drop=True)


def zero_grad_per_epoch(case: Case, rng: Rng) -> Planted:
    size = batches_of(case, rng)
    small = replace(case, lr=float(f"{case.lr * size / len(case.y):.3g}"))
    planted = descend(small, rng, size, add=True)
    return replace(planted, asked={**planted.asked, "lr": small.lr})


def stepped(kind: str):
    """A schedule that was asked for and is stepped otherwise, or returns the rates."""

    def plant(case: Case, rng: Rng) -> Planted:
        gamma = float(rng.choice([0.9, 0.95]))
        rate = {
            "batch": lambda epoch, step: gamma**step,
            "early": lambda epoch, step: gamma ** (epoch + 1),
            "unused": lambda epoch, step: 1.0,
            "rates": lambda epoch, step: gamma**epoch,
        }[kind]
        schedule = (lambda epoch: case.lr * gamma**epoch) if kind == "rates" else (lambda epoch: gamma**epoch)
        return descend(case, rng, batches_of(case, rng), rate=rate, schedule=schedule)

    return plant


def weighted(change: Callable[[np.ndarray], np.ndarray] = lambda weights: weights, divisor: str = "own"):
    """Weights of the samples, changed before they are used; all samples, or batches."""

    def plant(case: Case, rng: Rng) -> Planted:
        n = len(case.y)
        weights = np.round(rng.uniform(0.2, 3.0, n), 3)

        def gradient(X, y, w, given, size, n):
            used = change(given)
            by = {"own": used.sum(), "theirs": given.sum(), "count": X.dtype.type(len(y))}[divisor]
            return X.dtype.type(2) / by * (X.T @ (used * (X @ w - y)))

        small = replace(case, lr=float(f"{case.lr / 4:.3g}"))
        size = batches_of(case, rng) if rng.random() < 0.5 and divisor != "theirs" else n
        planted = descend(small, rng, size, gradient=gradient, weights=weights, sample_weight=weights)
        told = dict(planted.asked["verify"])
        if size == n:
            told = {name: value for name, value in told.items() if name not in ("batch_size", "order")}
        return replace(planted, asked={"verify": told, "lr": small.lr})

    return plant


def loss_unweighted(case: Case, rng: Rng) -> Planted:
    weights = np.round(rng.uniform(0.2, 3.0, len(case.y)), 3).astype(case.dtype)

    def gradient(X, y, w, t):
        return X.dtype.type(2) / weights.sum() * (X.T @ (weights * (X @ w - y)))

    small = replace(case, lr=float(f"{case.lr / 4:.3g}"))
    planted = run(small, gradient=gradient)
    return replace(planted, asked={"verify": {"sample_weight": weights}, "lr": small.lr})


def with_momentum(case: Case, rng: Rng, size: int | None = None, each_epoch: bool = False, asked: float | None = None) -> Planted:
    """asked: the momentum that was asked for, where it is another one."""
    mu = float(rng.choice([0.5, 0.8, 0.9]))
    small = replace(case, lr=float(f"{case.lr / 4:.3g}"))
    planted = descend(small, rng, size or batches_of(case, rng), momentum=mu, each_epoch=each_epoch)
    told = ("SGD", {"momentum": mu if asked is None else asked})
    return replace(planted, asked={**planted.asked, "lr": small.lr, "optimizer": told})


def product_broadcast(case: Case, rng: Rng) -> Planted:
    by = 1 if rng.random() < 0.5 else len(case.y)
    lr = float(f"{case.lr / len(case.y):.3g}")

    def gradient(X, y, w, t):
        residual = X @ w - y
        found = np.array([(residual * X[:, [j]]).sum() for j in range(X.shape[1])]) / X.dtype.type(by)
        if case.intercept:
            found[-1] = residual.sum()
        return X.dtype.type(2 / len(y)) * found

    return replace(run(replace(case, lr=lr), gradient=gradient), asked={"lr": lr})


def step_lr(case: Case, rng: Rng) -> Planted:
    every, gamma = int(rng.integers(2, 5)), float(rng.choice([0.5, 0.7, 0.9]))
    return run(case, rate=lambda t: gamma ** (t // every))


def schedule_of_rates(case: Case, rng: Rng) -> Planted:
    gamma = float(rng.choice([1.0, 0.9, 0.95]))
    planted = run(case, rate=lambda t: gamma**t)
    return replace(planted, asked={"schedule": lambda epoch: case.lr * gamma**epoch})


BATCHES: dict[str, Callable[[Case, Rng], Planted]] = {
    "product_broadcast": product_broadcast,
    "lr_schedule of StepLR": step_lr,
    "schedule_of_rates": schedule_of_rates,
    "gradient_sum of batches": scaled(lambda m, size, n: m),
    "gradient_missing_two of batches": scaled(lambda m, size, n: 0.5),
    "gradient_sign of batches": scaled(lambda m, size, n: -1),
    "lr_scaled of batches": lr_scaled,
    "last_batch_divisor": scaled(lambda m, size, n: m / size, ragged=True),
    "batch_divided_by_all": scaled(lambda m, size, n: m / n),
    "drop_last": drop_last,
    "zero_grad_per_epoch": zero_grad_per_epoch,
    "weight_decay_coupled of batches": weight_decay,
    "momentum of batches": lambda case, rng: with_momentum(case, rng, asked=float(rng.choice([0.0, 0.95]))),
    "momentum_begins_anew": lambda case, rng: with_momentum(case, rng, size=max(1, len(case.y) // 3), each_epoch=True),
    "schedule_per_batch": stepped("batch"),
    "schedule_early of batches": stepped("early"),
    "schedule_unused of batches": stepped("unused"),
    "schedule_of_rates of batches": stepped("rates"),
    "weights_ignored": weighted(np.ones_like),
    "weights_root": weighted(np.sqrt),
    "weights_root by their sum": weighted(np.sqrt, "theirs"),
    "weights_squared": weighted(np.square),
    "weights_not_normalized": weighted(divisor="count"),
    "loss_unweighted": loss_unweighted,
    "loss_sum of batches": lambda case, rng: descend(case, rng, batches_of(case, rng), loss=lambda X, y, w: of_all(X, y, w) * len(y)),
}


def correct(case: Case, rng: Rng) -> Planted:
    """Batches or weights, as they should be."""
    if rng.random() < 0.3:
        return weighted()(case, rng)
    if rng.random() < 0.3:
        return with_momentum(case, rng)
    return descend(case, rng, batches_of(case, rng))
