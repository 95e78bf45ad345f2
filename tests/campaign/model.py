"""A model of one epoch: loss, gradient and update rule in long double, with the bound of rounding
errors that docs/error-bound.md derives. Written from the pages and from torch's formulas; it shares
no code with fastgd.

1. The step of each epoch starts at the state that fastgd itself had before it (lockstep), so errors
   of earlier epochs do not count, and every update rule can be judged.
2. A value is not judged where an intermediate comes near to overflow: docs/error-bound.md, "Where a
   comparison ends", with limits a little lower. A rule is not judged where moving an input by its
   error makes it NaN or inf, or where a root is taken of what cancels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

Long = np.longdouble
UNIT = {"float32": Long(2) ** -24, "float64": Long(2) ** -53}
TINY = {"float32": Long(2) ** -149, "float64": Long(2) ** -1074}
LARGE = {"float32": Long(2) ** 110, "float64": Long(2) ** 980}
OURS, OTHERS = 2.0, 8.0  # shares of the bound: our kernels, and the backends that serve as references

ROUNDINGS = {"sgd": 8, "adam": 24, "adamw": 26, "rmsprop": 22, "adagrad": 13, "nadam": 43, "adadelta": 23, "adamax": 15}


def growth(m: int) -> Long:
    """a_m: the roundings that a sum of m products gathers."""
    return Long(min(m + 2.0, 6 * np.sqrt(m) + 2))


@dataclass
class Fit:
    """The samples of one fit that count, as the judged arithmetic holds them; ones last for an
    intercept."""

    X: np.ndarray  # (n, D), long double
    y: np.ndarray
    weights: np.ndarray | None
    dtype: str
    reduction: str

    def measure(self, w: np.ndarray) -> tuple[Long, Long, np.ndarray, np.ndarray, bool]:
        """(loss, its bound, gradient, its bound, whether both can be judged) at w (D,)."""
        u, eta, (n, parameters) = UNIT[self.dtype], TINY[self.dtype], self.X.shape
        size = np.abs(self.X)
        reach = size @ np.abs(w)
        r = self.X @ w - self.y
        delta = u * (growth(parameters) * reach + np.abs(self.y) + np.abs(r)) + (parameters + 2) * eta
        omega = np.ones(n, Long) if self.weights is None else self.weights
        total = omega.sum()
        scale = 2 / total if self.reduction == "mean" else Long(2)
        extra = 0 if self.weights is None else 2
        of_total = Long(0) if self.weights is None else (growth(n) - 2) * u
        a_n = growth(n + extra)
        per_sample = scale + 2 + omega if self.weights is not None else np.full(n, max(Long(1), scale))
        gradient = scale * ((omega * r) @ self.X)
        of_gradient = (
            scale * ((omega * (delta + a_n * u * np.abs(r))) @ size)
            + (per_sample @ size + max(Long(1), scale) * n) * eta
            + (3 * u + (of_total if self.reduction == "mean" else 0)) * np.abs(gradient)
            + 2 * eta
        )
        rr = (omega * r) @ r
        loss = rr / total
        of_loss = (
            (2 * (omega * np.abs(r)) @ delta + (omega * delta) @ delta + (a_n + 2) * u * rr) / total + (2 * u + of_total) * loss + 2 * eta
        )
        if self.weights is not None:
            of_loss += (np.abs(r).sum() + n) * eta / total
        lowest = min(Long(1), omega.min())
        norm = np.sqrt(max((omega @ (self.X * self.X)).max(), total))
        large = LARGE[self.dtype]
        inside = (
            np.abs(w).max() <= large / max(Long(1), parameters * norm / np.sqrt(lowest))
            and rr <= min(large * lowest, (large * lowest / (2 * norm)) ** 2)
            and total <= large
            and scale * max(Long(1), np.abs(r).max()) <= large
        )
        return loss, of_loss, gradient, of_gradient, bool(inside)


# -- update rules, as torch.optim writes them: (w, slots, g, lr, t, options) -> w, slots; t from 1


def sgd(w, slots, g, lr, t, o):
    (v,) = slots
    g = (-g if o["maximize"] else g) + o["weight_decay"] * w
    if o["momentum"]:
        v = g if t == 1 else o["momentum"] * v + (1 - o["dampening"]) * g
        g = g + o["momentum"] * v if o["nesterov"] else v
    return w - lr * g, (v,)


def adam(w, slots, g, lr, t, o, decoupled=False):
    m, v, top = slots
    g = -g if o["maximize"] else g
    if decoupled:
        w = w - lr * o["weight_decay"] * w
    else:
        g = g + o["weight_decay"] * w
    m, v = o["beta1"] * m + (1 - o["beta1"]) * g, o["beta2"] * v + (1 - o["beta2"]) * g * g
    top = np.maximum(top, v) if o["amsgrad"] else top
    root = np.sqrt((top if o["amsgrad"] else v) / (1 - o["beta2_power"]))
    return w - lr * m / (1 - o["beta1_power"]) / (root + o["eps"]), (m, v, top)


def adamw(w, slots, g, lr, t, o):
    return adam(w, slots, g, lr, t, o, decoupled=True)


def rmsprop(w, slots, g, lr, t, o):
    v, a, b = slots
    g = (-g if o["maximize"] else g) + o["weight_decay"] * w
    v = o["alpha"] * v + (1 - o["alpha"]) * g * g
    if o["centered"]:
        a = o["alpha"] * a + (1 - o["alpha"]) * g
    move = g / (np.sqrt(v - a * a if o["centered"] else v) + o["eps"])
    if o["momentum"]:
        b = move = o["momentum"] * b + move
    return w - lr * move, (v, a, b)


def adagrad(w, slots, g, lr, t, o):
    (s,) = slots
    g = (-g if o["maximize"] else g) + o["weight_decay"] * w
    s = (o["initial_accumulator_value"] if t == 1 else s) + g * g
    return w - lr / (1 + (t - 1) * o["lr_decay"]) * g / (np.sqrt(s) + o["eps"]), (s,)


def nadam(w, slots, g, lr, t, o):
    m, v = slots
    g = -g if o["maximize"] else g
    if o["decoupled_weight_decay"]:
        w = w - lr * o["weight_decay"] * w
    else:
        g = g + o["weight_decay"] * w
    m, v = o["beta1"] * m + (1 - o["beta1"]) * g, o["beta2"] * v + (1 - o["beta2"]) * g * g
    mu, mu_next = (o["beta1"] * (1 - o["decay"] ** step / 2) for step in (t, t + 1))
    product = o["mu_product"]
    root = np.sqrt(v / (1 - o["beta2_power"])) + o["eps"]
    return w - lr * (1 - mu) / (1 - product) * g / root - lr * mu_next / (1 - product * mu_next) * m / root, (m, v)


def adadelta(w, slots, g, lr, t, o):
    v, moves = slots
    g = (-g if o["maximize"] else g) + o["weight_decay"] * w
    v = o["rho"] * v + (1 - o["rho"]) * g * g
    move = np.sqrt(moves + o["eps"]) / np.sqrt(v + o["eps"]) * g
    return w - lr * move, (v, o["rho"] * moves + (1 - o["rho"]) * move * move)


def adamax(w, slots, g, lr, t, o):
    m, top = slots
    g = (-g if o["maximize"] else g) + o["weight_decay"] * w
    m, top = o["beta1"] * m + (1 - o["beta1"]) * g, np.maximum(o["beta2"] * top, np.abs(g) + o["eps"])
    return w - lr / (1 - o["beta1_power"]) * m / top, (m, top)


RULES: Mapping[str, Callable[..., Any]] = {
    "sgd": sgd, "adam": adam, "adamw": adamw, "rmsprop": rmsprop, "adagrad": adagrad, "nadam": nadam, "adadelta": adadelta,
    "adamax": adamax,
}  # fmt: skip


def powers(options: Mapping[str, Any], t: int) -> dict[str, Long]:
    """What depends on the number of the step, exactly enough: each is moved by its own error."""
    found = {f"{name}_power": Long(options[name]) ** t for name in ("beta1", "beta2") if name in options}
    if "momentum_decay" in options:
        found["decay"] = Long(float(Long("0.96") ** Long(options["momentum_decay"])))
        mus = [options["beta1"] * (1 - found["decay"] ** step / 2) for step in range(1, t + 1)]
        found["mu_product"] = np.prod(mus, dtype=Long)
    return found


def step(
    fit: Fit, rule: str, options: Mapping[str, Any], lr: float, w: np.ndarray, slots: np.ndarray, t: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """(w after the step, how far rounding may move it); None where it cannot be judged."""
    u, eta, k = UNIT[fit.dtype], TINY[fit.dtype], ROUNDINGS[rule] + 1
    _, _, g, of_g, inside = fit.measure(w)
    if not inside:
        return None
    plain = rule == "sgd" and not options["momentum"] and not options["weight_decay"]
    values = {name: Long(value) for name, value in options.items()} | powers(options, t)
    lr = Long(np.dtype(fit.dtype).type(lr))

    def at(w=w, slots=slots, g=g, values=values):
        return RULES[rule](w, tuple(slots), g, lr, t, values)

    exact, kept = at()
    if any(not np.abs(slot).max() <= LARGE[fit.dtype] for slot in kept):
        return None
    change = np.abs(exact - w)
    if plain:
        bound = lr * of_g + 2 * u * change + u * np.abs(exact) + 2 * eta
    else:

        def moved(*results):
            return np.max([np.abs(result[0] - exact) for result in results], axis=0)

        of_g = of_g + k * (u * np.abs(g) + eta)
        bound = moved(at(g=g + of_g), at(g=g - of_g)) + k * u * change + u * np.abs(exact) + 2 * eta
        bound += np.maximum(moved(at(w=w * (1 + k * u)), at(w=w * (1 - k * u))), k * u * np.abs(w))
        for index, slot in enumerate(slots):
            of_slot = k * (u * np.abs(slot) + eta)
            down = np.where(np.abs(slot) > of_slot, slot - np.sign(slot) * of_slot, 0)
            up = slot + np.where(slot < 0, -of_slot, of_slot)
            bound += moved(*(at(slots=[*slots[:index], other, *slots[index + 1 :]]) for other in (down, up)))
        for name in powers(options, t):
            error = (t + 4) * Long(2) ** -53 * values[name]
            bound += moved(*(at(values=values | {name: values[name] + sign * error}) for sign in (-1, 1)))
    with_limits = np.isfinite(bound).all() and np.abs(exact).max() <= LARGE[fit.dtype] and change.max() <= LARGE[fit.dtype]
    return (exact, bound) if with_limits else None
