"""The tutorial's gradient descent, written by hand in NumPy: to be read.

    prediction = X w + intercept        residual = prediction - y
    loss       = mean(residual²)        gradient = Xᵀ (2/n residual)

and with weights

    loss     = sum(weights residual²) / sum(weights)
    gradient = Xᵀ (2/sum(weights) (weights residual))

1. Every number has the dtype of the data: Python's floats do not widen a NumPy float, NumPy's
   float64 would.
2. The (weighted) residual is multiplied by 2/n before Xᵀ, as autograd does, so that numbers
   overflow in the same epoch.
3. The tutorial computed `np.dot(2 * x, residual).mean()`. The mean of one number is that number, so
   this is the gradient of the SUM of squares, n times the gradient of the mean: reduction="sum"
   here.
4. An epoch on large data takes seconds: its two passes over them run apart (kernels/apart.py).
5. SGD is written by hand, to be read. The adaptive rules take the `step` of their row in
   update_rules.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..apart import LARGE, run_apart_if
from ..chunk import MANUAL, TOO_FEW_SAMPLES, Chunk
from ..forks import lapack
from ..update_rules import power_of
from .batching import Batching
from .record import Record


def descend(chunk: Chunk, cancel: np.ndarray, progress: np.ndarray) -> None:
    """Run the fits of a chunk, one after the other.

    cancel: (1,) int32, not 0: return. progress: (1,) int64, counts epochs done.
    """
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
    large = chunk.X[0].size > LARGE
    X, y, weights = run_apart_if(large, chunk.samples, fit)  # (n, d), (n,) and (n,) or None
    n, d = X.shape
    number = X.dtype.type  # float32 or float64

    w = chunk.w[fit, :d].astype(number)  # (d,)
    intercept = number(chunk.w[fit, d]) if chunk.intercept else number(0)
    w_slots = [slot[:d].astype(number) for slot in chunk.slots[fit]]
    intercept_slots = [number(slot[d]) for slot in chunk.slots[fit]] if chunk.intercept else []

    rule = chunk.rule
    update = UPDATES.get(rule.name, rule.step)
    hyperparameters = dict(zip((*rule.hyperparameters, *rule.derived), chunk.hyper[fit].tolist(), strict=True))
    products = dict(zip(rule.products, chunk.products[fit].tolist(), strict=True))  # one number per fit each, in double precision
    lr = chunk.lr[:, fit].tolist()  # one rate, or one per epoch: that of an epoch is lr[epoch % len(lr)]
    momenta = chunk.momenta[:, fit].tolist() if len(chunk.momenta) else [np.nan]  # as many, or none: NaN
    steps = int(chunk.steps[fit])
    batching, first_step = Batching(chunk, fit, n), steps
    record.steps = batching.steps

    @lapack
    def evaluate(X: Any, y: Any, weights: Any) -> tuple[Any, Any, Any]:
        """The loss, its slope by each prediction, and the number of samples or sum of weights."""
        total = len(y) if weights is None else weights.sum()
        slope = 2 / total if chunk.reduction == "mean" else 2  # of the loss, per unit of (weighted) residual
        prediction = X @ w + intercept
        residual = prediction - y
        weighted = residual if weights is None else weights * residual
        squares = weighted * residual
        return squares.mean() if weights is None else squares.sum() / total, slope * weighted, total

    for epoch in range(chunk.epochs + 1):
        loss, error, _ = run_apart_if(large, evaluate, X, y, weights)
        if not record.goes_on(epoch, loss, w, intercept):
            break
        for rows in batching.of_epoch(epoch):
            features = X
            if rows is not None:
                features = X[rows]
                loss, error, total = evaluate(features, y[rows], None if weights is None else weights[rows])
                batching.add(float(loss), float(total))
            place = steps - first_step if batching.per_step else epoch
            rate, momentum = lr[place % len(lr)], momenta[place % len(momenta)]
            if rule.moving is not None and momentum == momentum:  # it is not NaN
                hyperparameters[rule.moving] = momentum
                if rule.power is not None:
                    products[rule.power] = power_of(momentum, steps)
            products = dict(zip(rule.products, rule.advance(**hyperparameters, **products), strict=True))
            gradient = run_apart_if(large, multiply, features.T, error)
            w, w_slots = update(w, w_slots, gradient, rate, steps, **hyperparameters, **products)
            if chunk.intercept:
                own = {**hyperparameters, "weight_decay": 0.0} if chunk.free_intercept else hyperparameters
                intercept, intercept_slots = update(intercept, intercept_slots, error.sum(), rate, steps, **own, **products)
            steps += 1

    if not record.cancelled:
        for slot, of_w in zip(chunk.slots[fit], w_slots, strict=True):
            slot[:d] = of_w
        if chunk.intercept:
            chunk.slots[fit, :, d] = intercept_slots
        chunk.products[fit] = list(products.values())


@lapack
def multiply(a: Any, b: Any) -> Any:
    """A product of matrices: no child is made meanwhile (kernels/forks.py)."""
    return np.matmul(a, b)


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


# the update rules that are written by hand here; the others take `step` of their row
UPDATES: dict[str, Callable[..., tuple[Any, Any]]] = {"sgd": sgd}
