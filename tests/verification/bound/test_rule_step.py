"""Steps with an intermediate that overflows, underflows or cancels are not called wrong."""

from fractions import Fraction

import numpy as np
import pytest

import fastgd
from fastgd.kernels.update_rules import UPDATE_RULES
from fastgd.verification.bound import check_lockstep
from tests import grids

DTYPES = ("float32", "float64")
HANDS = ("cpu", "numpy")

X, Y = np.array([1.0, 2.0, 3.0, 4.0]), np.array([2.0, 4.0, 6.0, 9.0])

# what: (size of X, optimizer, whether no epoch can be judged)
EXTREMES = {
    "decay_overflows": (1.0, fastgd.Adam(weight_decay=1e300), True),
    "decoupled_decay_overflows": (1.0, fastgd.AdamW(weight_decay=1e300), True),
    "square_overflows": (1e15, fastgd.Adam(), False),
    "square_underflows": (1e-23, fastgd.Adam(eps=0.0), False),
    "square_is_zero": (1e-30, fastgd.RMSprop(eps=0.0), True),
    "momentum_overflows": (1e15, fastgd.SGD(momentum=1e300), True),
    "centered_cancels": (1.0, fastgd.RMSprop(centered=True, alpha=1e-4), False),
    "centered_cancels_wholly": (1.0, fastgd.RMSprop(centered=True, alpha=1e-20), True),
    "nadam_without_square": (1.0, fastgd.NAdam(betas=(0.9, 1e-300)), False),
    "nadam_near_one": (1.0, fastgd.NAdam(betas=(1 - 1e-15, 0.999), momentum_decay=1e300), False),
    "adadelta_large_eps": (1e-10, fastgd.Adadelta(eps=1e300), False),
}


CASES = [(what, hand, dtype) for what in EXTREMES for hand in HANDS for dtype in DTYPES]
# every kind by both hands, float32 by one and float64 by the other
FEW = [(what, HANDS[(k + j) % 2], dtype) for k, what in enumerate(EXTREMES) for j, dtype in enumerate(DTYPES)]


@pytest.mark.parametrize(("what", "hand", "dtype"), grids.share("extreme steps of rules", CASES, FEW))
def test_a_right_step_is_not_called_wrong(what, hand, dtype):
    size, optimizer, none_judged = EXTREMES[what]
    report = fastgd.verify(hand, X * size, Y * size, lr=0.01, epochs=12, optimizer=optimizer, intercept=True, dtype=dtype)
    assert report.outcome != "disagrees", str(report)
    assert report.diagnosis is None
    if none_judged and dtype == "float32":
        assert report.verdicts[0].epochs_judged < 12
        assert report.outcome == ("agrees in part" if report.verdicts[0].epochs_judged else "not judged")


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_wrong_step_of_a_cancelling_rule_is_found(dtype):
    """The bound of v − m² in centered RMSprop is not so wide that another alpha would pass."""
    done, asked = fastgd.RMSprop(centered=True, alpha=1.1e-2), fastgd.RMSprop(centered=True, alpha=1e-2)
    history = fastgd.fit(X, Y, lr=0.01, epochs=3, optimizer=done, history=True, dtype=dtype, backend="numpy").history
    assert fastgd.verify(history, X, Y, lr=0.01, optimizer=done, dtype=dtype).outcome == "agrees"
    assert fastgd.verify(history, X, Y, lr=0.01, optimizer=asked, dtype=dtype).outcome == "disagrees"


def test_a_step_in_lockstep_is_not_judged_where_an_intermediate_overflows():
    rule = UPDATE_RULES["adamw"]
    before, after = ([1.0], np.zeros((3, 1)), 0), ([np.inf], np.zeros((3, 1)))
    check = check_lockstep([1.0], [0.0], before, after, 1.0, rule=rule, lr=1.0, hyper={"weight_decay": 1e300}, dtype="float32")
    assert np.isnan(check.tau_w)
    assert check.tau_loss == 0


NADAM, LR, BETA1 = UPDATE_RULES["nadam"], 0.5, 0.9
SIX = {
    "X": np.array([-4.0, -3.0, -1.0, 0.0, -4.0, -4.0])[:, None], "y": np.array([-6.0, -2.0, -1.0, 6.0, -1.0, -5.0]),
    "sample_weight": np.array([0.2, 0.7, 0.8, 0.5, 0.3, 0.1]),
}  # fmt: skip


def exact_step(before, after):
    """w after one step of NAdam with beta2 = 0, whose root is |g|, in rational numbers."""
    x, y, weight = (list(map(Fraction, part.ravel().tolist())) for part in SIX.values())
    w, m = Fraction(float(before.w[0])), Fraction(float(before.slots[0, 0]))
    values = {name: Fraction(value) for name, value in NADAM.all_values({"beta1": BETA1}).items()}
    products = dict(zip(NADAM.products, map(Fraction, after.products.tolist()), strict=True))
    beta1, share, product = values["beta1"], products["decay_product"] / 2, products["mu_product"]
    g = 2 * sum(each * a * (a * w - b) for a, b, each in zip(x, y, weight, strict=True)) / sum(weight)
    now, later = beta1 * (1 - share), beta1 * (1 - share * values["decay"])
    move = (1 - now) / (1 - product) * g + later / (1 - product * later) * (beta1 * m + (1 - beta1) * g)
    return w - Fraction(LR) * move / (abs(g) + values["eps"])


def test_two_right_hands_part_where_the_rule_divides_by_the_gradient():
    """docs/error-bound.md, "Other update rules": each step is right, and so is the distance."""
    options = {"lr": LR, "optimizer": fastgd.NAdam(betas=(BETA1, 0.0))}
    given = {"rule": NADAM, "lr": LR, "hyper": {"beta1": BETA1, "beta2": 0.0}, "dtype": "float64"}
    states = {hand: fastgd.fit(**SIX, **options, epochs=0, backend=hand).state for hand in HANDS}
    u, distances = Fraction(2) ** -53, []
    for _ in range(60):
        exact = {}
        for hand, before in states.items():
            result = fastgd.fit(**SIX, **options, epochs=1, backend=hand, state=before, history=True)
            after = states[hand] = result.state
            start = (before.w, before.slots, int(before.epoch), before.products)
            check = check_lockstep(
                SIX["X"], SIX["y"], start, (after.w, after.slots, after.products), float(result.history.loss[0]),
                sample_weight=SIX["sample_weight"], **given,
            )  # fmt: skip
            assert max(check.tau_w, check.tau_slots, check.tau_loss, check.tau_products) <= 2
            exact[hand] = exact_step(before, after)
        apart, exactly_apart = (Fraction(a) - Fraction(b) for a, b in ((float(s.w[0]) for s in states.values()), exact.values()))
        distances.append(abs(apart))
        if abs(apart) > 2**20 * u:
            assert abs(apart - exactly_apart) < abs(apart) / 2  # most of it is not of this step's roundings
    assert max(distances) > 2**30 * u
