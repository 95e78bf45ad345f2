"""The maker of results: from the arrays that the kernels wrote to the caller's shapes, without a
change of a number."""

from __future__ import annotations

import numpy as np
import pytest

import fastgd
from fastgd import Status
from fastgd.results.building import Provenance, build
from fastgd.running.run import run
from tests.support.fit_results import same, same_result
from tests.support.jobs import job_of, numbers


def test_words_are_handed_on():
    job = job_of([1.0, 2.0, 3.0], [2.0, 4.0, 6.0], epochs=2)
    run(job)
    result = build(job.buffers, Provenance("here", "somehow", "because"))
    assert (result.backend, result.algorithm, result.explanation) == ("here", "somehow", "because")


def test_one_fit_has_numbers_and_a_status():
    job = job_of(numbers(9, 2), numbers(9), epochs=3, intercept=True)
    run(job)
    result = build(job.buffers, job.provenance)
    assert result.status is Status.COMPLETED
    assert (np.shape(result.loss), result.w.shape, np.shape(result.intercept)) == ((), (2,), ())
    assert result.history is None
    assert same_result(result, fastgd.fit(numbers(9, 2), numbers(9), epochs=3, intercept=True))


@pytest.mark.parametrize(("history", "epochs", "rows"), [(True, 3, [0, 1, 2, 3]), (2, 5, [0, 2, 4, 5]), (9, 4, [0, 4]), (1, 0, [0])])
def test_which_epochs_the_history_has(history, epochs, rows):
    job = job_of([1.0, 2.0, 3.0], [2.0, 4.0, 6.0], epochs=epochs, history=history)
    run(job)
    found = build(job.buffers, job.provenance).history
    assert found.epoch.tolist() == rows
    assert found.w.shape == found.loss.shape == (len(rows),)


def test_fits_stand_where_the_caller_has_them():
    """They are computed in another order: those that share their data together."""
    X, y, lr = numbers(4, 9, 2), numbers(3, 1, 9), np.array([0.01, 0.02, 0.03, 0.04])
    job = job_of(X, y, lr=lr, epochs=3)
    assert not job.order.natural or job.order.n_cells == 1
    run(job)
    result = build(job.buffers, job.provenance)
    for j, k in np.ndindex(3, 4):
        alone = fastgd.fit(X[k], y[j, 0], lr=lr[k], epochs=3)
        assert same(result.w[j, k], alone.w)
        assert result.loss[j, k] == alone.loss


def test_the_callers_arrays_are_handed_back():
    w, status = np.empty((4, 2)), np.empty(4, np.int8)
    job = job_of(numbers(4, 9, 2), numbers(4, 9), epochs=2, out={"w": w, "status": status})
    run(job)
    result = build(job.buffers, job.provenance)
    assert result.w is w
    assert result.status is status
    assert same(w, fastgd.fit(numbers(4, 9, 2), numbers(4, 9), epochs=2).w)
