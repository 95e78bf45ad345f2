"""Programs of torch users, as readers wrote them without the documentation."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

import fastgd
from tests.verification.gallery.showing import LR, X, Y, agrees, judged, named

LEARNING = torch.optim.lr_scheduler
DATA, TARGET = torch.tensor(X, dtype=torch.float32), torch.tensor(Y, dtype=torch.float32)


def linear():
    torch.manual_seed(0)
    return torch.nn.Linear(2, 1)


def watched(model, optimizer, epochs=20, data=DATA, after=lambda loss: None, record=None, loss_of=torch.nn.functional.mse_loss):
    """A Recorder that watched a loop."""
    with (fastgd.Recorder() if record is None else record).watch(optimizer) as record:
        for _ in range(epochs):
            loss = loss_of(model(data).reshape(-1), TARGET)
            optimizer.zero_grad()
            loss.backward()
            record(loss=loss)
            optimizer.step()
            after(loss)
    return record


def of_torch(candidate, **asked):
    return fastgd.verify(candidate, DATA, TARGET, **{"intercept": True, **asked})


# ---- schedulers, groups, frozen parameters

MOVING = {
    "OneCycleLR": lambda optimizer: LEARNING.OneCycleLR(optimizer, max_lr=0.1, total_steps=30),
    "CyclicLR": lambda optimizer: LEARNING.CyclicLR(optimizer, 0.01, 0.1, step_size_up=7),
}
RULES = {
    "SGD": lambda parameters: torch.optim.SGD(parameters, lr=0.02, momentum=0.8),
    "Nesterov": lambda parameters: torch.optim.SGD(parameters, lr=0.02, momentum=0.8, nesterov=True, weight_decay=0.1),
    "Adam": lambda parameters: torch.optim.Adam(parameters, lr=0.02),
    "AdamW": lambda parameters: torch.optim.AdamW(parameters, lr=0.02),
}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("moving", MOVING)
def test_a_scheduler_that_moves_momentum(rule, moving):
    for recorded in (False, True):
        model = linear()
        optimizer = RULES[rule](model.parameters())
        scheduler = MOVING[moving](optimizer)
        if recorded:
            report = of_torch(watched(model, optimizer, after=lambda loss, on=scheduler: on.step()), optimizer=optimizer)
        else:
            report = of_torch((model, optimizer, scheduler), epochs=20)
        agrees(report)
        assert "the momentum of each epoch is that" in str(report)


def test_a_momentum_that_moves_is_no_excuse():
    model = linear()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.8)
    scheduler = MOVING["OneCycleLR"](optimizer)
    half = watched(model, optimizer, after=lambda loss: scheduler.step(), loss_of=lambda p, y: torch.nn.functional.mse_loss(p, y) / 2)
    assert of_torch(half, optimizer=optimizer).diagnosis.codes == ("half_convention",)
    assert not of_torch(half, optimizer=fastgd.SGD(momentum=0.8), lr=0.02).ok
    with pytest.raises(ValueError, match="with batch_size and sample_weight a scheduler that moves momentum is not judged"):
        of_torch(half, optimizer=optimizer, batch_size=7)


def test_a_scheduler_that_asks_for_the_loss():
    model = linear()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    scheduler = LEARNING.ReduceLROnPlateau(optimizer, patience=0, threshold=0.2)
    with pytest.raises(ValueError, match="the rates of ReduceLROnPlateau depend on what its step is told"):
        of_torch((model, optimizer, scheduler), epochs=20)
    record = watched(model, optimizer, after=lambda loss: scheduler.step(loss.item()))
    assert optimizer.param_groups[0]["lr"] < 0.05
    report = of_torch(record, optimizer=optimizer)
    agrees(report)
    assert "the learning rates are those which the torch optimizer had" in str(report)
    assert not of_torch(record, optimizer=optimizer, lr=0.05).ok


@pytest.mark.parametrize("kind", ["SGD", "Adam", "AdamW", "RMSprop", "NAdam"])
def test_a_weight_decay_that_leaves_the_bias_alone(kind):
    for recorded in (False, True):
        model = linear()
        groups = [{"params": [model.bias], "weight_decay": 0.0}, {"params": [model.weight], "weight_decay": 0.1}]
        optimizer = getattr(torch.optim, kind)(groups, lr=0.05)
        report = of_torch(watched(model, optimizer), optimizer=optimizer) if recorded else of_torch((model, optimizer), epochs=20)
        agrees(report)
        assert "the weight decay is that of the groups of the torch optimizer, 0.1, 0.1, 0" in str(report)
    record = watched(model, optimizer)
    assert not of_torch(record, lr=0.05, optimizer=getattr(fastgd, kind)(weight_decay=0.1)).ok
    with pytest.raises(ValueError, match=r"different weight_decay: one value is judged here; fastgd\.Recorder"):
        of_torch(record.arrays(intercept=True), optimizer=optimizer)


def test_frozen_parameters():
    for kind in ("SGD", "Adam"):
        for what, code in (("bias", "intercept_not_updated"), ("weight", "parameter_not_updated")):
            model = linear()
            getattr(model, what).requires_grad_(False)
            optimizer = getattr(torch.optim, kind)(model.parameters(), lr=0.05)
            report = of_torch((model, optimizer), epochs=20)
            assert report.diagnosis.codes == (code,), str(report)
            assert f"requires_grad is False of {what}" in str(report)
            assert not getattr(model, what).requires_grad
    model = linear().requires_grad_(False)
    report = of_torch((model, torch.optim.SGD(model.parameters(), lr=0.05)), epochs=20)
    assert report.diagnosis.code == "parameter_not_updated", str(report)
    model = linear()
    report = of_torch((model, torch.optim.Adam([model.weight], lr=0.05)), epochs=20)
    assert report.diagnosis.codes == ("intercept_not_updated",), str(report)


# ---- a Recorder that watches


class Line(torch.nn.Module):
    """Two numbers, in the order of their names."""

    def __init__(self, names):
        super().__init__()
        self.names = names
        for name in names:
            setattr(self, name, torch.nn.Parameter(torch.zeros(())))

    def forward(self, x):
        slope, start = (next(name for name in self.names if name in among) for among in (("w", "u"), ("b", "v")))
        return getattr(self, slope) * x + getattr(self, start)


@pytest.mark.parametrize("names", ["wb", "bw", "uv", "vu"])
@pytest.mark.parametrize("with_names", [True, False])
def test_which_of_two_numbers_is_the_intercept(names, with_names):
    x = DATA[:, 0]
    asked = {"lr": LR, "intercept": True}
    for factor, codes in ((1, None), (2, ("gradient_double_two",))):
        model = Line(names)
        optimizer = torch.optim.SGD(model.named_parameters() if with_names else model.parameters(), lr=LR * factor)
        report = fastgd.verify(watched(model, optimizer, data=x), x, TARGET, **asked)
        assert (None if report.ok else report.diagnosis.codes) == codes, str(report)
        guessed = "do not say which is the intercept" in str(report)
        assert guessed == (not with_names or names in ("uv", "vu"))
        which = "the first one that is declared" if names in ("bw", "vu") else "the second one, as they are declared"
        assert not guessed or f"read as {which}" in str(report)
        assert "is not recorded" not in str(report)


def test_a_watched_run_needs_no_notes():
    model = linear()
    optimizer = torch.optim.SGD(model.parameters(), lr=LR)
    record = watched(model, optimizer, 10)
    record = watched(model, optimizer, 10, record=record)  # it goes on
    report = of_torch(record, lr=LR)
    agrees(report)
    assert report.verdicts[0].epochs == 20
    assert report.verdicts[0].notes == ("what was recorded was read as (w, b)",)


def test_the_precision_that_is_judged_is_told():
    record = watched(linear_ := linear(), torch.optim.SGD(linear_.parameters(), lr=LR))
    told = "X and y are float64, and the rows of w are float32: judged in float32"
    report = judged(record, X.astype(np.float32).astype(np.float64), Y.astype(np.float32).astype(np.float64), intercept=True, epochs=None)
    agrees(report)
    assert told in str(report)
    assert told not in str(of_torch(record, lr=LR))


# ---- what mends it


def rules_of(asked, made, **more):
    model = linear()
    return of_torch(watched(model, made(model.parameters())), lr=LR, optimizer=asked, **more).diagnosis


SGD, ADAM, ADAMW = (partial(kind, lr=LR) for kind in (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW))
FIXES = {
    "plain for Nesterov": (fastgd.SGD(momentum=0.9, nesterov=True), partial(SGD, momentum=0.9), "momentum", "nesterov = True"),
    "Nesterov for plain": (fastgd.SGD(momentum=0.9), partial(SGD, momentum=0.9, nesterov=True), "nesterov_torch", "nesterov = False"),
    "no dampening": (fastgd.SGD(momentum=0.9, dampening=0.5), partial(SGD, momentum=0.9), "momentum", "momentum = 0.9, dampening = 0.5"),
    "Adam for AdamW": (fastgd.AdamW(weight_decay=0.1), partial(ADAM, weight_decay=0.1), "weight_decay_coupled", "w = w - lr * 0.1 * w"),
    "AdamW for Adam": (fastgd.Adam(weight_decay=0.1), partial(ADAMW, weight_decay=0.1), "weight_decay_decoupled", "gradient + 0.1 * w"),
}


@pytest.mark.parametrize("case", FIXES)
def test_a_fix_is_not_what_the_program_has(case):
    asked, made, code, fix = FIXES[case]
    found = rules_of(asked, made)
    assert found.codes == (code,), str(found)
    assert fix in found.fix


def test_a_run_that_goes_on_without_its_scheduler():
    record = fastgd.Recorder()
    model = linear()
    for _ in range(2):
        optimizer = torch.optim.SGD(model.parameters(), lr=LR)
        scheduler = LEARNING.ExponentialLR(optimizer, 0.8)
        watched(model, optimizer, 10, record=record, after=lambda loss, on=scheduler: on.step())
    found = of_torch(record, lr=LR, schedule=lambda epoch: 0.8**epoch).diagnosis
    named(of_torch(record, lr=LR, schedule=lambda epoch: 0.8**epoch), "lr_schedule")
    assert "scheduler.load_state_dict" in found.fix
    assert "in every epoch" not in found.fix


def test_the_loss_with_the_weights_of_the_samples():
    weights = np.random.default_rng(2).uniform(0.1, 1, len(Y))

    def train(X, y, lr, epochs, w0):
        w, rows, losses = w0, [w0], []
        for _ in range(epochs):
            r = X @ w - y
            losses.append(np.mean(weights * r**2))
            w = w - lr * 2 / weights.sum() * X.T @ (weights * r)
            rows.append(w)
        return rows, losses

    found = judged(train, X, sample_weight=weights).diagnosis
    assert found.codes == ("loss_scaled",), str(found)
    assert found.fix == "loss = np.average(residual**2, weights=sample_weight)"
    assert "which is sample_weight.mean()" in found.sentence


# ---- losses


def summed(prediction, target):
    return torch.nn.functional.mse_loss(prediction, target, reduction="sum")


def test_the_sum_of_the_squares_as_the_loss():
    model = linear()
    record = watched(model, torch.optim.SGD(model.parameters(), lr=LR / 14), loss_of=summed)
    report = of_torch(record, lr=LR / 14, reduction="sum")
    agrees(report)
    assert "each loss is read as the sum of the squares" in str(report)
    w, losses = record.arrays(intercept=True)
    agrees(of_torch((None, losses), lr=LR / 14, reduction="sum", w0=w[0]))
    assert of_torch(record, lr=LR / 14).diagnosis.codes == ("gradient_sum", "loss_sum")
    model = linear()
    record = watched(model, torch.optim.SGD(model.parameters(), lr=LR / 14), loss_of=lambda p, y: summed(p, y) / 2)
    assert of_torch(record, lr=LR / 14, reduction="sum").diagnosis.codes == ("half_convention",)
    w, losses = record.arrays(intercept=True)
    assert of_torch((None, losses), lr=LR / 14, reduction="sum", w0=w[0]).diagnosis.codes == ("half_convention",)


def batches(loss_of, size, lr=LR, each=False):
    """Rows after each epoch of batches, and their losses: the mean of an epoch, or of each step."""
    model = linear()
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    rows, losses = [torch.cat([model.weight[0], model.bias]).detach().clone()], []
    for _ in range(6):
        of_steps = []
        for data, target in zip(DATA.split(size), TARGET.split(size), strict=True):
            loss = loss_of(model(data)[:, 0], target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            of_steps.append(loss.item())
        losses += of_steps if each else [np.mean(of_steps)]
        rows.append(torch.cat([model.weight[0], model.bias]).detach().clone())
    return torch.stack(rows), losses


def test_the_mean_of_the_losses_of_uneven_batches_is_told():
    report = of_torch(batches(torch.nn.functional.mse_loss, 4), lr=LR, batch_size=4, epochs=6)
    agrees(report)
    assert "each before its step, unweighted: the smallest batch has 2 of 4 samples, the mean of all samples is another" in str(report)
    assert "unweighted" not in str(of_torch(batches(torch.nn.functional.mse_loss, 7), lr=LR, batch_size=7, epochs=6))


def test_the_sums_of_uneven_batches():
    report = of_torch(batches(summed, 4, LR / 14, each=True), lr=LR / 14, batch_size=4, epochs=6, reduction="sum")
    agrees(report)
    assert report.tau_loss < 8


# ---- constants of the size of rounding, and states that are kept


def test_a_momentum_buffer_that_is_the_gradient_itself():
    w, buffer, rows = torch.zeros(2, requires_grad=True), None, []
    for _ in range(20):
        rows.append(w.detach().clone())
        if w.grad is not None:
            w.grad.zero_()
        ((DATA @ w - TARGET) ** 2).mean().backward()
        with torch.no_grad():
            buffer = w.grad if buffer is None else buffer.mul_(0.9).add_(w.grad)
            w -= LR * buffer
    found = fastgd.verify(torch.stack(rows), DATA, TARGET, lr=LR, optimizer=fastgd.SGD(momentum=0.9)).diagnosis
    assert not {"dampening", "momentum"} & set(found.codes), str(found)


def test_chunks_that_add_up_are_no_steps():
    model = linear()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with fastgd.Recorder().watch(optimizer) as record:
        for _ in range(20):
            optimizer.zero_grad()
            for data, target in zip(DATA.split(5), TARGET.split(5), strict=True):
                torch.nn.functional.mse_loss(model(data)[:, 0], target).backward()
            optimizer.step()
    found = of_torch(record, lr=0.01).diagnosis
    assert found.code == "unknown"
    assert "or the gradients of parts that add up" in found.sentence


def test_a_step_that_keeps_its_momentum_from_run_to_run():
    kept = {}

    def step(w, X, y, lr):
        kept["v"] = 0.9 * kept.get("v", 0) + 2 / len(y) * X.T @ (X @ w - y)
        return w - lr * kept["v"]

    report = judged(step, X, optimizer=fastgd.SGD(momentum=0.9))
    agrees(report)
    assert "it keeps something from run to run, or is not deterministic" in str(report)
