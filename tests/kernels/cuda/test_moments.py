"""Moments instead of samples by the CUDA kernels: the CPU's bits, by `==`, beyond limits too."""

from __future__ import annotations

import dataclasses
import random
from itertools import product

import numpy as np
import pytest

import fastgd
from fastgd.kernels.chunk import ALGORITHMS
from tests import grids
from tests.kernels.cuda.test_bits import NAMES, data_of
from tests.specification import arbiter
from tests.support.against_arbiter import bits
from tests.support.rule_options import OPTIONS, optimizer, rules_with

SIZES = ((40, 1), (100, 3), (4099, 2), (33, 8), (90, 12), (80, 34))  # (n, d); 8 and more: `descend_any` for float64 data
GRID = [
    (*case, k) for k, case in enumerate(product(rules_with("cuda"), NAMES, SIZES, (False, True), ("all", "weights", "omit", "poisoned")))
]


@pytest.mark.parametrize("case", grids.thin("moments by the CUDA kernels", GRID, 12), ids=lambda case: "-".join(map(str, case)))
def test_every_bit_is_the_cpus(case, device, on_both):
    """Rates from good to overflowing at the first step, history whole, thinned or none, tol or
    none; launches cut every few epochs."""
    rule, name, size, intercept, samples, k = case
    X, y, weights = data_of(size, name, samples, k)
    drawn = random.Random(k)
    hyper = drawn.choice(list(OPTIONS[rule].values()))
    rate = 1e-4 if rule == "sgd" else 0.1
    rates = np.array([rate, 30 * rate, 1e9, arbiter.FORMATS[name].omega])
    device(epochs_per_launch=drawn.choice((None, 1, 4)), order=drawn.choice(("forwards", "backwards", "random")), seed=k)
    moments = fastgd.compress(X, y, sample_weight=weights, intercept=intercept, nan_policy="propagate" if samples == "poisoned" else "omit")
    found = on_both(
        moments, None, lr=drawn.choice((None, rates, rates)), optimizer=optimizer(rule, hyper), epochs=drawn.choice((0, 13, 30)),
        min_samples=5, reduction=drawn.choice(("mean", "sum")), standardize=drawn.choice((False, False, True)),
        history=drawn.choice((True, 4, False)), tol=drawn.choice((None, None if hyper.get("maximize") else 0.05)),
    )  # fmt: skip
    assert (found.state.algorithm == ALGORITHMS.index("moments")).all()  # no fit takes samples, which are not there


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("d", [1, 3, 11])
def test_beyond_the_limits(name, d, device, on_both):
    """Rates at which the row or the update passes a limit, in the first epochs or late; every row
    until all is NaN, and after; cut anywhere and continued."""
    X, y, _ = data_of((40, d), name, "all", 21, m=1)
    moments, omega = fastgd.compress(X, y), arbiter.FORMATS[name].omega
    safe = float(fastgd.fit(moments, epochs=0, optimizer=fastgd.SGD(weight_decay=0.1)).lr[0])
    rates = np.array([safe, safe * 9, 1e6, 1e20, omega / 64, omega, omega * 200])[:, None]
    for rule in (fastgd.SGD(), fastgd.SGD(momentum=0.5, nesterov=True, weight_decay=0.1), fastgd.NAdam(), fastgd.Adamax()):
        for cut in (None, 7):
            device(epochs_per_launch=cut)
            whole = on_both(moments, None, lr=rates, epochs=60, optimizer=rule, history=True)
        assert whole.status[0, 0] == fastgd.Status.COMPLETED
        half = on_both(moments, None, lr=rates, epochs=25, optimizer=rule)
        rest = on_both(moments, None, lr=rates, epochs=35, optimizer=rule, state=half.state)
        assert np.array_equal(bits(rest.w), bits(whole.w))
        if isinstance(rule, fastgd.SGD):
            assert (whole.status[1:, 0] == fastgd.Status.DIVERGED).any()


def test_a_w_that_float32_cannot_hold(on_both):
    moments = fastgd.compress(np.full((20, 1), 1e-30, "float32"), np.full(20, 1e10, "float32"))
    assert on_both(moments, None, lr=1e59, epochs=10, history=True).epochs == 1


def test_a_schedule_of_rates(on_both):
    X, y, _ = data_of((40, 2), "float32", "all", 6)
    for lr in (np.array([1e-3, 1e12, 1e30, 1e-4]), None):
        on_both(fastgd.compress(X, y), None, lr=lr, schedule=fastgd.schedules.StepLR(3), epochs=12, history=True)


def test_a_state_that_diverged_on_its_samples(on_both):
    X, y, _ = data_of((40, 2), "float64", "all", 5)
    moments, rates = fastgd.compress(X, y), np.array([1e-4, 1e30, 1e-4, 1e30])
    state = fastgd.fit(X, y, lr=rates, epochs=30).state
    assert len(np.unique(state.algorithm)) == 2
    found = on_both(moments, None, lr=rates, epochs=5, state=state)
    assert found.status.tolist() == [fastgd.Status.COMPLETED, fastgd.Status.DIVERGED] * 2


@pytest.mark.parametrize("name", NAMES)
def test_records_that_fits_share(name, device, on_both):
    """A sweep over y of one X, in parts of the device's memory; pairs in another order than the
    records of X; a few of the records alone."""
    X, y, _ = data_of((50, 2), name, "all", 8, m=3)
    moments = fastgd.compress(X[0], y)
    assert len(moments.gram) == 1
    on_both(moments, None, lr=np.logspace(-5, 0, 40)[:, None], epochs=3)
    on_both(fastgd.compress(X[:, None], y), None, lr=np.logspace(-5, 0, 4)[:, None, None], epochs=3, excess_loss=True)
    turned = dataclasses.replace(fastgd.compress(X, y), gram_index=np.array([2, 0, 2]))
    for standardize in (False, True):
        on_both(turned, None, epochs=3, standardize=standardize)


@pytest.mark.parametrize("name", NAMES)
def test_a_least_loss_that_takes_the_host(name, on_both):
    """More than 32 parameters, or dependent columns: F* comes from `solve`, or is not known."""
    X, y, weights = data_of((90, 34), name, "weights", 3)
    X[1, :, 5] = X[1, :, 0]
    moments = fastgd.compress(X, y, sample_weight=weights)
    for reduction in ("mean", "sum"):
        decayed = fastgd.SGD(weight_decay=0.1)
        found = on_both(moments, None, optimizer=decayed, reduction=reduction, tol=0.5, epochs=30, excess_loss=True)
        theirs = fastgd.fit(
            X, y, sample_weight=weights, algorithm="moments", optimizer=decayed, reduction=reduction, tol=0.5, epochs=30, excess_loss=True
        )
        assert np.array_equal(found.epochs, theirs.epochs)
        assert np.array_equal(bits(found.excess_loss), bits(theirs.excess_loss))
    unknown = on_both(moments, None, tol=0.5, epochs=30, excess_loss=True)
    assert np.isnan(unknown.excess_loss).tolist() == [False, True, False, False]
