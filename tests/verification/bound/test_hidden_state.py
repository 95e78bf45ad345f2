"""A state held in float64 that its float32 rows show as subnormal or 0 is not called wrong."""

import numpy as np
import pytest

import fastgd
from fastgd.kernels.update_rules import UPDATE_RULES
from fastgd.verification.bound import check_lockstep, check_step

X, Y = np.array([1.0, 2.0, 3.0, 4.0]), np.array([2.0, 4.0, 6.0, 9.0])

# what: (size of X, size of y, learning rate, optimizer)
TINY = {
    "sgd": (1e-15, 1e-33, 1e-3, fastgd.SGD(weight_decay=1e15)),
    "sgd_momentum": (1e-15, 1e-33, 1e-3, fastgd.SGD(weight_decay=1e15, momentum=0.5)),
    "adam": (1e-12, 1e-33, 1e-11, fastgd.Adam(weight_decay=1e18)),
    "rmsprop": (1e-12, 1e-33, 1e-12, fastgd.RMSprop(weight_decay=1e18)),
    "adagrad": (1e-12, 1e-33, 1e-13, fastgd.Adagrad(weight_decay=1e18)),
    "adadelta": (1e-10, 1e-34, 2e-3, fastgd.Adadelta(rho=1.9e-192, weight_decay=1e18, maximize=True)),
    "nadam": (1e-23, 1e-32, 4e-3, fastgd.NAdam(betas=(0.49, 0.999), weight_decay=5e19)),
    "adamax": (1e-12, 1e-33, 1e-11, fastgd.Adamax(weight_decay=1e18)),
}


@pytest.mark.parametrize("what", TINY)
def test_a_decay_multiplies_what_the_rows_do_not_show(what):
    size_x, size_y, lr, optimizer = TINY[what]
    given = {"lr": lr, "optimizer": optimizer, "epochs": 8}
    X_, Y_ = (X * size_x).astype(np.float32)[:, None], (Y * size_y).astype(np.float32)
    first = fastgd.fit(X_, Y_, **given | {"epochs": 1}, backend="cpu").state
    assert 0 < abs(first.w[0]) < 2.0**-150  # the row has 0
    report = fastgd.verify("cpu", X_, Y_, **given)
    assert report.outcome in ("agrees", "agrees in part"), str(report)
    assert report.verdicts[0].epochs_judged >= 2


def test_the_state_and_the_prediction_by_hand():
    """X = 2¹⁰⁰, y = 0, a state of η/2 that the row shows as 0.

    |δg| = 2·2¹⁰⁰·2¹⁰⁰η = 2⁵² and Λ = (2¹⁰⁰η)² = 2⁻⁹⁸, but for terms of 2⁻⁴⁰ of them. The state has
    the loss 2⁻¹⁰⁰ and the gradient 2⁵¹.
    """
    given = {"lr": 2.0**-100, "dtype": "float32"}
    step = check_step([2.0**100], [0.0], [0.0], [-(2.0**-49)], 2.0**-100, **given, held_higher=True)
    assert step.tau_w == pytest.approx(1 / 2, rel=1e-10)
    assert step.tau_loss == pytest.approx(1 / 4, rel=1e-10)
    shown = check_step([2.0**100], [0.0], [0.0], [-(2.0**-49)], 2.0**-100, **given)
    assert min(shown.tau_w, shown.tau_loss) > 1e6


@pytest.mark.parametrize("held_higher", [True, False])
def test_a_lockstep_by_hand(held_higher):
    """A decay of 2⁶⁰ makes 2⁻⁹⁰ of a state of η/2.

    The state may be off by η, and its product with the decay by 2⁶⁰η more: ℓ = 2·2⁶⁰η, but for
    terms of u.
    """
    before, after = ([0.0], [[0.0]], 0), ([-(2.0**-90)], [[2.0**-90]])
    given = {"rule": UPDATE_RULES["sgd"], "lr": 1.0, "hyper": {"weight_decay": 2.0**60, "momentum": 0.5}, "dtype": "float32"}
    check = check_lockstep([1.0], [0.0], before, after, 0.0, **given, held_higher=held_higher)
    if held_higher:
        assert (check.tau_w, check.tau_slots) == pytest.approx((1 / 4, 1 / 4), rel=1e-6)
    else:
        assert min(check.tau_w, check.tau_slots) > 1e6


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("hand", ["cpu", "numpy"])
def test_a_product_that_underflows_in_the_buffer_of_sgd(hand, dtype):
    """Without a share of the gradient only the product of momentum and buffer is rounded."""
    size = 1e-22 if dtype == "float32" else 2e-162
    for options in ({"momentum": 0.7, "dampening": 1.0}, {"momentum": 0.3, "dampening": 1.0, "weight_decay": 0.7}):
        report = fastgd.verify(hand, X * size, Y * size, lr=1e10, epochs=8, optimizer=fastgd.SGD(**options), dtype=dtype)
        assert report.outcome == "agrees", str(report)


def test_a_rate_that_is_0_in_float32():
    """The state in float64 takes the rate as it is."""
    X_, Y_ = (X * 1e17).astype(np.float32), (Y * 1e15).astype(np.float32)
    given = {"lr": 5e-56, "epochs": 3, "optimizer": fastgd.SGD(momentum=0.9)}
    assert fastgd.fit(X_, Y_, **given).w != 0
    report = fastgd.verify("cpu", X_, Y_, **given)
    assert report.outcome == "agrees", str(report)


@pytest.mark.parametrize("hand", ["cpu", "numpy", "torch"])
def test_a_rule_makes_its_numbers_of_a_rate_in_float64(hand):
    """1 − lr·weight_decay is 1/2, though the rate is 0 in float32; it overflows with more decay."""
    X_, Y_ = X.astype(np.float32), Y.astype(np.float32)
    given = {"lr": 1e-50, "epochs": 3, "w0": 1.0}
    halved = fastgd.fit(X_, Y_, **given, optimizer=fastgd.AdamW(weight_decay=5e49), backend=hand)
    assert halved.w == pytest.approx(1 / 8, rel=1e-6)
    report = fastgd.verify(hand, X_, Y_, **given, optimizer=fastgd.AdamW(weight_decay=5e49))
    assert report.outcome == "agrees", str(report)
    report = fastgd.verify(hand, X_, Y_, **given, optimizer=fastgd.AdamW(weight_decay=1e295))
    assert report.outcome == "not judged", str(report)


SCHEDULES = [[0.01, 0.01, 0.0, 0.01, 0.01, 0.0, 0.0, 0.02], [0.0, 0.0, 0.01, 0.02, 0.02, 0.01, 0.01, 0.01]]


@pytest.mark.share(6)
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("hand", ["cpu", "numpy", "torch"])
def test_a_buffer_that_a_rate_of_0_hides(hand, schedule):
    for options in ({}, {"nesterov": True, "weight_decay": 0.1}, {"dampening": 0.3, "maximize": True}):
        asked, other = fastgd.SGD(momentum=0.9, **options), fastgd.SGD(momentum=0.91, **options)
        given = {"epochs": 8, "schedule": schedule}
        report = fastgd.verify(hand, X, Y, optimizer=asked, **given)
        assert report.outcome == "agrees", str(report)
        history = fastgd.fit(X, Y, optimizer=other, backend=hand, history=True, **given).history
        assert fastgd.verify(history, X, Y, optimizer=other, **given).outcome == "agrees"
        assert fastgd.verify(history, X, Y, optimizer=asked, **given).outcome == "disagrees"
