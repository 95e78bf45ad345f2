"""Mini-batches give the bits of the arbiter (tests/specification/arbiter_batches.py): every row,
the losses of batches, the state, the status."""

from __future__ import annotations

import numpy as np
import pytest

import fastgd
from fastgd.kernels.update_rules import UPDATE_RULES
from tests import grids
from tests.specification import arbiter_batches
from tests.specification.arbiter_batches import Batches
from tests.support.against_arbiter import first_difference, same_bits
from tests.support.rule_options import OPTIONS, optimizer, rules_with


def data(n, d, dtype, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)).astype(dtype)
    return X, (X @ np.arange(1.0, d + 1) + rng.normal(size=n)).astype(dtype)


def compare(X, y, batches, *, rule="sgd", hyper=None, lr=0.03125, rates=None, epochs=3, tol=None, w0=None, **options):
    """Fit; assert that the arbiter's run has the same bits. rates: the arbiter's, of a schedule."""
    row, hyper, intercept = UPDATE_RULES[rule], hyper or {}, options.get("intercept", False)
    D = X.shape[1] + intercept
    start = np.zeros(D) if w0 is None else np.asarray(w0, float)
    weights = options.get("sample_weight")
    result = fastgd.fit(
        X, y, lr=lr, optimizer=optimizer(rule, hyper), epochs=epochs, tol=tol, history=True, w0=start[: X.shape[1]],
        intercept0=start[-1] if intercept else None, batch_size=batches.size, shuffle=batches.shuffle, seed=batches.seed,
        drop_last=batches.drop_last, schedule_every="step" if batches.per_step else "epoch", **options,
    )  # fmt: skip
    run = arbiter_batches.run(
        X, y, batches, w0=start, rates=[lr] if rates is None else rates, rule=rule, hyper={**row.hyperparameters, **hyper}, epochs=epochs,
        n_slots=len(row.slots), n_products=len(row.products), tol=tol, weights=None if weights is None else np.asarray(weights, X.dtype),
        omit=options.get("nan_policy") == "omit", standardized=options.get("standardize", False),
        **{name: options[name] for name in ("reduction", "intercept", "algorithm") if name in options},
    )  # fmt: skip
    w = result.history.w if not intercept else np.concatenate([result.history.w, result.history.intercept[:, None]], axis=1)
    for what, found, expected in (
        ("w", w, run.w), ("loss", result.history.loss, run.loss), ("batch_loss", result.history.batch_loss, run.batch_loss),
        ("state", result.state.w, run.state.w), ("slots", result.state.slots, run.state.slots),
        ("products", result.state.products, np.array(run.state.products, float)),
    ):  # fmt: skip
        assert same_bits(found, expected), f"{what}, {batches}, {options}: {first_difference(found, expected)}"
    assert (int(result.state.epoch), int(result.state.passes), int(result.state.seed)) == (run.state.steps, run.passes, batches.seed)
    status = fastgd.Status.COMPLETED
    if run.converged is not None:
        status, epochs = fastgd.Status.CONVERGED, run.converged
    elif run.first_bad is not None:
        status, epochs = fastgd.Status.DIVERGED, run.first_bad
    assert (result.status, int(result.epochs)) == (status, epochs)
    assert result.state.algorithm_names[int(result.state.algorithm)] == run.state.algorithm
    return run


KINDS = [
    ({}, {}),
    ({"intercept": True, "reduction": "sum", "lr": 0.0009765625}, {}),
    ({"weighted": True, "intercept": True}, {}),
    ({"missing": True}, {}),
    ({"algorithm": "stream"}, {}),
    ({"standardize": True, "intercept": True}, {}),
    ({"weighted": True, "missing": True, "reduction": "sum", "lr": 0.0009765625}, {}),
    ({}, {"shuffle": False}),
    ({"missing": True}, {"shuffle": False}),
    ({}, {"drop_last": True, "seed": 2**40}),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("kind", "cut"), KINDS, ids=[str(number) for number in range(len(KINDS))])
