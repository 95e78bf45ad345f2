"""`schedule=`: every epoch in lockstep with torch.optim and torch's own schedulers, in mid-schedule
too; the same bits in any company; what is refused."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest

import fastgd
from fastgd import schedules
from fastgd.kernels.update_rules import UPDATE_RULES
from fastgd.schedules.table import read_schedule
from fastgd.verification.bound import check_history
from tests import grids
from tests.fit.test_rules import OTHERS, OURS, PROBLEMS, Lockstep, follow
from tests.support.refusals import X5, Y5, refused, x, y
from tests.support.rule_options import OPTIONS, assert_refused, optimizer, rules_of, rules_with
from tests.support.schedule_cases import FEW, SIMPLE, ours, sets_rates, torchs_rates

AT_ONCE = schedules.OneCycleLR(1.0, 10, pct_start=0.1, cycle_momentum=False)  # its rise takes no time
LR, AHEAD, STEPS = 0.03125, 5, 8


class OnSchedule(Lockstep):
    """Lockstep from the middle of a schedule: torch makes the rates and the steps."""

    def __init__(self, problem, dtype, rule, hyper, spec, algorithm):
        self.schedule, self.given = ours(spec), {} if sets_rates(spec) else {"lr": LR}
        self.rates = torchs_rates(spec, LR, AHEAD + STEPS)
        self.schedules_epoch = 0
        super().__init__(problem, dtype, rule, hyper, LR, algorithm)
        start = self.result.state
        self.result = self._fit(AHEAD, start, "auto")
        self.schedules_epoch = AHEAD
        for _ in range(AHEAD):
            self.advance()

    @property
    def lr(self):
        return self.rates[self.schedules_epoch]

    @lr.setter
    def lr(self, value):
        """What the base class gives to a fit of no epochs."""

    def _fit(self, epochs, state, backend):
        return fastgd.fit(
            self.data.X, self.data.y, **self.given, epochs=epochs, state=state, optimizer=self.optimizer, intercept=self.data.intercept,
            history=True, backend=backend, schedule=self.schedule,
        )  # fmt: skip

    def one(self, state, backend):
        self.schedules_epoch = int(state.epoch)
        return self._fit(1, state, backend)


def cases():
    kinds = itertools.product(rules_with("cpu"), ("float32", "float64"), ("moments", "stream"), FEW)
    return [(rule, option, dtype, algorithm, name) for rule, dtype, algorithm, name in kinds for option in OPTIONS[rule]]


@pytest.mark.parametrize(("rule", "option", "dtype", "algorithm", "name"), grids.thin("rules on schedules in lockstep", cases(), 60))
def test_every_rule_and_schedule_in_lockstep_with_torch(rule, option, dtype, algorithm, name, record_tau, torch):
    lockstep = OnSchedule(PROBLEMS["noisy"], dtype, rule, OPTIONS[rule][option], FEW[name], algorithm)
    assert follow(lockstep, STEPS, record_tau, f"{name}, {option}") == STEPS


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", FEW)
def test_every_epoch_from_the_start(name, dtype, record_tau, torch):
    """Recorded histories of every backend, judged with torch's rates."""
    problem, spec = PROBLEMS["noisy"].astype(dtype), FEW[name]
    given = {} if sets_rates(spec) else {"lr": LR}
    rates = np.array(torchs_rates(spec, LR, 40))
    for way in ({"algorithm": "moments"}, {"algorithm": "stream"}, {"backend": "torch"}, {"backend": "numpy"}):
        result = fastgd.fit(problem.X, problem.y, **given, schedule=ours(spec), epochs=40, history=True, **way)
        higher = result.algorithm == "moments" and dtype == "float32"
        check = check_history(problem.X, problem.y, result.history.w, result.history.loss, lr=rates, dtype=dtype, held_higher=higher)
        record_tau(f"on schedule, {result.algorithm}", dtype, name, check.tau_w, check.tau_loss)
        assert max(check.tau_w, check.tau_loss) <= (OURS if result.backend == "cpu" else OTHERS), (way, check)
        assert result.lr == rates[0] if sets_rates(spec) else result.lr == LR


