"""History changes no bit, and ten epochs are four and six more: for every option, around the
overflow, with tol."""

from __future__ import annotations

import dataclasses
import pickle

import numpy as np
import pytest

import fastgd
from fastgd import SGD
from tests.support.against_arbiter import same_bits
from tests.support.fit_cases import CASES, NAMES, assert_same, fit_case, make
from tests.support.fit_results import batch, same, x, y
from tests.support.rule_options import rules_with

OPTIONS = (
    {},
    {"momentum": 0.9},
    {"momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1},
    {"momentum": 0.5, "nesterov": True},
    {"maximize": True, "weight_decay": 0.01},
)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", CASES)
def test_history_changes_nothing(case, name):
    settings, _ = CASES[case]
    whole = fit_case(case, name)
    without = fit_case(case, name, history=False)
    assert without.history is None
    recorded = {"history.w", "history.loss", "history.intercept"}
    assert_same(without, whole)
    for every in (1, 2, 3, settings["epochs"], settings["epochs"] + 5, 7):
        some = fit_case(case, name, history=every)
        assert_same(some, whole, leave_out=recorded)
        rows = [*range(0, settings["epochs"], every), settings["epochs"]]
        assert some.history.epoch.tolist() == rows
        for field in ("w", "loss", "intercept"):
            at = getattr(whole.history, field)[:, rows]
            assert same_bits(getattr(some.history, field), at)


def continued(X, y, cuts, *, algorithm, **settings):
    """The fit in pieces, and the joined histories."""
    result, losses, ws = None, [], []
    for k, epochs in enumerate(cuts):
        how = {"algorithm": algorithm} if k == 0 else {"state": result.state}
        result = fastgd.fit(X, y, epochs=epochs, history=True, **how, **settings)
        losses.append(result.history.loss[..., (k > 0) :])
        ws.append(result.history.w[..., (k > 0) :, :])
    return result, np.concatenate(losses, axis=-1), np.concatenate(ws, axis=-2)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("algorithm", ["auto", "moments", "stream"])
@pytest.mark.parametrize("hyper", OPTIONS, ids=str)
@pytest.mark.parametrize("lr", [None, 1e-2, 1e3], ids=str)
def test_ten_epochs_are_four_and_six(name, algorithm, hyper, lr):
    X, y = make(5, 40, 3, name, 13)
    settings = {"lr": lr, "optimizer": fastgd.SGD(**hyper), "intercept": True, "algorithm": algorithm}
    whole = fastgd.fit(X, y, epochs=10, history=True, **settings)
    for cuts in ((4, 6), (0, 10), (10, 0), (1, 1, 8), (3, 3, 4)):
        result, losses, ws = continued(X, y, cuts, **settings)
        assert same_bits(losses, whole.history.loss)
        assert same_bits(ws, whole.history.w)
        assert_same(result, whole, leave_out={"epochs", "status", "state.status", "history.w", "history.loss", "history.intercept"})


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("factor", [1e2, 1e6, "omega"])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_cut_anywhere_around_the_overflow(name, factor, momentum):
    X, y = make(3, 40, 2, name, 14)
    omega = {"float32": 2.0**120, "float64": 2.0**1000}[name]
    epochs = {1e2: 24 if name == "float32" else 160, 1e6: 60, "omega": 6}[factor]
    settings = {"lr": omega * 4 if factor == "omega" else factor, "optimizer": fastgd.SGD(momentum=momentum), "algorithm": "moments"}
    whole = fastgd.fit(X, y, epochs=epochs, history=True, **settings)
    assert (whole.status == fastgd.Status.DIVERGED).all()
    cuts = range(0, epochs + 1, 1 if epochs <= 60 else 7)
    for cut in cuts:
        result, losses, ws = continued(X, y, (cut, epochs - cut), **settings)
        assert same_bits(losses, whole.history.loss), cut
        assert same_bits(ws, whole.history.w), cut
        assert_same(result, whole, leave_out={"epochs", "history.w", "history.loss"})


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("algorithm", ["moments", "stream"])
@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_cut_anywhere_with_tol(name, algorithm, momentum):
    """A fit that has converged stays where it is when it is continued."""
    X, y = make(9, 30, 2, name, 15)
    settings = {"lr": None, "tol": 1e-2, "optimizer": fastgd.SGD(momentum=momentum), "algorithm": algorithm}
    whole = fastgd.fit(X, y, epochs=25, history=True, **settings)
    assert len(set(whole.epochs.tolist())) > 2
    for cut in range(26):
        result, losses, ws = continued(X, y, (cut, 25 - cut), **settings)
        assert same_bits(losses, whole.history.loss), cut
        assert same_bits(ws, whole.history.w), cut
        assert_same(result, whole, leave_out={"epochs", "history.w", "history.loss"})


def test_a_converged_fit_goes_on_when_tol_is_left_out():
    X, y = make(4, 30, 2, "float64", 16)
    first = fastgd.fit(X, y, lr=1e-3, epochs=50, tol=0.3)
    assert (first.status == fastgd.Status.CONVERGED).any()
    then = fastgd.fit(X, y, lr=1e-3, epochs=5, state=first.state, history=True)
    assert (then.status == fastgd.Status.COMPLETED).all()
    free = fastgd.fit(X, y, lr=1e-3, epochs=60, history=True)
    for i in range(4):
        assert same_bits(then.history.loss[i], free.history.loss[i, first.epochs[i] : first.epochs[i] + 6])


def test_a_smaller_tol_is_met_by_going_on(backend):
    """CONVERGED is said of the tol of this call, not of that of an earlier one."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 3)) * [1, 2, 5]
    y = X @ [1, 2, 3] + rng.normal(size=40)
    settings = {"lr": 0.02, "epochs": 2000, "backend": backend}
    rough = fastgd.fit(X, y, tol=0.1, **settings)
    assert (rough.status, rough.state.tol) == (fastgd.Status.CONVERGED, 0.1)
    fine, once = fastgd.fit(X, y, tol=1e-4, state=rough.state, **settings), fastgd.fit(X, y, tol=1e-4, **settings)
    assert fine.status == once.status == fastgd.Status.CONVERGED
    assert (fine.w.tobytes(), fine.epochs + rough.epochs, fine.state.tol) == (once.w.tobytes(), once.epochs, 1e-4)
    for tol in (1e-4, 0.5):
        there = fastgd.fit(X, y, tol=tol, state=fine.state, **settings)
        assert (there.status, there.epochs, there.w.tobytes()) == (fastgd.Status.CONVERGED, 0, fine.w.tobytes())
    short = fastgd.fit(X, y, tol=1e-4, state=rough.state, **settings | {"epochs": 2})
    assert (short.status, short.epochs) == (fastgd.Status.COMPLETED, 2)
    assert fastgd.fit(X, y, state=rough.state, **settings).state.tol is None


def test_a_converged_state_of_unknown_tol_stays():
    """As a file of an older version has it; what it met stays unknown."""
    first = fastgd.fit(x, 2 * x + 1, tol=0.3, epochs=90)
    assert first.status == fastgd.Status.CONVERGED
    then = fastgd.fit(x, 2 * x + 1, tol=1e-9, epochs=90, state=dataclasses.replace(first.state, tol=None))
    assert (then.status, then.epochs, then.state.tol) == (fastgd.Status.CONVERGED, 0, None)


def test_a_row_that_was_not_finite_is_remembered():
    """docs/arithmetic.md, section 10: a fit that has had a non-finite row does not converge; in the
    state's own words, status is so far."""
    X, y = np.ones((4, 1)), np.zeros(4)
    settings = {"lr": 0.3, "tol": 0.9}
    start = {"w0": [2.0**520], "algorithm": "stream"}  # the loss is inf for 7 epochs
    whole = fastgd.fit(X, y, epochs=12, **start, **settings)
    first = fastgd.fit(X, y, epochs=9, **start, **settings)
    assert np.isfinite(first.loss)
    assert whole.status == first.status == fastgd.Status.DIVERGED
    then = fastgd.fit(X, y, epochs=3, state=first.state, **settings)
    assert same_bits(then.loss, whole.loss)
    assert then.status == fastgd.Status.DIVERGED


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "options", [{}, {"momentum": 0.75, "dampening": 0.25}, {"momentum": 0.75, "weight_decay": 0.1, "nesterov": True}], ids=str
)
def test_a_state_continues_bit_for_bit(backend, options, dtype):
    X, target = batch(2)
    common = {"optimizer": SGD(**options), "lr": [[0.05], [0.03], [0.5]], "backend": backend, "intercept": True, "dtype": dtype}
    whole = fastgd.fit(X, target, epochs=10, history=True, **common)
    first = fastgd.fit(X, target, epochs=4, **common)
    second = fastgd.fit(X, target, epochs=6, history=True, state=pickle.loads(pickle.dumps(first.state)), **common)
    assert same(second.w, whole.w)
    assert same(second.intercept, whole.intercept)
    assert same(second.loss, whole.loss)
    assert same(second.history.w, whole.history.w[..., 4:, :])
    assert same(second.history.loss, whole.history.loss[..., 4:])
    for name in ("w", "slots", "epoch", "algorithm", "status"):
        assert same(getattr(second.state, name), getattr(whole.state, name))
    assert (second.state.epoch == 10).all()
    assert (second.epochs == 6).all()
    again = fastgd.fit(X, target, epochs=0, state=first.state, **common)  # nothing happens, and nothing is lost
    assert same(again.state.slots, first.state.slots)
    assert same(again.w, first.w)


