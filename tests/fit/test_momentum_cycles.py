"""Schedules that move momentum, or beta1: every epoch in lockstep with torch.optim and torch's own
schedulers, the arbiter's bits, the same bits in any company and on CUDA; what is refused."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import fastgd
import tests.cuda_on_host  # noqa: F401  registers cuda-host
from fastgd import schedules
from fastgd.kernels.update_rules import UPDATE_RULES, power_of
from tests import grids
from tests.fit.test_rules import PROBLEMS, follow
from tests.fit.test_schedules import AHEAD, LR, STEPS, OnSchedule
from tests.specification import arbiter, arbiter_batches
from tests.support.against_arbiter import same_bits
from tests.support.refusals import X5, Y5, refused, x, y
from tests.support.rule_options import OPTIONS, optimizer, rules_of, rules_with
from tests.support.schedule_cases import MOVING, SIMPLE, ours, sets_rates, torchs_table

RULES = [name for name in rules_with("cpu") if UPDATE_RULES[name].moving]
# of five fits: two that set their rates, one whose momentum stays, one whose momentum moves later
GIVEN = [MOVING["one cycle"], MOVING["cyclic"], None, MOVING["warm-up, one cycle"], SIMPLE["step"]]
FIVE = [spec and ours(spec) for spec in GIVEN]


class OnMovingSchedule(OnSchedule):
    """Lockstep in which momentum, or beta1, is that of torch's scheduler in every epoch."""

    def __init__(self, problem, dtype, rule, hyper, spec, algorithm):
        self.momenta = torchs_table(spec, LR, AHEAD + STEPS, UPDATE_RULES[rule].class_name)[1]
        super().__init__(problem, dtype, rule, hyper, spec, algorithm)

    def judge(self, before, after, loss, dtype, products, hyper, **options):
        own, products = self.momenta[self.schedules_epoch], np.array(products, np.longdouble)
        if self.rule.power is not None:
            products[list(self.rule.products).index(self.rule.power)] = np.longdouble(own) ** int(before.epoch)
        return super().judge(before, after, loss, dtype, products, {**hyper, self.rule.moving: own}, **options)


CASES = list(itertools.product(RULES, ("float32", "float64"), ("moments", "stream"), MOVING))


@pytest.mark.parametrize(("rule", "dtype", "algorithm", "name"), grids.thin("moving momentum in lockstep", CASES, 30))
def test_every_rule_in_lockstep_with_torch(rule, dtype, algorithm, name, record_tau, torch):
    for option in OPTIONS[rule]:
        lockstep = OnMovingSchedule(PROBLEMS["noisy"], dtype, rule, OPTIONS[rule][option], MOVING[name], algorithm)
        assert follow(lockstep, STEPS, record_tau, f"{name}, {option}") == STEPS


def test_the_power_of_a_beta1_that_moves():
    """By repeated squaring: near the exact power, and exact where that has few digits."""
    assert [power_of(0.5, k) for k in (0, 1, 2, 7, 1000)] == [1.0, 0.5, 0.25, 2.0**-7, 2.0**-1000]
    for beta, k in itertools.product((0.85, 0.95, 0.999), (3, 77, 4095, 10_000)):
        exact = np.longdouble(beta) ** k
        assert abs(power_of(beta, k) - exact) <= k * 2.0**-52 * exact + 2.0**-1022
        assert power_of(beta, k) == arbiter.power(beta, k)