@pytest.mark.parametrize("rule", UPDATE_RULES)
def test_a_state_goes_on_in_mid_schedule(rule, backend):
    """fit(10) == fit(4), then fit(6), with the schedule given again; the fits differ in theirs."""
    if rule not in rules_of(backend):
        assert_refused(rule, backend)
        return
    given = [ours(FEW[name]) for name in ("warm-up, cosine", "step", "exponential", "lambda")] + [None]
    options = {
        "lr": 0.01, "schedule": given, "optimizer": optimizer(rule, OPTIONS[rule]["all" if "all" in OPTIONS[rule] else "nesterov"]),
        "backend": backend, "history": True,
    }  # fmt: skip
    whole = fastgd.fit(X5, Y5, epochs=10, **options)
    first = fastgd.fit(X5, Y5, epochs=4, **options)
    second = fastgd.fit(X5, Y5, epochs=6, state=first.state, **options)
    assert np.array_equal(whole.history.w, np.concatenate([first.history.w, second.history.w[:, 1:]], axis=1))
    assert np.array_equal(whole.state.w, second.state.w)
    assert np.array_equal(whole.lr, second.lr)


def test_fits_whose_states_stand_at_different_epochs(backend):
    parts = [fastgd.fit(X5[k], Y5[k], lr=0.01, schedule=lambda t: 0.9**t, epochs=k, backend=backend) for k in range(5)]
    whole = [fastgd.fit(X5[k], Y5[k], lr=0.01, schedule=lambda t: 0.9**t, epochs=k + 3, backend=backend) for k in range(5)]
    if backend == "cpu":  # one call of all: their starts are put together
        state = fastgd.fit(X5, Y5, lr=0.01, epochs=0, backend=backend).state
        for name in ("w", "slots", "products", "epoch"):
            getattr(state, name)[...] = [getattr(part.state, name) for part in parts]
        together = fastgd.fit(X5, Y5, lr=0.01, schedule=lambda t: 0.9**t, epochs=3, state=state)
        assert np.array_equal(together.w, [one.w for one in whole])
    for k, part in enumerate(parts):
        again = fastgd.fit(X5[k], Y5[k], lr=0.01, schedule=lambda t: 0.9**t, epochs=3, state=part.state, backend=backend)
        assert np.array_equal(again.w, whole[k].w)


@pytest.mark.parametrize("lr", [None, 0.01, [0.01, 0.02, 0.01, 0.03, 0.0], [[0.01], [0.02]]])
@pytest.mark.parametrize("algorithm", ["moments", "stream"])
def test_a_fit_on_a_schedule_has_the_same_bits_alone(lr, algorithm):
    """Whatever the others' rates and schedules are; threads, memory and chunks change nothing."""
    given = [ours(FEW["linear"]), None, ours(FEW["step"]), ours(FEW["linear"]), ours(FEW["cosine 13"])]
    options = {"epochs": 12, "algorithm": algorithm, "history": True, "intercept": True}
    whole = fastgd.fit(X5, Y5, lr=lr, schedule=given, **options)
    assert fastgd.fit(X5, Y5, lr=lr, schedule=given, threads=2, memory_limit="200 KiB", **options).w.tobytes() == whole.w.tobytes()
    rates = None if lr is None else np.broadcast_to(lr, whole.lr.shape)
    for place in np.ndindex(whole.lr.shape):
        k = place[-1]
        alone = fastgd.fit(X5[k], Y5[k], lr=None if rates is None else rates[place], schedule=given[k], **options)
        assert np.array_equal(alone.history.w, whole.history.w[place])
        assert alone.lr == whole.lr[place]


def test_many_fits_in_packs_with_rates_of_their_own():
    """Packs of neighbours, single features, and fits that leave a pack, against each alone."""
    rng = np.random.default_rng(3)
    X, Y, rates = rng.normal(size=(70, 30, 1)), rng.normal(size=(70, 30)), rng.uniform(0.01, 0.4, 70)
    schedule = ours(FEW["warm-up, cosine"])
    whole = fastgd.fit(X, Y, lr=rates, schedule=schedule, epochs=30, tol=0.3)
    assert (whole.status == fastgd.Status.CONVERGED).any()
    assert (whole.status == fastgd.Status.COMPLETED).any()
    for k in range(70):
        alone = fastgd.fit(X[k], Y[k], lr=rates[k], schedule=schedule, epochs=30, tol=0.3)
        assert (alone.w, alone.loss, alone.epochs) == (whole.w[k], whole.loss[k], whole.epochs[k])


