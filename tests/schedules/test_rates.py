"""The rates of every schedule are torch's, bit for bit: of floats and of arrays of rates."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

import fastgd
from fastgd.schedules.table import read_schedule
from fastgd.schedules.walks import follow
from tests import grids
from tests.support.schedule_cases import MOVING, SIMPLE, Spec, in_turn, ours, together, torchs_rates, torchs_table

EPOCHS = 220
RATES = (0.0737, 1.0, 3e-5)


def assert_torchs(spec: Spec, epochs: int = EPOCHS) -> None:
    """The rates of floats and those of an array are torch's."""
    schedule = ours(spec)
    walk = islice(follow(schedule, np.array(RATES)), epochs)
    together = np.array([np.broadcast_to(rates, len(RATES)) for rates, _ in walk])
    for k, lr in enumerate(RATES):
        expected = torchs_rates(spec, lr, epochs)
        assert [float(rate) for rate, _ in islice(follow(schedule, lr), epochs)] == expected
        assert together[:, k].tolist() == expected


@pytest.mark.parametrize("name", SIMPLE)
def test_rates_are_torchs(name, torch):
    assert_torchs(SIMPLE[name])


@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
@pytest.mark.parametrize("name", MOVING)
def test_momenta_are_torchs(name, optimizer, torch):
    """They are those of momentum, or beta1, whatever the optimizer was given."""
    epochs = 40
    rates, momenta = torchs_table(MOVING[name], 0.1, epochs, optimizer)
    assert list(islice(follow(ours(MOVING[name]), 0.1), epochs)) == list(zip(rates, momenta, strict=True))


PAIRS = [(first, second) for first in SIMPLE for second in SIMPLE]


@pytest.mark.parametrize(("first", "second"), grids.thin("pairs of schedules", PAIRS, 4))
def test_schedules_in_turn_and_together_are_torchs(first, second, torch):
    one, other = SIMPLE[first], SIMPLE[second]
    assert_torchs(together(one, other), 60)
    if second == "linear 0":  # which torch cannot begin anew: it divides by total_iters
        with pytest.raises(ZeroDivisionError):
            torchs_rates(in_turn(one, other, milestones=[11]), 0.1, 60)
        return
    assert_torchs(in_turn(one, other, milestones=[11]), 60)
    assert_torchs(together(in_turn(one, other, milestones=[11]), other), 60)


@pytest.mark.parametrize("milestones", [[0, 9], [4, 4], [1, 40]])
def test_three_in_turn_are_torchs(milestones, torch):
    specs = [SIMPLE[name] for name in ("constant 20", "cosine 13", "restarts doubled")]
    assert_torchs(in_turn(*specs, milestones=milestones), 60)


def test_chains_may_be_nested(torch):
    inner = together(SIMPLE["constant"], in_turn(SIMPLE["linear"], SIMPLE["step"], milestones=[6]))
    assert_torchs(together(inner, SIMPLE["exponential"]), 60)


@pytest.mark.parametrize(("name", "other"), [("step", "step 7"), ("cosine 13", "cosine 300"), ("cyclic", "cyclic halved")])
def test_schedules_are_values(name, other):
    """They are equal where their parameters are, and print as they are written."""
    one, same, different = ours(SIMPLE[name]), ours(SIMPLE[name]), ours(SIMPLE[other])
    assert one == same
    assert hash(one) == hash(same)
    assert one != different
    assert eval(repr(one), vars(fastgd.schedules)) == one
    assert ours(in_turn(SIMPLE[name], SIMPLE[other], milestones=[np.int64(3)])) == ours(
        in_turn(SIMPLE[name], SIMPLE[other], milestones=[3])
    )


