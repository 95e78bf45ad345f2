"""Schedules of the learning rate, as causes."""

from __future__ import annotations

import numpy as np
import pytest

import fastgd
from fastgd.verification.causes.schedule import _geometric
from tests.support import planted_descents as plants
from tests.support.planted_cases import make_case


@pytest.mark.parametrize("ratio", [0.9, -2.0])
def test_a_geometric_row_is_told_from_its_errors(ratio):
    """Moved by all of the errors, one way or the other, there still is one ratio; beyond them there
    is none."""
    rng = np.random.default_rng(4)
    true = 3 * ratio ** np.arange(7.0)
    errors = 1e-3 * rng.uniform(0.1, 1, 7) * abs(true)
    for signs in rng.choice([-1, 1], (100, 7)):
        assert _geometric(true + 0.999 * signs * errors, errors)
    for i in range(1, 6):
        for side in (-1, 1):  # 3 e_i: beyond its own error by more than what those of its neighbours allow
            moved = true.copy()
            moved[i] += side * 3 * abs(true[i]) * (errors / abs(true)).max()
            assert not _geometric(moved, errors)
    assert _geometric(true, 0 * errors) == (ratio == -2.0)  # without errors only what is exact
    assert not _geometric(abs(true) * [1, 1, 1, 1, 1, 1, -1], errors)
    assert _geometric([1.0, 5.0, 30.0], [2.0, 1.0, 1.0])  # hardly anything is known of the first


def test_a_schedule_that_was_meant():
    rng = np.random.default_rng(3)
    case = make_case(rng, "float64", kind="normal", least_d=2)
    planted = plants.run(case, rate=lambda t: 0.9**t)
    schedule = case.lr * 0.9 ** np.arange(case.epochs)
    given = {"intercept": case.intercept}
    assert fastgd.diagnose(case.X, case.y, planted.w, planted.loss, lr=schedule, **given).ok
    diagnosis = fastgd.diagnose(case.X, case.y, planted.w, planted.loss, lr=case.lr, **given)
    assert diagnosis.code == "lr_schedule"
    assert "times 0.9 per epoch" in diagnosis.sentence


@pytest.mark.parametrize("count", [2, 4])
def test_rates_of_other_epochs_are_refused(count):
    """One rate is needed, or one for each epoch."""
    w = np.zeros((4, 1))
    fastgd.diagnose([1.0, 2.0], [1.0, 2.0], w, lr=[0.1] * 3)
    with pytest.raises(ValueError, match="lr must be a number, or one per epoch"):
        fastgd.diagnose([1.0, 2.0], [1.0, 2.0], w, lr=np.full(count, 0.1))


RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(30, 2)), RNG.normal(size=30)
STEPS = fastgd.schedules.StepLR(4, 0.5)


def torchs_loop(torch, kind, momentum=0.0):
    """w of 20 epochs as torch users write them, where the scheduler is stepped at other times."""
    w = torch.nn.Parameter(torch.zeros(2, dtype=torch.float64))
    optimizer = torch.optim.SGD([w], lr=0.1, momentum=momentum)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 4, 0.5)
    rows = [w.detach().numpy().copy()]
    optimizer.step()  # without gradients: it changes nothing, and torch does not warn
    if kind == "early":
        scheduler.step()
    for epoch in range(20):
        optimizer.zero_grad()
        residual = torch.tensor(X) @ w - torch.tensor(Y)
        (residual * residual).mean().backward()
        optimizer.step()
        if kind != "unused" and not (kind == "late" and epoch == 0):
            scheduler.step()
        rows.append(w.detach().numpy().copy())
    return np.array(rows)


@pytest.mark.parametrize("momentum", [0.0, 0.5])
@pytest.mark.parametrize("kind", ["right", "early", "late", "unused"])
def test_a_schedule_that_is_stepped_at_other_times_is_named(kind, momentum, torch):
    rows, rule = torchs_loop(torch, kind, momentum), fastgd.SGD(momentum=momentum)
    diagnosis = fastgd.diagnose(X, Y, rows, lr=0.1, schedule=STEPS, optimizer=rule)
    assert diagnosis.code == ("ok" if kind == "right" else f"schedule_{kind}")
    report = fastgd.verify(rows, X, Y, lr=0.1, schedule=STEPS, optimizer=rule)
    assert report.ok == (kind == "right")
    if kind != "right":
        assert report.diagnosis.code == f"schedule_{kind}"


def test_candidates_on_a_schedule(torch):
    """Backends, functions and torch's modules; the rates of an array too."""
    fine = {"epochs": 20, "lr": 0.1, "schedule": STEPS}
    assert fastgd.verify(["cpu", "numpy", "torch"], X, Y, **fine).ok
    assert fastgd.verify(["cpu", "torch"], X, Y, schedule=fastgd.schedules.ExponentialLR(0.5), epochs=20).ok
    assert fastgd.verify(["cpu", "numpy"], X, Y, schedule=0.1 * 0.9 ** np.arange(20), epochs=20).ok

    def step(w, X, y, lr):
        return w - lr * 2 / len(y) * X.T @ (X @ w - y)

    def train(X, y, lr, epochs, w0):
        rows = [w0]
        for epoch in range(epochs):
            rows.append(step(rows[-1], X, y, lr * 0.5 ** (epoch // 4)))
        return np.array(rows)

    assert fastgd.testing.assert_agrees(step, X, Y, **fine).ok
    assert fastgd.verify(train, X, Y, **fine).ok
    module = torch.nn.Linear(2, 1, bias=False).double()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    assert fastgd.verify((module, optimizer, torch.optim.lr_scheduler.StepLR(optimizer, 4, 0.5)), X, Y, **fine).ok
    for name, given in (("LinearLR", {}), ("OneCycleLR", {"max_lr": 0.1, "total_steps": 20, "cycle_momentum": False})):
        module = torch.nn.Linear(2, 1, bias=False).double()
        optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
        trained = module, optimizer, getattr(torch.optim.lr_scheduler, name)(optimizer, **given)
        assert fastgd.verify(trained, X, Y, epochs=20, schedule=getattr(fastgd.schedules, name)(**given)).ok
    result = fastgd.fit(X, Y, lr=0.1, schedule=STEPS, epochs=20, history=True)
    assert fastgd.verify(result, X, Y, lr=0.1, schedule=STEPS).ok
    assert not fastgd.verify(result, X, Y, lr=0.1).ok


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ("schedule must be one for all fits here", {"lr": 0.1, "schedule": [STEPS, None]}),
        ("lr must be a number beside a schedule", {"lr": [0.1, 0.2], "schedule": STEPS}),
        ("sets the learning rates itself: leave lr out", {"lr": 0.1, "schedule": [0.1, 0.2]}),
    ],
)
def test_what_is_refused_beside_a_schedule(words, options):
    with pytest.raises(ValueError, match=words):
        fastgd.diagnose(X, Y, np.zeros((3, 2)), **options)


def test_a_rate_for_each_epoch_and_a_start_that_is_not_recorded():
    """The start is put before the rows: then there is a step more than there are rates."""
    rates = 0.1 * 0.9 ** np.arange(8)
    rows = fastgd.fit(X, Y, schedule=rates, epochs=8, history=True).history.w
    assert fastgd.diagnose(X, Y, rows[1:], lr=rates[:7], w0=[0.0, 0.0]).code == "recorded_after_update"
