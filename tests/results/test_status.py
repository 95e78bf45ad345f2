"""A status and an array of them print as names, and are numbers in all else."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import fastgd
from fastgd import Status
from fastgd.results.status import StatusArray, named

x = np.array([1.0, 2, 3, 4])


def two() -> fastgd.FitResult:
    return fastgd.fit(x, 2 * x, lr=[0.01, 9e9], epochs=90)


def test_one_status_prints_its_name(capsys):
    print(fastgd.fit(x, 2 * x, epochs=3).status, Status.CONVERGED)
    assert capsys.readouterr().out == "COMPLETED CONVERGED\n"
    assert f"{Status.DIVERGED}, {Status.DIVERGED:>9}, {Status.DIVERGED:d}, {Status.DIVERGED:03x}" == "DIVERGED,  DIVERGED, 2, 002"
    assert repr(Status.DIVERGED) == "<Status.DIVERGED: 2>"
    assert (Status.DIVERGED == 2, Status(2), Status["DIVERGED"], int(Status.DIVERGED)) == (True, Status.DIVERGED, Status.DIVERGED, 2)
    assert "%s %d" % (Status.DIVERGED, Status.DIVERGED) == "DIVERGED 2"  # noqa: UP031


def test_an_array_of_statuses_prints_names():
    status = two().status
    assert str(status) == "[COMPLETED DIVERGED]"
    assert f"{status}" == str(status)
    assert repr(status) == "array([COMPLETED, DIVERGED], dtype=int8)"
    assert str(status[1:]) == "[DIVERGED]"
    assert str(two().state.status) == str(status)
    assert str(named(np.array([0, 7, -1], np.int8))) == "[COMPLETED 7 -1]"
    assert "..." in str(named(np.zeros(5000, np.int8)))


def test_the_statuses_that_occur_print_names():
    assert str(np.unique(two().status)) == "[COMPLETED DIVERGED]"
    found, counts = np.unique(two().status, return_counts=True)
    assert (str(found), str(counts)) == ("[COMPLETED DIVERGED]", "[1 1]")


def test_an_array_of_statuses_is_int8_to_all_others():
    status = two().status
    assert isinstance(status, np.ndarray)
    assert status.dtype == np.int8
    for plain in (status == Status.DIVERGED, status + 1, np.isin(status, [2]), np.asarray(status), status.max(), np.bincount(status)):
        assert not isinstance(plain, StatusArray)
    assert (status == Status.DIVERGED).tolist() == [False, True]
    assert str(status.astype(float)) == "[0. 2.]"
    assert np.array([1.0, 2.0])[status == Status.DIVERGED] == 2
    assert status[1] == Status.DIVERGED


def test_the_elements_of_an_array_of_statuses_are_statuses():
    status = two().status
    assert status[1] is Status.DIVERGED
    assert [str(each) for each in status] == ["COMPLETED", "DIVERGED"]
    assert status[..., 0][()] is Status.COMPLETED
    assert status.reshape(2, 1)[1, 0] is Status.DIVERGED
    assert named(np.array([7], np.int8))[0] == 7
    assert status.tolist() == [0, 2]


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda result: pickle.loads(pickle.dumps(result))])
def test_copies_print_names(again):
    assert str(again(two()).status) == "[COMPLETED DIVERGED]"


def test_a_loaded_result_prints_names(tmp_path):
    two().save(tmp_path / "two.npz")
    again = fastgd.load(tmp_path / "two.npz")
    assert (str(again.status), str(again.state.status)) == ("[COMPLETED DIVERGED]",) * 2
    assert np.load(tmp_path / "two.npz")["status"].tolist() == [0, 2]
    assert again.to_frame("polars")["status"].to_list() == ["COMPLETED", "DIVERGED"]


def test_an_array_that_was_given_is_the_result(torch):
    out = np.empty(2, np.int8)
    assert fastgd.fit(x, 2 * x, lr=[0.01, 0.02], epochs=3, out={"status": out}).status is out
    assert isinstance(fastgd.fit(torch.tensor(x), torch.tensor(x), lr=[0.01, 0.02], epochs=3).status, torch.Tensor)