def test_standardised_fits_follow_schedules():
    whole = fastgd.fit(X5, Y5, schedule=lambda t: 1 / (1 + t), epochs=6, standardize=True)
    rates = np.array([1 / (1 + t) for t in range(6)])
    for k in range(5):
        alone = fastgd.fit(X5[k], Y5[k], schedule=whole.lr[k] * rates, epochs=6, standardize=True)
        assert np.array_equal(alone.w, whole.w[k])


def test_an_array_holds_the_rates_themselves(backend):
    rates = 0.01 * 0.9 ** np.arange(8)
    listed = fastgd.fit(x, y, schedule=rates, epochs=8, backend=backend)
    assert listed.lr == rates[0]
    assert listed.w == fastgd.fit(x, y, schedule=list(rates), epochs=8, backend=backend).w
    w = 0.0
    for rate in rates:
        w -= rate * (2 * x * (w * x - y)).mean()
    assert abs(listed.w - w) < 1e-14
    half = fastgd.fit(x, y, schedule=rates, epochs=3, backend=backend)
    assert fastgd.fit(x, y, schedule=rates, epochs=5, state=half.state, backend=backend).w == listed.w


def test_results_tell_the_first_rate_and_are_saved(tmp_path):
    result = fastgd.fit(X5, Y5, lr=0.02, schedule=schedules.StepLR(2), epochs=5, history=True)
    assert (result.lr == 0.02).all()
    result.save(tmp_path / "fits.npz")
    assert np.array_equal(fastgd.load(tmp_path / "fits.npz").w, result.w)
    assert list(result.to_frame("pandas")["lr"]) == [0.02] * 5
    assert "StepLR" not in result.summary()


def test_nothing_is_said_of_the_data_from_a_rate_that_moves():
    """From a start that is given, the first rate alone says nothing of their size."""
    options = {"lr": 1e-9, "w0": [1e3, 1e3], "epochs": 1}
    assert fastgd.fit(X5[0], Y5[0], **options)._start == "given"
    assert fastgd.fit(X5[0], Y5[0], schedule=schedules.StepLR(3), **options)._start == ""


def test_a_functions_answers_are_asked_once_and_before_any_work(backend):
    asked = []

    def factor(epoch):
        asked.append(epoch)
        return 0.5

    fastgd.fit(X5, Y5, lr=[0.01, 0.02, 0.03, 0.04, 0.05], schedule=factor, epochs=6, backend=backend)
    assert asked == list(range(6))


def test_memory_of_the_table_is_planned():
    """2,500 epochs of 2,000 fits with rates of their own: 40 MB, were it one table."""
    import tracemalloc

    rng = np.random.default_rng(0)
    X, Y, rates = rng.normal(size=(2000, 4, 1)), rng.normal(size=(2000, 4)), rng.uniform(0.001, 0.1, 2000)
    tracemalloc.start()
    limited = fastgd.fit(X, Y, lr=rates, schedule=lambda t: 0.99, epochs=2500, threads=1, memory_limit="6 MB", algorithm="moments")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6e6 + 2e6  # the functions' answers, Python's objects, are not counted
    assert limited.w.shape == (2000, 1)


def test_moments_follow_schedules():
    options = {"schedule": [ours(FEW["linear"]), None, ours(FEW["step"]), None, lambda t: 0.9**t], "epochs": 7, "history": True}
    for lr in (None, 0.01):
        of_samples = fastgd.fit(X5, Y5, lr=lr, algorithm="moments", **options)
        of_moments = fastgd.fit(fastgd.compress(X5, Y5), None, lr=lr, **options)
        assert np.array_equal(of_moments.history.w, of_samples.history.w)