@pytest.mark.parametrize(("rule", "dtype"), list(itertools.product(RULES, (np.float32, np.float64))))
def test_the_arbiters_bits(rule, dtype, torch):
    """In a pack, from samples, and in mini-batches with a schedule for each step."""
    X, Y, row = X5.astype(dtype), Y5.astype(dtype), UPDATE_RULES[rule]
    hyper = {**row.hyperparameters, **OPTIONS[rule]["all" if "all" in OPTIONS[rule] else "nesterov"]}
    fitted = {"lr": 0.02, "schedule": FIVE, "optimizer": optimizer(rule, hyper), "history": True}
    sizes = {"n_slots": len(row.slots), "n_products": len(row.products)}
    whole = {name: fastgd.fit(X, Y, epochs=7, algorithm=name, **fitted) for name in ("moments", "stream")}
    cut = fastgd.fit(X, Y, epochs=3, batch_size=2, shuffle=False, schedule_every="step", **fitted)
    n_steps = 3 * -(-X.shape[1] // 2)
    for k, spec in enumerate(GIVEN):
        table = ([0.02] * n_steps, [np.nan] * n_steps) if spec is None else torchs_table(spec, 0.02, n_steps, row.class_name)
        if spec is SIMPLE["step"]:
            table = table[0], [np.nan] * n_steps
        for algorithm, result in whole.items():
            run = arbiter.run(X[k], Y[k], w0=np.zeros(X.shape[2]), lr=table[0][:7], momenta=table[1], epochs=7, rule=rule, hyper=hyper,
                              algorithm=algorithm, **sizes)  # fmt: skip
            assert same_bits(result.history.w[k], run.w), (k, algorithm)
            assert same_bits(result.history.loss[k], run.loss), (k, algorithm)
            assert same_bits(result.state.products[k], np.array(run.state.products, float)), (k, algorithm)
        batches = arbiter_batches.Batches(size=2, shuffle=False, drop_last=False, seed=0, per_step=True)
        run = arbiter_batches.run(X[k], Y[k], batches, w0=np.zeros(X.shape[2]), rates=table[0], momenta=table[1], rule=rule, hyper=hyper,
                                  epochs=3, **sizes)  # fmt: skip
        assert same_bits(cut.history.w[k], run.w), k
        assert same_bits(cut.state.products[k], np.array(run.state.products, float)), k


@pytest.mark.parametrize("rule", RULES)
def test_a_state_goes_on_in_mid_schedule_and_a_fit_is_the_same_alone(rule, backend):
    options = {"optimizer": rule, "backend": backend, "history": True}
    if rule not in rules_of(backend):
        return
    whole = fastgd.fit(X5, Y5, lr=0.02, schedule=FIVE, epochs=10, **options)
    first = fastgd.fit(X5, Y5, lr=0.02, schedule=FIVE, epochs=4, **options)
    second = fastgd.fit(X5, Y5, lr=0.02, schedule=FIVE, epochs=6, state=first.state, **options)
    assert np.array_equal(whole.history.w, np.concatenate([first.history.w, second.history.w[:, 1:]], axis=1))
    assert same_bits(whole.state.products, second.state.products)
    for k, spec in enumerate(GIVEN):
        given = {} if spec and sets_rates(spec) else {"lr": 0.02}
        alone = fastgd.fit(X5[k], Y5[k], schedule=FIVE[k], epochs=10, **given, **options)
        assert np.array_equal(alone.history.w, whole.history.w[k])


def test_packs_of_many_fits_with_tol_and_limits():
    """Fits that converge, that overflow, and that do neither, each against itself alone."""
    rng = np.random.default_rng(3)
    X, Y = rng.normal(size=(70, 30, 2)), rng.normal(size=(70, 30))
    X[7] *= 1e25
    X[::3] *= 1e-3
    for rule, dtype in itertools.product(("sgd", "adam"), ("float32", "float64")):
        options = {"schedule": schedules.CyclicLR(0.001, 0.3, step_size_up=4), "epochs": 40, "tol": 0.3, "optimizer": rule, "dtype": dtype}
        whole = fastgd.fit(X, Y, history=True, **options)
        assert {fastgd.Status.CONVERGED, fastgd.Status.COMPLETED} <= set(whole.status.tolist())
        for k in (0, 7, 31, 32, 69):
            alone = fastgd.fit(X[k], Y[k], history=True, **options)
            assert same_bits(alone.history.w, whole.history.w[k])
            assert same_bits(alone.state.products, whole.state.products[k])


@pytest.mark.parametrize("rule", ["sgd", "adam", "nadam", "rmsprop"])
def test_cuda_kernels_move_momentum(rule, cuda_backend):
    """By == with the CPU's: `descend`, `descend_any`, `stream`, mini-batches, and from Moments."""
    options = {"lr": 0.02, "schedule": FIVE, "optimizer": rule, "history": True}
    wide = np.concatenate([X5] * 7, axis=2) if rule == "adam" else X5
    for X, way in (
        (X5, {"algorithm": "moments"}),
        (X5, {"algorithm": "stream"}),
        (X5, {"batch_size": 2}),
        (wide, {"algorithm": "moments"}),
    ):
        host = fastgd.fit(X, Y5, epochs=6, **way, **options)
        device = fastgd.fit(X, Y5, epochs=6, backend=cuda_backend, **way, **options)
        assert np.array_equal(host.history.w, device.history.w), way
        assert same_bits(host.state.products, device.state.products), way
    first = fastgd.fit(X5, Y5, epochs=2, backend=cuda_backend, **options)
    of_moments = fastgd.fit(fastgd.compress(X5, Y5), None, epochs=6, backend=cuda_backend, **options)
    assert np.array_equal(of_moments.history.w, fastgd.fit(X5, Y5, epochs=6, algorithm="moments", **options).history.w)
    on = fastgd.fit(X5, Y5, epochs=4, state=first.state, backend=cuda_backend, **options)
    assert np.array_equal(on.w, fastgd.fit(X5, Y5, epochs=6, **options).w)


def test_a_schedule_for_each_cell_of_a_sweep():
    grid = {"schedule": [ours(MOVING["one cycle"]), ours(MOVING["cyclic"])], "momentum": [0.0, 0.9]}
    swept = fastgd.sweep(X5[0], Y5[0], grid=grid, epochs=8)
    for i, j in np.ndindex(2, 2):  # the momentum of a cell is that of its schedule
        alone = fastgd.fit(X5[0], Y5[0], schedule=grid["schedule"][i], epochs=8)
        assert swept.loss[i, j] == alone.loss


def test_validation_data_go_on_in_blocks_with_the_schedule():
    options = {"schedule": ours(MOVING["one cycle"]), "optimizer": "adam"}
    blocks = fastgd.fit(X5, Y5, epochs=40, X_val=X5, y_val=Y5, **options)
    assert np.array_equal(blocks.w, fastgd.fit(X5, Y5, epochs=40, **options).w)


def history(make, epochs=20, **options):
    """w of a loop as torch users write it."""
    import torch

    data, target = torch.tensor(X5[0]), torch.tensor(Y5[0])
    w = torch.nn.Parameter(torch.zeros(data.shape[1], dtype=data.dtype))
    own = make([w])
    scheduler, rows = torch.optim.lr_scheduler.OneCycleLR(own, 0.05, total_steps=30, **options), [np.zeros(len(w))]
    for _ in range(epochs):
        own.zero_grad()
        ((data @ w - target) ** 2).mean().backward()
        own.step()
        scheduler.step()
        rows.append(w.detach().numpy().copy())
    return np.array(rows)


@pytest.mark.share(3)
@pytest.mark.parametrize("rule", ["SGD", "Adam", "NAdam"])
def test_verify_knows_the_momentum_of_each_epoch(rule, torch):
    given = {"optimizer": getattr(fastgd, rule)(), "schedule": schedules.OneCycleLR(0.05, 30), "epochs": 20}
    make = getattr(torch.optim, rule)
    assert fastgd.verify(history(make), X5[0], Y5[0], **given).ok
    found = fastgd.verify(history(make, cycle_momentum=False), X5[0], Y5[0], **given)
    assert found.diagnosis.code == "rule_constants"
    assert "in every epoch: the schedule should move it" in str(found)
    with pytest.raises(ValueError, match="a schedule that moves momentum is not judged"):
        fastgd.verify(history(make), X5[0], Y5[0], batch_size=2, **given)


def test_verify_follows_nesterov_on_a_schedule(torch):
    """The step before had another rate."""
    rows = history(lambda parameters: torch.optim.SGD(parameters, momentum=0.5, nesterov=True), cycle_momentum=False)
    schedule = schedules.OneCycleLR(0.05, 30, cycle_momentum=False)
    assert fastgd.verify(rows, X5[0], Y5[0], epochs=20, optimizer=fastgd.SGD(momentum=0.5, nesterov=True), schedule=schedule).ok


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ("OneCycleLR moves momentum, or beta1, and Adagrad has neither: give cycle_momentum=False", {"optimizer": "adagrad"}),
        ("SequentialLR moves momentum, or beta1, and Adadelta has neither",
         {"optimizer": "adadelta", "lr": 1.0, "schedule": ours(MOVING["warm-up, one cycle"])}),
        ("OneCycleLR makes beta1 1.5 in epoch 0; it must be below 1",
         {"optimizer": "adam", "schedule": schedules.OneCycleLR(0.1, 10, max_momentum=1.5)}),
        ("CyclicLR makes momentum -0.1 in epoch 2; it must be at least 0",
         {"schedule": schedules.CyclicLR(0.1, 1.0, 2, base_momentum=0.0, max_momentum=0.1, scale_fn=lambda cycle: 2.0)}),
    ],
)  # fmt: skip
def test_what_is_refused(no_work, words, options):
    refused(ValueError, words, x, y, **{"epochs": 5, "schedule": ours(MOVING["one cycle"]), **options})
