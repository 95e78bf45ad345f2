"""Sample weights: the arbiter's bits, the bound at every epoch, torch's weighted loss, repeated
rows; bad weights."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

import fastgd
from fastgd.kernels.update_rules import UPDATE_RULES
from fastgd.testing import problems
from fastgd.verification.bound import check_history, check_lockstep
from tests import grids
from tests.kernels.cpu.test_bits import make_data
from tests.promises.test_agreement import _assert_same_overflow, _first, _rows
from tests.support.against_arbiter import compare, same_bits
from tests.support.fit_results import same
from tests.support.refusals import refused
from tests.support.rule_options import assert_refused, rules_of, rules_with

OURS, OTHERS = 2.0, 8.0
NAMES = ("float32", "float64")
PROBLEMS = {problem.name: problem for problem in problems(grids.full)}
CASES = [(name, dtype) for name, problem in PROBLEMS.items() for dtype in problem.dtypes]
KINDS = ("near one", "mixed", "with zeros", "powers", "huge", "tiny", "equal")


def make_weights(n: int, kind: str, name: str, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng([seed, n, KINDS.index(kind)])
    weights = rng.uniform(0.5, 1.5, n)
    if kind == "mixed":
        weights = 10.0 ** rng.uniform(-6, 6, n)
    elif kind == "with zeros":
        weights[rng.random(n) < 0.3] = 0
        weights[rng.integers(n)] = 1
    elif kind == "powers":
        weights = 2.0 ** rng.integers(-4, 5, n)
    elif kind == "huge":
        weights *= 1e30 if name == "float32" else 1e280
    elif kind == "tiny":
        weights *= 1e-30 if name == "float32" else 1e-280
    elif kind == "equal":
        weights = np.full(n, 3.0)
    return weights.astype(name)


SIZES = ((1, 1), (2, 1), (33, 1), (100, 3), (513, 2), (40, 8), (4097, 1), (8193, 2), (12289, 1))
BITS = grids.thin("weights, bits", list(product(SIZES, NAMES, KINDS, ("auto", "moments", "stream"), (False, True), ("mean", "sum"))), 36)


@pytest.mark.parametrize(("size", "name", "kind", "algorithm", "intercept", "reduction"), BITS)
def test_the_kernels_give_the_arbiters_bits(size, name, kind, algorithm, intercept, reduction):
    n, d = size
    X, y = make_data(n, d, name, "normal" if n % 2 else "mixed rows")
    weights = make_weights(n, kind, name)
    safe = float(fastgd.fit(X, y, sample_weight=weights, intercept=intercept, reduction=reduction, epochs=0).lr)
    cells = [{"lr": multiple * safe, "hyper": hyper} for multiple in (0.9, 40.0) for hyper in ({}, {"momentum": 0.8, "weight_decay": 0.1})]
    settings = {"intercept": intercept, "reduction": reduction, "algorithm": algorithm, "sample_weight": weights}
    compare(X, y, cells if np.isfinite(safe) else [{"lr": 0.1}], epochs=4 if n > 1000 else 12, **settings)
    compare(X, y, [{"lr": None}], epochs=2, **settings)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_the_kernels_give_the_arbiters_bits_past_overflow(name, kind, reduction):
    X, y = make_data(30, 2, name, "normal")
    weights = make_weights(30, kind, name)
    weights[3] = 0
    X[3], y[3] = np.nan, np.inf
    safe = float(fastgd.fit(X, y, sample_weight=weights, reduction=reduction, epochs=0).lr)
    epochs = 40 if name == "float32" else 220
    runs = compare(X, y, [{"lr": 40 * safe}, {"lr": 1e9 * safe}], epochs=epochs, reduction=reduction, sample_weight=weights)
    assert all(run.first_bad is not None and run.handover is not None for run in runs)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rule", rules_with("cpu"))
@pytest.mark.parametrize("algorithm", ["moments", "stream"])
def test_every_rule_gives_the_arbiters_bits(name, rule, algorithm):
    X, y = make_data(40, 2, name, "normal")
    weights = make_weights(40, "with zeros", name)
    compare(X, y, [{"lr": 0.05}, {"lr": 1e20}], epochs=15, rule=rule, algorithm=algorithm, sample_weight=weights)


@pytest.mark.parametrize("algorithm", ["moments", "stream"])
@pytest.mark.parametrize(("name", "dtype"), CASES)
def test_our_kernels_agree_at_every_epoch(name, dtype, algorithm, record_tau):
    """τ ≤ 2 for w and loss, with weights of mixed magnitude, stable and unstable rates."""
    problem = PROBLEMS[name].astype(dtype)
    weights = make_weights(problem.n_samples, "mixed" if problem.n_samples % 2 else "with zeros", dtype)
    options = {"intercept": True, "intercept0": problem.w0[-1]} if problem.intercept else {}
    options |= {"w0": problem.w0[: problem.n_features], "sample_weight": weights, "algorithm": algorithm}
    safe = float(fastgd.fit(problem.X, problem.y, epochs=0, **options).lr)
    for multiple in (0.5, 2.2):
        lr = float(np.dtype(dtype).type(multiple * safe))
        if not 0 < lr < np.finfo(dtype).max / 4:
            continue
        result = fastgd.fit(problem.X, problem.y, lr=lr, epochs=30, history=True, **options)
        verdict = check_history(
            problem.X, problem.y, _rows(result), result.history.loss, lr=lr, dtype=dtype, intercept=problem.intercept,
            sample_weight=weights, held_higher=algorithm == "moments" and dtype == "float32",
        )  # fmt: skip
        record_tau(f"cpu {algorithm}, weights", dtype, f"{name} {multiple}/λ", verdict.tau_w, verdict.tau_loss)
        assert max(verdict.tau_w, verdict.tau_loss) <= OURS, (multiple, verdict)
        assert verdict.steps_compared == 30 or verdict.first_excluded is not None


@pytest.mark.parametrize("rule", UPDATE_RULES)
@pytest.mark.parametrize("dtype", NAMES)
def test_every_rule_in_lockstep_with_weights(rule, dtype, backend, record_tau):
    if rule not in rules_of(backend):
        assert_refused(rule, backend)
        return
    problem = PROBLEMS["noisy"].astype(dtype)
    weights = make_weights(problem.n_samples, "mixed", dtype)
    options = {"sample_weight": weights, "optimizer": rule, "lr": 0.01, "backend": backend, "intercept": problem.intercept}
    result = fastgd.fit(problem.X, problem.y, epochs=0, **options)
    for _ in range(10):
        state = result.state
        result = fastgd.fit(problem.X, problem.y, epochs=1, state=state, history=True, **options)
        own, nadams = backend == "cpu", rule == "nadam" and backend == "torch"
        before = (state.w, state.slots, int(state.epoch), state.products)

        def judge(precision, before=before, after=result.state, loss=result.history.loss[0], nadams=nadams):
            return check_lockstep(
                problem.X, problem.y, before, (after.w, after.slots, after.products), loss, rule=UPDATE_RULES[rule], lr=0.01,
                dtype=precision, intercept=problem.intercept, sample_weight=weights, products_dtype="float32" if nadams else "float64",
            )  # fmt: skip

        of_loss = judge(dtype)
        of_state = judge("float64") if own else of_loss
        worst = max(of_state.tau_w, of_state.tau_slots, of_loss.tau_loss)
        record_tau(f"{backend}, weights, lockstep", dtype, rule, max(of_state.tau_w, of_state.tau_slots), of_loss.tau_loss)
        assert worst <= (OURS if own else OTHERS), (of_state, of_loss)


def torch_descent(X, y, weights, lr, epochs, reduction):
    """A loop as torch users write it, on the rows that count."""
    import torch

    there = weights > 0
    X, y, weights = (torch.from_numpy(np.ascontiguousarray(a[there])) for a in (X, y, weights))
    w = torch.zeros(X.shape[1], dtype=X.dtype, requires_grad=True)
    optimizer = torch.optim.SGD([w], lr=lr, foreach=False)
    rows, losses = [], []
    for _ in range(epochs + 1):
        optimizer.zero_grad()
        residual = X @ w - y
        total = (weights * residual * residual).sum()
        (total / weights.sum() if reduction == "mean" else total).backward()
        rows.append(w.detach().numpy().copy())
        losses.append((total / weights.sum()).item())
        optimizer.step()
    return np.array(rows), np.array(losses, X.numpy().dtype)


@pytest.mark.parametrize("algorithm", ["moments", "stream"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("kind", ["near one", "mixed", "with zeros", "equal"])
@pytest.mark.parametrize("name", NAMES)
def test_inf_and_nan_appear_at_torchs_epochs(name, kind, reduction, algorithm, torch):
    X, y = make_data(50, 2, name, "normal")
    weights = make_weights(50, kind, name)
    options = {"sample_weight": weights, "reduction": reduction}
    lr = float(np.dtype(name).type(40 * float(fastgd.fit(X, y, epochs=0, **options).lr)))
    epochs = 40 if name == "float32" else 220
    w, loss = torch_descent(X, y, weights, lr, epochs, reduction)
    result = fastgd.fit(X, y, lr=lr, epochs=epochs, history=True, algorithm=algorithm, **options)
    _assert_same_overflow(_first(result.history.loss), _first(loss), "loss")
    _assert_same_overflow(_first(result.history.w), _first(w), "w")
    assert _first(loss)[0] is not None, "the case must overflow"


# What weights mean --------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["moments", "stream"])
@pytest.mark.parametrize("dtype", NAMES)
def test_whole_weights_are_repeated_rows(dtype, algorithm, record_tau):
    """The history of the weighted fit passes for one of the repeated rows, and the other way
    round."""
    rng = np.random.default_rng(5)
    X, y = rng.standard_normal((60, 3)).astype(dtype), rng.standard_normal(60).astype(dtype)
    counts = rng.integers(0, 5, 60)
    many_x, many_y = np.repeat(X, counts, axis=0), np.repeat(y, counts)
    options = {"lr": 0.125, "epochs": 50, "history": True, "intercept": True, "algorithm": algorithm}
    weighted = fastgd.fit(X, y, sample_weight=counts, **options)
    repeated = fastgd.fit(many_x, many_y, **options)
    settings = {"lr": 0.125, "dtype": dtype, "intercept": True, "held_higher": algorithm == "moments" and dtype == "float32"}
    for verdict in (
        check_history(many_x, many_y, _rows(weighted), weighted.history.loss, **settings),
        check_history(X, y, _rows(repeated), repeated.history.loss, sample_weight=counts.astype(dtype), **settings),
    ):
        record_tau(f"cpu {algorithm}, repeated rows", dtype, "weights 0 … 4", verdict.tau_w, verdict.tau_loss)
        assert max(verdict.tau_w, verdict.tau_loss) <= OURS
        assert verdict.steps_compared == 50


@pytest.mark.parametrize("name", NAMES)
def test_only_proportions_count(name):
    """Weights that are all the same are none; powers of two change no bit."""
    X, y = make_data(50, 3, name, "normal")
    weights = make_weights(50, "near one", name)
    options = {"lr": 0.01, "epochs": 20, "history": True}
    plain = fastgd.fit(X, y, algorithm="moments", **options)
    for factor in (1.0, 0.25, 2.0**40):
        assert same_bits(fastgd.fit(X, y, sample_weight=np.full(50, factor), algorithm="moments", **options).history.w, plain.history.w)
    once = fastgd.fit(X, y, sample_weight=weights, **options)
    assert same_bits(fastgd.fit(X, y, sample_weight=8 * weights, **options).history.loss, once.history.loss)
    assert not same(once.w, plain.w)


def test_the_sum_does_not_divide():
    """reduction="sum": the gradient is 2 Σ ω r x; the loss is the weighted mean all the same."""
    result = fastgd.fit([1.0, 2], [1.0, 4], sample_weight=[3, 0.5], lr=0.125, reduction="sum", epochs=1, history=True)
    assert result.history.loss[0] == (3 * 1 + 0.5 * 16) / 3.5
    assert result.w == 0.125 * 2 * (3 * 1 + 0.5 * 8)


def test_weights_broadcast():
    """One set of weights for all, one per fit, and several over shared data are each the fit
    alone."""
    rng = np.random.default_rng(1)
    X, y, weights = rng.standard_normal((4, 30, 2)), rng.standard_normal((4, 30)), rng.uniform(0, 2, (3, 1, 30))
    result = fastgd.fit(X, y, sample_weight=weights, epochs=9)
    assert result.w.shape == (3, 4, 2)
    for i, f in np.ndindex(3, 4):
        alone = fastgd.fit(X[f], y[f], sample_weight=weights[i, 0], epochs=9)
        assert same_bits(result.w[i, f], alone.w)
        assert same_bits(result.lr[i, f], alone.lr)
    shared = fastgd.fit(X[0], y[0], sample_weight=weights[:, 0], epochs=9)
    assert same_bits(shared.w, result.w[:, 0])
    many = fastgd.fit(X[0], y, sample_weight=weights[0, 0], epochs=9)
    assert same_bits(many.w[2], fastgd.fit(X[0], y[2], sample_weight=weights[0, 0], epochs=9).w)


@pytest.mark.parametrize("name", NAMES)
def test_a_long_fit_with_weights_has_the_same_bits_in_ranges(name, monkeypatch):
    X, y = make_data(70_001, 2, name, "mixed chunks")
    weights = make_weights(70_001, "with zeros", name)
    options = {"sample_weight": weights, "epochs": 3, "history": True, "algorithm": "moments"}
    want = fastgd.fit(X, y, **options)
    for length in (4096, 2**40):
        monkeypatch.setattr("fastgd.kernels.cpu.RANGE", length)
        result = fastgd.fit(X, y, **options)
        assert same_bits(result.history.loss, want.history.loss)
        assert same_bits(result.lr, want.lr)
    assert same_bits(fastgd.fit(X[weights > 0], y[weights > 0], **options | {"sample_weight": weights[weights > 0]}).w, want.w)


def test_solve_finds_what_descent_converges_to():
    X, y = make_data(60, 2, "float64", "normal")
    weights = make_weights(60, "mixed", "float64")
    for reduction, decay in (("mean", 0.0), ("mean", 0.7), ("sum", 0.7)):
        answer = fastgd.solve(X, y, sample_weight=weights, intercept=True, weight_decay=decay, reduction=reduction)
        A = np.column_stack([X, np.ones(60)])
        s = 2 / weights.sum() if reduction == "mean" else 2.0
        gradient = s * A.T @ (weights * (A @ [*answer.w, answer.intercept] - y)) + decay * np.array([*answer.w, answer.intercept])
        scale = s * np.abs(A).T @ (weights * (np.abs(A) @ np.abs([*answer.w, answer.intercept]) + np.abs(y)))
        assert (np.abs(gradient) <= 60 * np.finfo(float).eps * scale).all()
        residual = A @ [*answer.w, answer.intercept] - y
        assert abs(answer.loss - (weights * residual**2).sum() / weights.sum()) <= 60 * np.finfo(float).eps * answer.loss


# Bad weights --------------------------------------------------------------------------------------

BAD = [
    (np.ones(3), ValueError, r"^sample_weight must have shape \(\.\.\., 4\), a weight for each of the 4 samples; it has shape \(3,\)$"),
    (1.0, ValueError, r"^sample_weight must have shape \(\.\.\., 4\), .* it is the single number 1\.0$"),
    (np.ones((0, 4)), ValueError, r"^sample_weight is empty, it has shape \(0, 4\)$"),
    ("balanced", TypeError, "^sample_weight must be an array of real numbers; it is 'balanced'$"),
    (np.ones((3, 4)), ValueError, r"^leading axes do not broadcast against each other: sample_weight has shape \(3, 4\), so \(3,\) fits"),
]


@pytest.mark.parametrize(("weights", "error", "pattern"), BAD)
def test_weights_of_the_wrong_shape(no_work, weights, error, pattern):
    refused(error, pattern, np.ones((2, 4, 1)), np.ones((2, 4)), sample_weight=weights)


def test_negative_weights(backend):
    weights = np.ones((2, 4))
    weights[1, 2] = -0.5
    pattern = r"^sample_weight must be at least 0; it is -0\.5 in row 2 of fit 1 of 2$"
    refused(ValueError, pattern, np.ones((4, 1)), np.ones(4), sample_weight=weights, backend=backend)
    with pytest.raises(ValueError, match=pattern):
        fastgd.solve(np.ones((4, 1)), np.ones(4), sample_weight=weights)


def test_weights_too_large_for_the_dtype():
    pattern = r"^sample_weight is too large for float32: 1e\+39 in row 1; give dtype='float64'$"
    refused(ValueError, pattern, np.ones(4, np.float32), np.ones(4, np.float32), sample_weight=[1, 1e39, 1, 1])