@pytest.mark.parametrize(
    ("error", "words", "options"),
    [
        (TypeError, "schedule must be a schedule such as fastgd.schedules.StepLR.30.", {"schedule": "cosine"}),
        (TypeError, "schedule must be a schedule such as", {"schedule": schedules.StepLR}),
        (TypeError, "schedule must be a schedule such as", {"schedule": [schedules.StepLR(3), 0.1]}),
        (ValueError, "ReduceLROnPlateau changes the rate by the losses", {"schedule": "ReduceLROnPlateau"}),
        (ValueError, "must be one for each epoch, shape .epochs,., for all fits; they have shape ..$|shape", {"schedule": 0.1}),
        (ValueError, "schedule must be at least 0; it is -0.1 at index 1", {"schedule": [0.1, -0.1]}),
        (ValueError, "schedule must be finite; it is nan at index 0", {"schedule": [np.nan, 0.1]}),
        (ValueError, "schedule has 3 learning rates, and a further epoch asks for one", {"schedule": [0.1, 0.1, 0.1], "epochs": 4}),
        (ValueError, "schedule .an array of rates. sets the learning rates itself: leave lr out", {"schedule": [0.1] * 5, "lr": 0.1}),
        (
            ValueError, "schedule .OneCycleLR. sets the learning rates itself",
            {"schedule": ours(SIMPLE["one cycle"]), "optimizer": fastgd.SGD(lr=0.1)},
        ),
        (ValueError, "OneCycleLR has rates for 300 epochs, and a further", {"schedule": ours(SIMPLE["one cycle"]), "epochs": 301}),
        (ValueError, "lr is needed: some of the schedules", {"schedule": [ours(SIMPLE["one cycle"]), None]}),
        (ValueError, r"lr_lambda\(2\) must be finite and at least 0; it is -1", {"lr": 0.1, "schedule": lambda t: 1.0 - t}),
        (TypeError, r"lr_lambda\(0\) must be a number; it is None", {"lr": 0.1, "schedule": lambda t: None}),
        (ValueError, "OneCycleLR has no rate in epoch 0 ", {"schedule": AT_ONCE}),
        (
            ValueError, "SequentialLR has no rate in epoch 2 .counted from 0., nor has torch's: ",
            {"lr": 0.1, "schedule": schedules.SequentialLR([schedules.StepLR(3), schedules.LinearLR(total_iters=0)], [2])},
        ),
        (ValueError, "do not broadcast.*schedule .2,.", {"lr": [0.1, 0.1, 0.1], "schedule": [None, schedules.StepLR(3)]}),
    ],
    ids=lambda part: re.sub(r" at 0x[0-9a-f]+", "", str(part)),
)  # fmt: skip
def test_what_is_refused(no_work, error, words, options):
    refused(error, words, x, y, **{"epochs": 5, **options})


def test_torchs_own_schedulers_are_refused_in_words(no_work, torch):
    from torch.optim import lr_scheduler

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    words = "schedule is torch's StepLR: give fastgd.schedules.StepLR with the same parameters, without the optimizer"
    refused(TypeError, words, x, y, schedule=lr_scheduler.StepLR(optimizer, 3))
    refused(ValueError, "ReduceLROnPlateau changes", x, y, schedule=lr_scheduler.ReduceLROnPlateau(optimizer))


def test_a_table_is_made_of_the_rates_that_differ():
    """Equal (schedule, rate, first epoch) share a column; −0.0 is no 0.0."""
    scheduled = read_schedule([schedules.ExponentialLR(0.5), None])
    which, lr = np.array([0, 1, 0, 0, 1]), np.array([1.0, 1.0, 1.0, 0.0, -0.0])
    table = scheduled.table(which, lr, np.array([0, 0, 2, 1, 1]), 3)
    assert table.T.tolist() == [[1.0, 0.5, 0.25], [1.0, 1.0, 1.0], [0.25, 0.125, 0.0625], [0.0] * 3, [-0.0] * 3]
    assert np.signbit(table[:, 4]).all()
    assert not np.signbit(table[:, 3]).any()
    shared = scheduled.table(np.zeros(1, np.int64), np.full(1000, 0.5), np.zeros(1000, np.int64), 3)
    assert shared.strides[1] == 0