def test_every_way_to_cut_and_to_weigh(dtype, kind, cut):
    options = dict(kind)
    for n, d, size in ((50, 1, 8), (45, 3, 45), (70, 9, 33), (70, 17, 64)):
        X, y = data(n, d, dtype)
        if options.get("missing"):
            y[::7], X[3, 0] = np.nan, np.nan
        given = {name: value for name, value in options.items() if name not in ("weighted", "missing")}
        if options.get("missing"):
            given["nan_policy"] = "omit"
        if options.get("weighted"):
            given["sample_weight"] = np.random.default_rng(1).integers(0, 9, n) / 4
        compare(X, y, Batches(size, **cut), **given)


CASES = [(rule, option, dtype) for rule in rules_with("cpu") for option in OPTIONS[rule] for dtype in ("float32", "float64")]


@pytest.mark.parametrize(("rule", "option", "dtype"), grids.thin("rules on mini-batches", CASES, 3))
def test_every_rule(rule, option, dtype):
    X, y = data(40, 3, dtype)
    compare(X, y, Batches(12, seed=5), rule=rule, hyper=OPTIONS[rule][option], intercept=True, w0=[0.5, 0.25, -1.0, 2.0])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_batches_of_several_chunks(dtype):
    """4,096 samples are a chunk: a batch of more is a sum of sums."""
    X, y = data(9000, 2, dtype)
    compare(X, y, Batches(5000), epochs=1)
    compare(X, y, Batches(9001, shuffle=False), epochs=1)
    compare(X, y, Batches(4500), epochs=1, sample_weight=np.ones(9000))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("per_step", [False, True])
def test_a_schedule_goes_on_after_epochs_or_steps(dtype, per_step):
    X, y = data(40, 2, dtype)
    count = 12 if per_step else 3  # 4 steps in each of 3 epochs
    rates = [0.0625 * 0.5 ** (k // 2) for k in range(count)]  # exact halves: the schedule's own rounding is tested elsewhere
    compare(X, y, Batches(10, per_step=per_step), lr=0.0625, rates=rates, schedule=fastgd.schedules.StepLR(2, gamma=0.5))
    compare(X, y, Batches(10, per_step=per_step), lr=None, rates=rates, schedule=rates)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("algorithm", ["moments", "stream"])
def test_fits_that_overflow(dtype, algorithm):
    """Rows beyond the limits of moments are made of samples; rows of NaN alone are not computed."""
    X, y = data(40, 2, dtype)
    for epochs in (1, 2, 5, 14):
        run = compare(X, y, Batches(10), lr=1e12, epochs=epochs, algorithm=algorithm)
    assert run.first_bad is not None
    run = compare(X, y, Batches(10), rule="adam", lr=float(np.finfo(dtype).max) / 4, epochs=6, algorithm=algorithm)
    assert run.first_bad is not None
    assert np.isnan(run.state.products).all() == np.isnan(run.state.w).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("decay", [0.0, 0.125])
def test_tol_stops_a_fit(dtype, decay):
    X, y = data(60, 2, dtype)
    run = compare(X, y, Batches(20), hyper={"weight_decay": decay}, tol=0.05, epochs=60)
    assert 0 < run.converged < 30


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_that_lie_anywhere_in_memory(dtype):
    """Every layout goes through a way of its own into the tile, and all give the same bits."""
    X, y = data(300, 13, dtype)
    options = {"lr": 0.01, "epochs": 2, "batch_size": 50, "history": True}
    plain = fastgd.fit(X, y, **options)
    wide = np.zeros((300, 40), dtype)
    wide[:, 20:33] = X
    for other in (wide[:, 20:33], np.asfortranarray(X), np.ascontiguousarray(X[::-1])[::-1]):
        again = fastgd.fit(other, np.ascontiguousarray(y[::-1])[::-1], **options)
        assert same_bits(again.history.w, plain.history.w)
        assert same_bits(again.history.batch_loss, plain.history.batch_loss)
