"""Chunks for the tests of the two references, and torch as its users write it."""

from __future__ import annotations

import numpy as np

from fastgd.kernels.chunk import AUTOGRAD, COMPLETED, MANUAL, Chunk, n_rows
from fastgd.kernels.reference import numpy_manual, torch_autograd
from fastgd.kernels.update_rules import UPDATE_RULES

REFERENCES = {"autograd": torch_autograd, "manual": numpy_manual}
CODES = {"autograd": AUTOGRAD, "manual": MANUAL}
X_TUTORIAL = [[[1.0], [2.0], [3.0], [4.0]]]
Y_TUTORIAL = [[2.0, 4.0, 6.0, 8.0]]
SGD_OPTIONS = [
    {},
    {"momentum": 0.9},
    {"momentum": 0.9, "dampening": 0.3},
    {"momentum": 0.9, "nesterov": True},
    {"weight_decay": 0.01},
    {"maximize": True},
    {"momentum": 0.8, "dampening": 0.2, "weight_decay": 0.1, "maximize": True},
    {"momentum": 0.8, "weight_decay": 0.1, "nesterov": True, "maximize": True},
]


def chunk_of(
    X,
    y,
    *,
    dtype=np.float64,
    epochs=10,
    lr=0.05,
    every=1,
    tol=-1.0,
    reduction="mean",
    intercept=False,
    rule="sgd",
    w0=None,
    x_index=None,
    y_index=None,
    weights=None,
    weight_index=None,
    kept=None,
    least=None,
    allowance=0.0,
    penalty=0.0,
    **options,
):
    """A chunk of fits with one X (n_x, n, d) and one y (n_y, n) each, or as the indices say; lr a
    number, (m,) or (epochs, m).

    weights (n_w, n): one row each, or as the index says. kept: for each fit the places of its
    samples, or None for all; equal ones share a row.
    """
    X, y = np.array(X, dtype, order="C"), np.array(y, dtype, order="C")
    n = X.shape[1]
    weights = np.zeros((0, n), dtype) if weights is None else np.array(weights, dtype, order="C")
    X.flags.writeable = y.flags.writeable = weights.flags.writeable = False
    x_index = np.arange(len(X)) if x_index is None else np.array(x_index)
    y_index = np.arange(len(y)) if y_index is None else np.array(y_index)
    m, D, rows = len(x_index), X.shape[2] + intercept, n_rows(epochs, every)
    weight_index = (np.arange(m) if len(weights) else np.full(m, -77)) if weight_index is None else np.array(weight_index)
    kept = [None] * m if kept is None else [None if places is None else tuple(places) for places in kept]
    lists = [places for places in dict.fromkeys(kept) if places is not None]
    kept_rows = np.full((len(lists), n), -77, np.int32)  # what is behind the places must not be read
    for row, places in zip(kept_rows, lists, strict=True):
        row[: len(places)] = places
    rule = UPDATE_RULES[rule]
    assert set(options) <= set(rule.hyperparameters)
    hyper = rule.all_values(options)
    hyper = [float(hyper[name]) for name in (*rule.hyperparameters, *rule.derived)]
    lr = np.asarray(lr, float)
    chunk = Chunk(
        X=X,
        y=y,
        x_index=x_index,
        y_index=y_index,
        weights=weights,
        weight_index=weight_index,
        kept=kept_rows,
        kept_index=np.array([-1 if places is None else lists.index(places) for places in kept]),
        n_used=np.array([n if places is None else len(places) for places in kept]),
        intercept=intercept,
        rule=rule,
        lr=lr if lr.ndim == 2 else np.broadcast_to(lr, (1, m)),
        hyper=np.tile(hyper, (m, 1)),
        epochs=epochs,
        reduction=reduction,
        tol=tol,
        every=every,
        w=np.zeros((m, D)) if w0 is None else np.broadcast_to(np.asarray(w0, dtype), (m, D)).astype(float),
        slots=np.zeros((m, len(rule.slots), D)),
        products=np.ones((m, len(rule.products))),
        steps=np.zeros(m, np.int64),
        algorithm=np.full(m, -1, np.int8),
        status=np.full(m, COMPLETED, np.int8),
        w_out=np.full((m, D), 77, dtype),
        loss=np.full(m, 77, dtype),
        epochs_run=np.full(m, -1, np.int64),
        history_w=np.full((m, rows, D), 77, dtype),
        history_loss=np.full((m, rows), 77, dtype),
    )
    if least is not None:
        values = {"penalty": penalty, "least": least, "allowance": allowance, "initial_excess": np.nan}
        for name, value in values.items():
            setattr(chunk, name, np.broadcast_to(np.asarray(value, float), m).copy())
        chunk.excess = np.full(m, 77, dtype)
    return chunk


def run(name, chunk, cancel=None, progress=None):
    cancel = np.zeros(1, np.int32) if cancel is None else cancel
    progress = np.zeros(1, np.int64) if progress is None else progress
    REFERENCES[name].descend(chunk, cancel, progress)
    return chunk


def noisy(n, d, seed=0, m=1):
    generator = np.random.default_rng(seed)
    X = generator.normal(size=(m, n, d))
    return X, X @ np.arange(1.0, d + 1) + generator.normal(size=(m, n))


def same(a, b):
    return np.array_equal(a, b, equal_nan=True)


def assert_same_results(a, b, fits=slice(None)):
    """Every number that descend writes is the same, bit for bit."""
    for name in ("w", "slots", "products", "steps", "algorithm", "status", "w_out", "loss", "epochs_run", "history_w", "history_loss"):
        assert same(getattr(a, name)[fits], getattr(b, name)), name


def torch_loop(X, y, *, dtype, epochs, lr, reduction="mean", intercept=False, weights=None, **options):
    """The loop that a user of torch writes: (epochs + 1, D) parameters and (epochs + 1,) losses."""
    import torch

    X, y = torch.tensor(X, dtype=dtype), torch.tensor(y, dtype=dtype)
    weights = None if weights is None else torch.tensor(weights, dtype=dtype)
    w = torch.nn.Parameter(torch.zeros(X.shape[1], dtype=dtype))
    b = torch.nn.Parameter(torch.zeros(1, dtype=dtype))
    optimizer = torch.optim.SGD([w, b] if intercept else [w], lr=1.0, **options)
    ws, losses = [], []
    for epoch in range(epochs + 1):
        optimizer.zero_grad()
        residual = X @ w + b - y if intercept else X @ w - y
        squares = residual * residual if weights is None else weights * residual * residual
        loss = squares.mean() if weights is None else squares.sum() / weights.sum()
        ws.append(torch.cat([w, b] if intercept else [w]).detach().numpy().copy())
        losses.append(loss.item())
        if epoch < epochs:
            (squares.sum() if reduction == "sum" else loss).backward()
            optimizer.param_groups[0]["lr"] = lr[epoch] if isinstance(lr, list) else lr
            optimizer.step()
    return np.array(ws), np.array(losses, ws[0].dtype)
