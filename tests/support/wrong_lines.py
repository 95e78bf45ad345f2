"""A right loop of gradient descent, and one of Adam's steps, of which one line may be written
wrongly. Those of docs/causes.md."""

from __future__ import annotations

import re

import numpy as np

import fastgd

LOOP = """\
for epoch in range(epochs):
    residual = X @ w - y  # residual; the last column of X is ones
    gradient = 2 / len(y) * X.T @ residual  # gradient
    losses.append(np.mean(residual**2))  # loss
    history.append(w.copy())  # row
    w = w - lr * gradient  # step
history.append(w.copy())
"""
ADAM = """\
m = 0.9 * (m if epoch else 0) + 0.1 * gradient
v = 0.999 * (v if epoch else 0) + 0.001 * gradient**2
m_hat, v_hat = m / (1 - 0.9 ** (epoch + 1)), v / (1 - 0.999 ** (epoch + 1))
w = w - lr * m_hat / (np.sqrt(v_hat) + 1e-8)
"""
OF_ADAM = {"m_hat", "w"}
BATCHES = """\
for epoch in range(epochs):
    for b in range(0, len(y), 6):  # batches
        batch = slice(b, b + 6)
        residual = X[batch] @ w - y[batch]
        gradient = 2 / len(residual) * X[batch].T @ residual  # of_batch
        w = w - lr * 0.9**epoch * gradient  # of_step
    history.append(w.copy())
"""
OF_BATCHES = {"batches", "of_batch", "of_step"}
WEIGHTED = """\
gradient = 2 / s.sum() * X.T @ (s * residual)
losses.append(np.average(residual**2, weights=s))
"""
OF_WEIGHTS = {"weighted": "gradient", "averaged": "loss"}  # the lines of the first loop

RNG = np.random.default_rng(31)
N, EPOCHS, LR = 20, 12, 0.05
FEATURES = RNG.standard_normal((N, 2)) * [1.0, 2.0] + [0.5, 1.0]
TARGET = FEATURES @ [1.5, -2.0] + 3.0 + RNG.standard_normal(N)
WEIGHTS = RNG.uniform(0.2, 3.0, N)


def body(line: str, wrong: str) -> str:
    """The loop of the page with one line replaced; for Adam with its step in it."""
    lines = LOOP.splitlines()
    if line in OF_BATCHES:
        lines = BATCHES.splitlines()
        k = next(k for k, text in enumerate(lines) if text.endswith(f"# {line}"))
        return "\n".join([*lines[:k], lines[k][: len(lines[k]) - len(lines[k].lstrip())] + wrong, *lines[k + 1 :]])
    if line in OF_WEIGHTS:
        given = {**dict(zip(OF_WEIGHTS, WEIGHTED.splitlines(), strict=True)), line: wrong}
        for name, text in given.items():
            k = next(k for k, one in enumerate(lines) if re.search(rf"# {OF_WEIGHTS[name]}\b", one))
            lines[k] = f"    {text}  # {OF_WEIGHTS[name]}"
        return "\n".join(lines)
    if line in OF_ADAM:
        step = ADAM.splitlines()
        places = [k for k, text in enumerate(step) if text.startswith(line)]
        step[places[0]] = wrong
        k = next(k for k, text in enumerate(lines) if "# step" in text)
        return "\n".join([*lines[:k], *(f"    {text}" for text in step), *lines[k + 1 :]])
    if line == "start":
        return "\n".join([wrong, *lines])
    k = next(k for k, text in enumerate(lines) if re.search(rf"# {line}\b", text))
    return "\n".join([*lines[:k], f"    {wrong}", *lines[k + 1 :]])


def descend(source: str):
    """w of every epoch and the losses."""
    names = {
        "np": np, "X": np.column_stack([FEATURES, np.ones(N)]), "y": TARGET.copy(), "w": np.zeros(3), "lr": LR, "epochs": EPOCHS,
        "history": [], "losses": [], "s": WEIGHTS,
    }  # fmt: skip
    exec(source, names)
    return np.array(names["history"]), np.array(names["losses"])


def ask(w, losses=None, **options):
    """The diagnosis of a history of such a loop."""
    return fastgd.diagnose(FEATURES, TARGET, w, losses, lr=LR, intercept=True, **options)
