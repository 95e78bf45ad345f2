"""The numbers of the two references: the tutorial's tables, the loop that torch users write, exact
rationals, and the bound."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from fastgd.kernels.reference import numpy_manual
from fastgd.kernels.update_rules import UPDATE_RULES
from fastgd.verification.bound import check_history, check_lockstep
from tests.support.reference_chunks import REFERENCES, SGD_OPTIONS, chunk_of, noisy, run


@pytest.fixture(params=REFERENCES)
def reference(request):
    return request.param


def exact_descent(X, y, *, epochs, lr, reduction, momentum=0, dampening=0, weight_decay=0, nesterov=False, maximize=False):
    """(epochs + 1) rows of parameters and losses in rationals; a column of ones is the
    intercept."""
    n, D = len(X), len(X[0])
    w, v, rows = [Fraction(0)] * D, None, []
    for epoch in range(epochs + 1):
        r = [sum(a * b for a, b in zip(row, w, strict=True)) - target for row, target in zip(X, y, strict=True)]
        rows.append((w, sum(a * a for a in r) / n))
        g = [(-1 if maximize else 1) * 2 * sum(x[j] * a for x, a in zip(X, r, strict=True)) for j in range(D)]
        g = [a / (n if reduction == "mean" else 1) + weight_decay * b for a, b in zip(g, w, strict=True)]
        if momentum:
            v = g if v is None else [momentum * a + (1 - dampening) * b for a, b in zip(v, g, strict=True)]
            g = [a + momentum * b for a, b in zip(g, v, strict=True)] if nesterov else v
        w = [a - lr[epoch % len(lr)] * b for a, b in zip(w, g, strict=True)]
    return rows


EXACT_OPTIONS = [
    {},
    {"momentum": 0.5},
    {"momentum": 0.5, "dampening": 0.25},
    {"momentum": 0.5, "nesterov": True},
    {"weight_decay": 0.125},
    {"maximize": True},
    {"momentum": 0.5, "dampening": 0.25, "weight_decay": 0.125, "maximize": True},
    {"momentum": 0.5, "weight_decay": 0.125, "nesterov": True, "maximize": True},
]


@pytest.mark.parametrize("lr", [[0.125], [0.125, 0.25, 0.0625]], ids=["constant", "per epoch"])
@pytest.mark.parametrize("intercept", [False, True], ids=["", "intercept"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("options", EXACT_OPTIONS, ids=str)
def test_where_nothing_rounds_every_epoch_is_exact(reference, options, reduction, intercept, lr):
    X = [[1, 2], [0, -1], [3, 1], [-2, 1]]
    y = [1, 2, -1, 3]
    chunk = chunk_of([X], [y], epochs=3, lr=np.array(lr)[:, None], reduction=reduction, intercept=intercept, **options)
    run(reference, chunk)
    rational = {name: Fraction(value) for name, value in options.items() if not isinstance(value, bool)}
    flags = {name: value for name, value in options.items() if isinstance(value, bool)}
    ones = [[*row, 1] for row in X] if intercept else X
    rows = exact_descent(ones, y, epochs=3, lr=[Fraction(a) for a in lr], reduction=reduction, **rational, **flags)
    for epoch, (w, loss) in enumerate(rows):
        assert [Fraction(float(a)) for a in chunk.history_w[0, epoch]] == w
        assert Fraction(float(chunk.history_loss[0, epoch])) == loss


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_number_leaves_the_dtype_of_the_data(monkeypatch, dtype):
    seen = set()

    def watch(w, slots, gradient, *rest, **hyperparameters):
        result, new_slots = numpy_manual.sgd(w, slots, gradient, *rest, **hyperparameters)
        seen.update(a.dtype for a in (w, *slots, gradient, result, *new_slots))
        return result, new_slots

    monkeypatch.setitem(numpy_manual.UPDATES, "sgd", watch)
    X, y = noisy(5, 2)
    for options in SGD_OPTIONS:
        for reduction in ("mean", "sum"):
            run("manual", chunk_of(X, y, dtype=dtype, intercept=True, epochs=3, reduction=reduction, **options))
    assert seen == {np.dtype(dtype)}


PROBLEMS = {
    "noisy": noisy(37, 3),
    "noise-free": (noisy(33, 2)[0], noisy(33, 2)[0] @ [1.0, -2.0]),
    "offset of 1e6": (noisy(40, 2)[0] + 1e6, noisy(40, 2)[1]),
    "rows of mixed magnitude": (noisy(40, 2)[0] * np.where(np.arange(40) % 2, 1e7, 1)[:, None], noisy(40, 2)[1]),
    "n < d": noisy(3, 5),
    "n = 1": noisy(1, 1),
}


def rate_of(X, y, fraction, intercept):
    """So much of the stability limit 2/λ, λ of the Hessian of the mean."""
    A = np.column_stack([X[0], np.ones(len(X[0]))]) if intercept else X[0]
    return fraction * 2 / (2 / len(A) * np.linalg.norm(A, 2) ** 2)


@pytest.mark.parametrize("fraction", [0.5, 1.1])
@pytest.mark.parametrize("intercept", [False, True], ids=["", "intercept"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("problem", PROBLEMS)
def test_every_epoch_is_within_the_bound(reference, problem, dtype, intercept, fraction):
    X, y = PROBLEMS[problem]
    lr = rate_of(X, y, fraction, intercept)
    chunk = run(reference, chunk_of(X, y, dtype=dtype, lr=lr, epochs=40, intercept=intercept))
    w, loss = chunk.history_w[0], chunk.history_loss[0]
    found = check_history(X[0], y[0], w, loss, lr=float(dtype(lr)), dtype=dtype, intercept=intercept)
    print(f"tau_w {found.tau_w:.3f}, tau_loss {found.tau_loss:.3f}")
    assert found.steps_compared == 40
    assert found.tau_w <= 2
    assert found.tau_loss <= 2


@pytest.mark.parametrize("intercept", [False, True], ids=["", "intercept"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("options", SGD_OPTIONS, ids=str)
def test_every_step_of_every_option_is_within_the_bound(reference, options, dtype, intercept):
    X, y = PROBLEMS["noisy"]
    rule = UPDATE_RULES["sgd"]
    hyper = dict(rule.hyperparameters) | {k: v if isinstance(v, bool) else float(dtype(v)) for k, v in options.items()}
    chunk = chunk_of(X, y, dtype=dtype, lr=0.05, epochs=1, intercept=intercept, **options)
    worst = np.zeros(3)
    for _ in range(15):
        before = chunk.w[0].copy(), chunk.slots[0].copy(), int(chunk.steps[0])
        run(reference, chunk)
        found = check_lockstep(
            X[0],
            y[0],
            before,
            (chunk.w[0], chunk.slots[0]),
            chunk.history_loss[0, 0],
            rule=rule,
            lr=float(dtype(0.05)),
            hyper=hyper,
            dtype=dtype,
            intercept=intercept,
        )
        worst = np.maximum(worst, [found.tau_w, found.tau_slots, found.tau_loss])
    print("tau_w {:.3f}, tau_slots {:.3f}, tau_loss {:.3f}".format(*worst))
    assert worst.max() <= 2
