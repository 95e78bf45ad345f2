"""The attack of random calls finds nothing, and finds planted faults."""

from __future__ import annotations

import dataclasses
import warnings

import numpy as np
import pytest

from fastgd import fitting
from fastgd.results.status import Status
from tests import grids
from tests.campaign import calls
from tests.campaign.calls import ATTACK
from tests.campaign.trying import find_planted, run_for_a_moment


def test_nothing_is_found(tmp_path):
    run_for_a_moment(ATTACK, tmp_path)


def scaled(name, factor):
    """A result without a history, whose `name` is a little too large."""

    def change(result):
        return dataclasses.replace(result, history=None, **{name: getattr(result, name) * factor})

    return change


def wrong_state(result):
    return dataclasses.replace(result, state=dataclasses.replace(result.state, w=result.state.w * (1 + 1e-5)))


def raising(result):
    raise KeyError("lr")


def warning(result):
    warnings.warn("careful", stacklevel=1)
    return result


def taking_all_memory(result):
    np.ones(2**40)
    return result


def seeding(result):
    np.random.seed(1)  # noqa: NPY002 - it is what must be found
    return result


def told_errors(result):
    np.seterr(over="raise")
    return result


def all_completed(result):
    return dataclasses.replace(result, status=np.full(np.shape(result.status), Status.COMPLETED, np.int8)[()])


PLANTED = {
    "a loss that is wrong": (scaled("loss", 1 + 1e-4), {"wrong loss"}),
    "an epoch that is wrong": (wrong_state, {"wrong step"}),
    "samples that were not used": (scaled("n_used", 2), {"untrue result"}),
    "a status that is wrong": (all_completed, {"untrue result"}),
    "an exception": (raising, {"internal exception"}),
    "memory that there is not": (taking_all_memory, {"internal exception"}),
    "a warning": (warning, {"warning"}),
    "random numbers that change": (seeding, {"changed surroundings"}),
    "NumPy's error state that changes": (told_errors, {"changed surroundings"}),
}


OFTEN = ("a loss that is wrong", "an exception", "a warning", "NumPy's error state that changes")


@pytest.mark.parametrize("fault", grids.share("faults planted before calls", list(PLANTED), OFTEN))
def test_a_planted_fault_is_found(fault, tmp_path, monkeypatch):
    change, kinds = PLANTED[fault]
    build = fitting.build
    monkeypatch.setattr(fitting, "build", lambda *arguments: change(build(*arguments)))
    with np.errstate():
        assert find_planted(ATTACK, tmp_path) & kinds


def test_an_input_that_changes_is_found(tmp_path, monkeypatch):
    prepare = fitting.prepare

    def spoil(arguments):
        if isinstance(arguments["X"], np.ndarray) and arguments["X"].dtype.kind == "f" and arguments["X"].flags.writeable:
            arguments["X"][...] += 1
        return prepare(arguments)

    monkeypatch.setattr(fitting, "prepare", spoil)
    assert find_planted(ATTACK, tmp_path) == {"modified input"}


def test_a_failure_is_made_smaller(monkeypatch):
    """The arguments go that the failure does not need."""

    def check(function, given, right, seed):
        return None, [("wrong w", "")] if "tol" in given else []

    monkeypatch.setattr(calls, "check", check)
    given = {"X": "[1]", "y": "[2]", "lr": "0.1", "tol": "0.5", "history": "True"}
    assert calls.smaller("fastgd.fit", given, "wrong w", True, 1) == {"X": "[1]", "y": "[2]", "tol": "0.5"}
