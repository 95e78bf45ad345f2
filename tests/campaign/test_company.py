"""The attack on bits finds nothing, and finds a last bit that depends on the company."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import fastgd
from fastgd import fitting
from fastgd.planning import plan
from tests.campaign.company import ATTACK
from tests.campaign.trying import find_planted, run_for_a_moment


def test_nothing_is_found(tmp_path):
    run_for_a_moment(ATTACK, tmp_path)


def in_a_batch(result):
    return np.size(result.loss) > 2


def in_threads(result):
    return plan.INLINE_NS == 0


@pytest.mark.parametrize("where", [in_a_batch, in_threads])
def test_a_planted_fault_is_found(where, tmp_path, monkeypatch):
    build = fitting.build

    def change(*arguments):
        result = build(*arguments)
        return dataclasses.replace(result, w=np.nextafter(result.w, 1e9)) if where(result) else result

    monkeypatch.setattr(fitting, "build", change)
    assert find_planted(ATTACK, tmp_path) == {"other bits"}


def test_a_file_that_loses_something_is_found(tmp_path, monkeypatch):
    load = fastgd.load
    monkeypatch.setattr(fastgd, "load", lambda path: dataclasses.replace(load(path), explanation=""))
    assert find_planted(ATTACK, tmp_path) == {"other bits"}
