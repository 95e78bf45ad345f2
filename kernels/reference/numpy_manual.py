"""The tutorial's gradient descent, written by hand in NumPy: to be read.

    prediction = X w + intercept        residual = prediction - y
    loss       = mean(residual²)        gradient = Xᵀ (2/n residual)

and with weights

    loss = sum(weights residual²) / sum(weights)        gradient = Xᵀ (2/sum(weights) (weights residual))

1. Every number has the dtype of the data: Python's floats do not widen a NumPy float, NumPy's float64 would.
2. The (weighted) residual is multiplied by 2/n before Xᵀ, as autograd does, so that numbers overflow in the same epoch.
3. The tutorial computed `np.dot(2 * x, residual).mean()`. The mean of one number is that number, so this is the gradient of
   the SUM of squares, n times the gradient of the mean: reduction="sum" here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..chunk import MANUAL, TOO_FEW_SAMPLES, Chunk
from .record import Record


def descend(chunk: Chunk, cancel: np.ndarray, progress: np.ndarray) -> None:
    """Run the fits of the chunk one after the other. `cancel` (1,) int32: not 0 = return; `progress` (1,) int64: epochs done."""
    with np.errstate(all="ignore"):  # a descent that diverges is a result, not a warning
        for fit in range(len(chunk.x_index)):
            if chunk.status[fit] == TOO_FEW_SAMPLES:
                progress[0] += chunk.epochs
                continue
            record = Record(chunk, fit, MANUAL, cancel, progress)
            descend_fit(chunk, fit, record)
            if record.cancelled:
                return


def descend_fit(chunk: Chunk, fit: int, record: Record) -> None:
    """Run one fit: `epochs` times residual, loss, gradient and step."""
    X, y, weights = chunk.samples(fit)  # (n, d), (n,) and (n,) or None
    n, d = X.shape
    number = X.dtype.type  # float32 or float64

    w = chunk.w[fit, :d].astype(number)  # (d,)
    intercept = number(chunk.w[fit, d]) if chunk.intercept else number(0)
    w_slots = [slot[:d].astype(number) for slot in chunk.slots[fit]]
    intercept_slots = [number(slot[d]) for slot in chunk.slots[fit]] if chunk.intercept else []

    update = UPDATES[chunk.rule.name]
    hyperparameters = dict(zip(chunk.rule.hyperparameters, chunk.hyper[fit].tolist(), strict=False))  # what is derived comes after them
    multiply = PRODUCTS.get(chunk.rule.name)
    products = dict(zip(chunk.rule.products, chunk.products[fit].tolist(), strict=True))  # one number per fit each, in double precision
    lr = chunk.lr[:, fit].tolist()  # one rate, or one per epoch: that of an epoch is lr[epoch % len(lr)]
    steps = int(chunk.steps[fit])
    total = n if weights is None else weights.sum()
    slope = 2 / total if chunk.reduction == "mean" else 2  # of the loss, per unit of (weighted) residual

    for epoch in range(chunk.epochs + 1):
        prediction = X @ w + intercept
        residual = prediction - y
        weighted = residual if weights is None else weights * residual
        squares = weighted * residual
        loss = squares.mean() if weights is None else squares.sum() / total
        if not record.goes_on(epoch, loss, w, intercept):
            break
        error = slope * weighted
        rate = lr[epoch % len(lr)]
        if multiply is not None:
            products = multiply(**hyperparameters, **products)
        w, w_slots = update(w, w_slots, X.T @ error, rate, steps, **hyperparameters, **products)
        if chunk.intercept:
            intercept, intercept_slots = update(intercept, intercept_slots, error.sum(), rate, steps, **hyperparameters, **products)
        steps += 1

    if not record.cancelled:
        for slot, of_w in zip(chunk.slots[fit], w_slots, strict=True):
            slot[:d] = of_w
        if chunk.intercept:
            chunk.slots[fit, :, d] = intercept_slots
        chunk.products[fit] = list(products.values())


def sgd(
    w: Any,
    slots: list[Any],
    gradient: Any,
    lr: float,
    steps: int,
    *,
    momentum: float,
    dampening: float,
    weight_decay: float,
    nesterov: float,
    maximize: float,
) -> tuple[Any, list[Any]]:
    """Make one step of torch.optim.SGD. The velocity begins as the first gradient, undamped."""
    (velocity,) = slots
    if maximize:
        gradient = -gradient
    if weight_decay:
        gradient = gradient + weight_decay * w
    if momentum:
        velocity = gradient if steps == 0 else momentum * velocity + (1 - dampening) * gradient
        gradient = gradient + momentum * velocity if nesterov else velocity
    return w - lr * gradient, [velocity]


def adam(
    w: Any,
    slots: list[Any],
    gradient: Any,
    lr: float,
    steps: int,
    *,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    amsgrad: float,
    maximize: float,
    beta1_product: float,
    beta2_product: float,
    decoupled: bool = False,
) -> tuple[Any, list[Any]]:
    """Make one step of torch.optim.Adam. beta1_product and beta2_product are beta1 and beta2 to the power of the step."""
    average, square, largest = slots
    if maximize:
        gradient = -gradient
    if weight_decay and decoupled:
        w = w * (1 - lr * weight_decay)
    elif weight_decay:
        gradient = gradient + weight_decay * w
    average = beta1 * average + (1 - beta1) * gradient
    square = beta2 * square + (1 - beta2) * gradient * gradient
    if amsgrad:
        largest = np.maximum(largest, square)
    denominator = np.sqrt(largest if amsgrad else square) / math.sqrt(1 - beta2_product) + eps
    return w - lr / (1 - beta1_product) * average / denominator, [average, square, largest]


def adamw(w: Any, slots: list[Any], gradient: Any, lr: float, steps: int, **values: Any) -> tuple[Any, list[Any]]:
    """Make one step of torch.optim.AdamW: Adam, but the weights decay apart from the gradient."""
    return adam(w, slots, gradient, lr, steps, decoupled=True, **values)


def adam_products(*, beta1: float, beta2: float, beta1_product: float, beta2_product: float, **others: float) -> dict[str, float]:
    """Take the products of Adam one step further."""
    return {"beta1_product": beta1_product * beta1, "beta2_product": beta2_product * beta2}


def rmsprop(
    w: Any,
    slots: list[Any],
    gradient: Any,
    lr: float,
    steps: int,
    *,
    alpha: float,
    eps: float,
    weight_decay: float,
    momentum: float,
    centered: float,
    maximize: float,
) -> tuple[Any, list[Any]]:
    """Make one step of torch.optim.RMSprop."""
    square, average, buffer = slots
    if maximize:
        gradient = -gradient
    if weight_decay:
        gradient = gradient + weight_decay * w
    square = alpha * square + (1 - alpha) * gradient * gradient
    variance = square
    if centered:
        average = average + (1 - alpha) * (gradient - average)
        variance = square - average * average
    direction = gradient / (np.sqrt(variance) + eps)
    if momentum > 0:
        buffer = direction = momentum * buffer + direction
    return w - lr * direction, [square, average, buffer]


def adagrad(
    w: Any,
    slots: list[Any],
    gradient: Any,
    lr: float,
    steps: int,
    *,
    lr_decay: float,
    weight_decay: float,
    initial_accumulator_value: float,
    eps: float,
    maximize: float,
) -> tuple[Any, list[Any]]:
    """Make one step of torch.optim.Adagrad."""
    (total,) = slots
    if maximize:
        gradient = -gradient
    if weight_decay:
        gradient = gradient + weight_decay * w
    if steps == 0:
        total = total + initial_accumulator_value
    total = total + gradient * gradient
    return w - lr / (1 + steps * lr_decay) * gradient / (np.sqrt(total) + eps), [total]


def nadam(
    w: Any,
    slots: list[Any],
    gradient: Any,
    lr: float,
    steps: int,
    *,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    momentum_decay: float,
    decoupled_weight_decay: float,
    maximize: float,
    beta2_product: float,
    mu_product: float,
    decay_product: float,
) -> tuple[Any, list[Any]]:
    """Make one step of torch.optim.NAdam. decay_product is 0.96 to the power of step · momentum_decay."""
    average, square = slots
    if maximize:
        gradient = -gradient
    if weight_decay and decoupled_weight_decay:
        w = w * (1 - lr * weight_decay)
    elif weight_decay:
        gradient = gradient + weight_decay * w
    mu = beta1 * (1 - 0.5 * decay_product)
    next_mu = beta1 * (1 - 0.5 * decay_product * 0.96**momentum_decay)
    average = beta1 * average + (1 - beta1) * gradient
    square = beta2 * square + (1 - beta2) * gradient * gradient
    denominator = np.sqrt(square / (1 - beta2_product)) + eps
    w = w - lr * (1 - mu) / (1 - mu_product) * gradient / denominator
    return w - lr * next_mu / (1 - mu_product * next_mu) * average / denominator, [average, square]


def nadam_products(
    *,
    beta1: float,
    beta2: float,
    momentum_decay: float,
    beta2_product: float,
    mu_product: float,
    decay_product: float,
    **others: float,
) -> dict[str, float]:
    """Take the products of NAdam one step further."""
    decay_product = decay_product * 0.96**momentum_decay
    mu = beta1 * (1 - 0.5 * decay_product)
    return {"beta2_product": beta2_product * beta2, "mu_product": mu_product * mu, "decay_product": decay_product}


# the update rules that are written by hand here, by their names in update_rules.py
UPDATES: dict[str, Callable[..., tuple[Any, list[Any]]]] = {
    "sgd": sgd,
    "adam": adam,
    "adamw": adamw,
    "rmsprop": rmsprop,
    "adagrad": adagrad,
    "nadam": nadam,
}
PRODUCTS: dict[str, Callable[..., dict[str, float]]] = {"adam": adam_products, "adamw": adam_products, "nadam": nadam_products}