S = fastgd.schedules
REFUSED = {
    "step_size must be a whole number, at least 1; it is 0": lambda: S.StepLR(0),
    "gamma must be at least 0; it is -1": lambda: S.StepLR(3, -1.0),
    "step_size of a schedule must be one number, not .10, 20.: give a list of schedules": lambda: S.StepLR([10, 20]),
    "T_max of a schedule must be one number, not array.*a list of schedules": lambda: S.CosineAnnealingLR(np.array([10, 20])),
    "gamma of a schedule must be one number, not array": lambda: S.ExponentialLR(np.array([0.9, 0.8])),
    "gamma must be finite; it is nan": lambda: S.ExponentialLR(float("nan")),
    r"milestones\[1\] must be a whole number, not 2.5": lambda: S.MultiStepLR([1, 2.5]),
    "milestones must be a list of whole numbers, not 3": lambda: S.MultiStepLR(3),
    "factor must be above 0; it is 0": lambda: S.ConstantLR(0.0),
    "factor must be at most 1; it is 2": lambda: S.ConstantLR(2.0),
    "start_factor must be above 0": lambda: S.LinearLR(0),
    "end_factor must be at most 1; it is 3": lambda: S.LinearLR(end_factor=3.0),
    "T_max must be a whole number, at least 1": lambda: S.CosineAnnealingLR(0),
    "T_mult must be a whole number, at least 1": lambda: S.CosineAnnealingWarmRestarts(3, 0),
    "lr_lambda must be a function of the epoch, not 3": lambda: S.LambdaLR(3),
    "scale_fn must be a function": lambda: S.CyclicLR(0.1, 1.0, scale_fn=3, cycle_momentum=False),
    "mode must be 'triangular'": lambda: S.CyclicLR(0.1, 1.0, mode="square", cycle_momentum=False),
    "base_momentum must be at least 0; it is -1": lambda: S.CyclicLR(0.1, 1.0, base_momentum=-1.0),
    "max_momentum must be above 0; it is 0": lambda: S.OneCycleLR(0.1, 10, max_momentum=0.0),
    "cycle_momentum must be True or False, not 1": lambda: S.OneCycleLR(0.1, 10, cycle_momentum=1),
    "OneCycleLR needs total_steps": lambda: S.OneCycleLR(0.1, epochs=3, cycle_momentum=False),
    "pct_start must be at most 1": lambda: S.OneCycleLR(0.1, 10, pct_start=1.5, cycle_momentum=False),
    "div_factor must be above 0": lambda: S.OneCycleLR(0.1, 10, div_factor=0, cycle_momentum=False),
    "SequentialLR takes no ChainedScheduler: torch cannot": lambda: S.SequentialLR([S.ChainedScheduler([S.StepLR(3)])], []),
    "SequentialLR of 1 schedules needs one milestone fewer, not 1": lambda: S.SequentialLR([S.StepLR(3)], [2]),
    "milestones must be in increasing order": lambda: S.SequentialLR([S.StepLR(3)] * 3, [2, 1]),
    "schedulers of ChainedScheduler must be a list of schedules, not StepLR": lambda: S.ChainedScheduler(S.StepLR(3)),
    "must be a list of at least one schedule; it is none": lambda: S.ChainedScheduler([]),
    "must be a list of at least one schedule; 0.1 is none": lambda: S.SequentialLR([0.1], []),
    "ReduceLROnPlateau changes the rate by the losses.*go on with fit": lambda: S.ReduceLROnPlateau(factor=0.1),
    r"StepLR\(\) has no option .?'step': give step_size=": lambda: S.StepLR(step=3),
}


@pytest.mark.parametrize("words", REFUSED)
def test_what_is_no_schedule_is_refused_in_words(words):
    with pytest.raises((ValueError, TypeError), match=words):
        REFUSED[words]()


def test_a_list_tells_alike_schedules_apart_by_their_values():
    """Also where the functions of the caller have no hash."""

    class Halves:
        __hash__ = None

        def __call__(self, epoch):
            return 0.5**epoch

    halves = Halves()
    for others in ([], [halves, halves, Halves()]):
        step = fastgd.schedules.StepLR
        found = read_schedule([step(3), None, step(3), step(4), None, *others])
        assert found.which.tolist() == [0, 1, 0, 2, 1, *([3, 3, 4] if others else [])]
