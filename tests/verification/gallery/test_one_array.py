"""Rows of w that are all one and the same: references to one array, or a w that stays."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import fastgd
from tests.verification.gallery.showing import LR
from tests.verification.gallery.test_torch import DATA, TARGET, linear, of_torch, watched


def rows_of_one_array(start=(0.0, 0.0), epochs=15):
    """The weights after each update, as the same tensor, and the losses before it."""
    w, rows, losses = torch.tensor(start, requires_grad=True), [], []
    rows.append(w.detach())
    for _ in range(epochs):
        loss = ((DATA @ w - TARGET) ** 2).mean()
        loss.backward()
        losses.append(loss.item())
        with torch.no_grad():
            w -= LR * w.grad
        w.grad = None
        rows.append(w.detach())
    return rows, losses


FORMS = {
    "a list of w.detach()": lambda rows: rows,
    "torch.stack": torch.stack,
    "np.array": lambda rows: np.array([row.numpy() for row in rows]),
    "dicts": lambda rows: [{"weight": row} for row in rows],
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("start", [(0.0, 0.0), (0.5, -0.25)])
def test_rows_that_are_one_array(form, start):
    rows, losses = rows_of_one_array(start)
    given = FORMS[form](rows)
    reports = [fastgd.verify((given, losses), DATA, TARGET, lr=LR, **asked) for asked in ({}, {"w0": start}, {"epochs": 15})]
    for report in reports:
        assert report.diagnosis.code == "rows_are_one_array", str(report)
        assert "parameter_not_updated" not in str(report)
    if not isinstance(given, list):
        assert fastgd.diagnose(DATA, TARGET, given, losses, lr=LR).code == "rows_are_one_array"


def test_rows_that_are_one_array_without_losses_or_with_those_of_the_rows():
    rows, losses = rows_of_one_array()
    same = [losses[-1]] * len(rows)
    at_the_rows = [float(((DATA @ row - TARGET) ** 2).mean()) for row in rows]
    for given in (torch.stack(rows), (torch.stack(rows), at_the_rows), rows, (rows, at_the_rows)):
        report = fastgd.verify(given, DATA, TARGET, lr=LR)
        assert report.diagnosis.code == "rows_are_one_array", str(report)  # where the descent from zeros ends
    rows, losses = rows_of_one_array((0.5, -0.25))
    at_the_rows = [float(((DATA @ row - TARGET) ** 2).mean()) for row in rows]
    for given in (torch.stack(rows), (torch.stack(rows), at_the_rows)):
        found = fastgd.verify(given, DATA, TARGET, lr=LR).diagnosis
        assert (found.code, found.also_possible) == ("unknown", ("rows_are_one_array", "parameter_not_updated")), str(found)
    assert fastgd.diagnose(DATA, TARGET, rows, lr=LR).code == "rows_are_one_array"  # a list that holds it
    assert "parameter_not_updated" not in str(fastgd.verify((torch.stack(rows), same[:0] + losses[::-1]), DATA, TARGET, lr=LR))


def test_losses_that_change_beside_rows_that_do_not():
    noise = np.random.default_rng(1).standard_normal(16) ** 2
    start = np.tile([0.5, -0.25], (16, 1)).astype(np.float32)
    for given in (start, np.zeros_like(start)):
        found = fastgd.verify((given, noise), DATA, TARGET, lr=LR).diagnosis
        assert found.codes == ("unknown",), str(found)
        assert "the losses change: what was recorded is not the w that descends" in found.sentence
        assert "parameter_not_updated" not in found.also_possible
    total = np.cumsum([float(((DATA @ torch.tensor(row) - TARGET) ** 2).mean()) for row in start])
    found = fastgd.verify((start, total), DATA, TARGET, lr=LR, w0=[0.5, -0.25], dtype="float32").diagnosis
    assert found.codes == ("parameter_not_updated", "loss_cumulative"), str(found)


def test_states_of_a_module_that_are_not_copied():
    model = linear()
    optimizer = torch.optim.SGD(model.parameters(), lr=LR)
    states, losses = [model.state_dict()], []
    watched(model, optimizer, after=lambda loss: (states.append(model.state_dict()), losses.append(loss.item())))
    for given in (states, states[:4]):  # few losses tell little: that the tensors are the same does
        assert of_torch((given, losses[: len(given) - 1]), lr=LR).diagnosis.code == "rows_are_one_array"
    copies = [{name: value.clone() for name, value in state.items()} for state in states]
    assert of_torch((copies, losses), lr=LR).diagnosis.code == "rows_are_one_array"


def test_a_w_that_stays_where_it_was_copied():
    model = linear()
    optimizer = torch.optim.SGD(model.parameters(), lr=LR)
    with fastgd.Recorder().watch(optimizer) as record:
        for _ in range(9):
            loss = torch.nn.functional.mse_loss(model(DATA)[:, 0], TARGET)
            loss.backward()
            optimizer.zero_grad()
            record(loss=loss)
            optimizer.step()
    assert of_torch(record, lr=LR).diagnosis.codes == ("parameter_not_updated",)
