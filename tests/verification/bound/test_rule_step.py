"""Steps with an intermediate that overflows, underflows or cancels are not called wrong."""

import numpy as np
import pytest

import fastgd
from fastgd.kernels.update_rules import UPDATE_RULES
from fastgd.verification.bound import check_lockstep

DTYPES = ("float32", "float64")

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


@pytest.mark.parametrize("hand", ["cpu", "numpy"])
@pytest.mark.parametrize("what", EXTREMES)
def test_a_right_step_is_not_called_wrong(what, hand):
    size, optimizer, none_judged = EXTREMES[what]
    for dtype in DTYPES:
        report = fastgd.verify(hand, X * size, Y * size, lr=0.01, epochs=12, optimizer=optimizer, intercept=True, dtype=dtype)
        assert report.outcome != "disagrees", str(report)
        assert report.diagnosis is None
        if none_judged and dtype == "float32":
            assert report.verdicts[0].epochs_judged < 12
            assert not report.verdicts[0].epochs_judged or report.outcome == "agrees in part"


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_wrong_step_of_a_cancelling_rule_is_found(dtype):
    """The bound of v − m² in centered RMSprop is not so wide that another alpha would pass."""
    done, asked = fastgd.RMSprop(centered=True, alpha=1.1e-2), fastgd.RMSprop(centered=True, alpha=1e-2)
    history = fastgd.fit(X, Y, lr=0.01, epochs=5, optimizer=done, history=True, dtype=dtype, backend="numpy").history
    assert fastgd.verify(history, X, Y, lr=0.01, optimizer=done, dtype=dtype).outcome == "agrees"
    assert fastgd.verify(history, X, Y, lr=0.01, optimizer=asked, dtype=dtype).outcome == "disagrees"


def test_a_step_in_lockstep_is_not_judged_where_an_intermediate_overflows():
    rule = UPDATE_RULES["adamw"]
    before, after = ([1.0], np.zeros((3, 1)), 0), ([np.inf], np.zeros((3, 1)))
    check = check_lockstep([1.0], [0.0], before, after, 1.0, rule=rule, lr=1.0, hyper={"weight_decay": 1e300}, dtype="float32")
    assert np.isnan(check.tau_w)
    assert check.tau_loss == 0
