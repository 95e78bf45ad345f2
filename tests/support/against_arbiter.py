"""Fits by fastgd's kernels beside fits by the arbiter: every bit of every row, the state, the
status."""

from __future__ import annotations

from typing import Any

import numpy as np

import fastgd
from fastgd.kernels.update_rules import UPDATE_RULES
from tests.specification import arbiter
from tests.support.rule_options import optimizer
from tests.support.seen_chunks import seen_chunks


def bits(values: Any) -> np.ndarray:
    """The bit patterns; every NaN is the same, −0 is not 0."""
    array = np.array(values)  # a copy
    array[np.isnan(array)] = np.nan
    return array.view(f"u{array.itemsize}")


def same_bits(a: Any, b: Any) -> bool:
    a, b = np.asarray(a), np.asarray(b)
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    return bool(np.all(bits(a) == bits(b))) if a.dtype.kind == "f" else bool(np.all(a == b))


def first_difference(a: np.ndarray, b: np.ndarray) -> str:
    where = np.argwhere(bits(a) != bits(b))
    here = tuple(where[0])
    return f"{len(where)} of {a.size} differ, first at {tuple(int(i) for i in here)}: {a[here]!r} and {b[here]!r}"


def values_of(cells: list[dict], rule: str) -> dict[str, np.ndarray]:
    """One array per hyperparameter for many cells."""
    defaults = UPDATE_RULES[rule].hyperparameters
    return {name: np.array([cell.get("hyper", {}).get(name, default) for cell in cells]) for name, default in defaults.items()}


def compare(
    X, y, cells: list[dict], *, epochs: int, intercept=False, reduction="mean", algorithm="auto", tol=None, moments=None, rule="sgd",
    sample_weight=None, nan_policy="propagate", backend="auto",
) -> list:  # fmt: skip
    """Fit the cells (lr, w0, hyper) to the same data in one call; assert that each equals the
    arbiter's run. Returns these runs."""
    row, D = UPDATE_RULES[rule], X.shape[1] + intercept
    rates = [cell.get("lr") for cell in cells]
    start = np.zeros((len(cells), D))
    for i, cell in enumerate(cells):
        w0 = cell.get("w0", ())
        start[i, : len(w0)] = w0
    with seen_chunks() as chunks:
        result = fastgd.fit(
            X,
            y,
            lr=None if rates[0] is None else np.array(rates),
            optimizer=optimizer(rule, values_of(cells, rule)),
            w0=start[:, : X.shape[1]],
            intercept0=start[:, -1] if intercept else None,
            epochs=epochs,
            intercept=intercept,
            reduction=reduction,
            algorithm=algorithm,
            tol=tol,
            sample_weight=sample_weight,
            history=True,
            nan_policy=nan_policy,
            backend=backend,
        )
    chunks.sort(key=lambda entry: entry[0])
    found, slack = (np.concatenate([np.empty(0), *(getattr(chunk, name) for _, chunk in chunks)]) for name in ("least", "allowance"))
    if tol is None:  # nobody asks for F* of a fit whose elimination is doubtful, and packs tell that of no other
        found, slack = np.full((2, len(found)), np.nan)
    measured_excess = np.full(len(cells), np.nan, X.dtype) if result.excess_loss is None else result.excess_loss
    omit = nan_policy == "omit"
    there = arbiter.samples_that_stay(X, y, None if sample_weight is None else np.asarray(sample_weight, X.dtype), omit)
    finite = np.isfinite(X[there]).all() and np.isfinite(y[there]).all()
    if moments is None and len(cells) > 1 and algorithm != "stream":  # else the arbiter makes them, if it needs them
        moments = arbiter.compress(X, y, intercept, weights=sample_weight, omit=omit)
    runs = []
    for i, cell in enumerate(cells):
        run = arbiter.run(
            X,
            y,
            w0=start[i],
            lr=rates[i],
            hyper={**row.hyperparameters, **cell.get("hyper", {})},
            epochs=epochs,
            intercept=intercept,
            reduction=reduction,
            algorithm=algorithm,
            tol=tol,
            moments=moments,
            rule=rule,
            n_slots=len(row.slots),
            n_products=len(row.products),
            weights=sample_weight,
            omit=omit,
            measured=True,
            least=arbiter.Least(float(found[i]), float(slack[i])) if len(found) else None,
        )
        told = f"cell {i}, {cell}, {intercept=}, {reduction=}, {algorithm=}, {tol=}, {nan_policy=}, handover {run.handover}"
        history_w = result.history.w[i]
        if intercept:
            history_w = np.concatenate([history_w, result.history.intercept[i][:, None]], axis=1)
        assert same_bits(result.history.loss[i], run.loss), f"loss, {told}: {first_difference(result.history.loss[i], run.loss)}"
        assert same_bits(history_w, run.w), f"w, {told}: {first_difference(history_w, run.w)}"
        assert same_bits(result.loss[i], run.loss[-1]), told
        assert same_bits(result.w[i], run.w[-1, : X.shape[1]]), told
        excess = X.dtype.type(run.excess)
        assert same_bits(measured_excess[i], excess), f"excess, {told}: {measured_excess[i]!r}, {excess!r}"
        assert same_bits(result.state.initial_excess[i], np.float64(run.state.initial_excess)), told
        assert same_bits(result.state.w[i], run.state.w), f"state, {told}: {first_difference(result.state.w[i], run.state.w)}"
        assert same_bits(result.state.slots[i], run.state.slots), (
            f"slots, {told}: {first_difference(result.state.slots[i], run.state.slots)}"
        )
        assert same_bits(result.state.products[i], np.array(run.state.products, float)), f"products, {told}"
        assert result.state.epoch[i] == run.state.steps, told
        assert fastgd.State.algorithm_names[result.state.algorithm[i]] == run.state.algorithm, told
        assert same_bits(result.lr[i], np.float64(run.lr)), f"lr, {told}: {result.lr[i]!r} and {run.lr!r}"
        status, ran = fastgd.Status.COMPLETED, epochs
        if run.converged is not None:
            status, ran = fastgd.Status.CONVERGED, run.converged
        elif run.first_bad is not None:
            status, ran = fastgd.Status.DIVERGED, run.first_bad
        assert result.status[i] == (status if finite else fastgd.Status.INVALID_DATA), told
        assert result.epochs[i] == ran, told
        assert result.n_used[i] == len(there), told
        runs.append(run)
    return runs