def test_a_state_may_be_broadcast(backend):
    first = fastgd.fit(x, y, epochs=3, lr=0.01, backend=backend)
    many = fastgd.fit(x, y, epochs=3, lr=[0.01, 0.02], backend=backend, state=first.state)
    assert same(many.w[0], fastgd.fit(x, y, epochs=6, lr=0.01, backend=backend).w)


def test_a_part_of_a_state_continues_its_part_of_the_fits(backend):
    X, target = batch(4)
    options = {"lr": 0.05, "optimizer": SGD(momentum=0.5), "backend": backend}
    state = fastgd.fit(X, target, epochs=3, **options).state
    arrays = {name: getattr(state, name)[1::2] for name in ("w", "slots", "epoch", "algorithm", "status", "initial_excess")}
    part = fastgd.fit(X[1::2], target[1::2], epochs=3, state=dataclasses.replace(state, **arrays), **options)
    assert same(part.w, fastgd.fit(X, target, epochs=6, **options).w[1::2])


@pytest.mark.parametrize("rule", sorted(rules_with("cpu")))
@pytest.mark.parametrize("shape", [(40, 3), (6, 3), (80, 33)], ids=str)  # moments, samples, more than 32 parameters
def test_tol_counts_from_the_start_of_the_first_call(rule, shape):
    X, y = make(5, *shape, "float64", 17)
    settings = {"optimizer": rule, "tol": 0.3, "lr": {"sgd": None, "adadelta": 50.0}.get(rule, 0.05)}
    whole = fastgd.fit(X, y, epochs=10, **settings)
    first = fastgd.fit(X, y, epochs=4, **settings)
    then = fastgd.fit(X, y, epochs=6, state=first.state, **settings)
    for name in ("w", "loss", "excess_loss", "status"):
        assert same_bits(getattr(then, name), getattr(whole, name)), name
    assert same_bits(then.state.initial_excess, whole.state.initial_excess)
    assert np.isfinite(whole.state.initial_excess).all()
