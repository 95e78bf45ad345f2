"""The maker of chunks: rates, hyperparameters and fates of the fits of a piece of work."""

from __future__ import annotations

import numpy as np
import pytest

from fastgd import SGD
from fastgd.kernels.chunk import COMPLETED, INVALID_DATA, MOMENTS, STREAM, TOO_FEW_SAMPLES
from fastgd.planning.backends import BACKENDS
from fastgd.running.chunks import finish_chunk, make_chunk, set_fates, set_safe_rates
from fastgd.running.groups import gather_group
from tests.support.jobs import job_of, numbers


def chunk_of(job, first=0, stop=None):
    """The chunk of some fits, which have their data to themselves."""
    job.buffers.allocate(tightly=False)
    stop = job.order.n_fits if stop is None else stop
    return make_chunk(job, gather_group(job.problem, job.order, first, stop).samples, first, stop)


def test_fits_have_their_own_rates_and_starts():
    w0 = numbers(5, 2)
    job = job_of(numbers(5, 9, 2), numbers(5, 9), lr=np.arange(1, 6) / 8, w0=w0)
    chunk = chunk_of(job, 1, 4)
    assert chunk.lr.tolist() == [[0.25, 0.375, 0.5]]
    assert chunk.w.tolist() == w0[1:4].tolist()
    assert chunk.n_used.tolist() == [9, 9, 9]
    assert chunk.status.tolist() == [COMPLETED] * 3
    assert chunk.algorithm.tolist() == [MOMENTS] * 3


def test_hyperparameters_are_one_row_or_one_for_each_fit():
    data = numbers(3, 9, 2), numbers(3, 9)
    one, many = (chunk_of(job_of(*data, optimizer=SGD(momentum=momentum))) for momentum in (0.5, [0.5, 0.25, 0.75]))
    place = list(one.rule.hyperparameters).index("momentum")
    assert one.hyper.strides[0] == 0
    assert one.hyper[:, place].tolist() == [0.5] * 3
    assert many.hyper[:, place].tolist() == [0.5, 0.25, 0.75]
    assert one.hyper.shape == many.hyper.shape


def test_fates():
    """Few samples stream where the algorithm was left to us; invalid data stream on the CPU; too
    few samples win over both."""
    job = job_of(numbers(4, 9, 2), numbers(4, 9), nan_policy="omit", min_samples=3)
    chunk = chunk_of(job)
    chunk.n_used[:] = 9, 4, 2, 9
    set_fates(job, chunk, np.array([False, False, True, True]))
    assert chunk.status.tolist() == [COMPLETED, COMPLETED, TOO_FEW_SAMPLES, INVALID_DATA]
    assert chunk.algorithm.tolist() == [MOMENTS, STREAM, STREAM, STREAM]


@pytest.mark.parametrize("options", [{"algorithm": "moments"}, {"nan_policy": "raise"}])
def test_fits_keep_their_algorithm(options):
    job = job_of(numbers(2, 9, 2), numbers(2, 9), **{"nan_policy": "omit", **options})
    chunk = chunk_of(job)
    chunk.n_used[:] = 4
    set_fates(job, chunk, np.zeros(2, bool))
    assert chunk.algorithm.tolist() == [MOMENTS, MOMENTS]


def test_invalid_data_of_a_reference_keep_its_only_algorithm():
    job = job_of(numbers(2, 9, 2), numbers(2, 9), backend="numpy")
    chunk = chunk_of(job)
    before = chunk.algorithm.tolist()
    set_fates(job, chunk, np.array([True, False]))
    assert chunk.status.tolist() == [INVALID_DATA, COMPLETED]
    assert chunk.algorithm.tolist() == before == [BACKENDS["numpy"].codes[0]] * 2


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_safe_rates(dtype):
    """1/(curvature + weight_decay); 0 where nothing bends; no larger than the dtype of the data
    holds."""
    job = job_of(numbers(4, 9, 2, dtype=dtype), numbers(4, 9, dtype=dtype), optimizer=SGD(weight_decay=[0.0, 0.5, 0.0, 0.0]))
    chunk = chunk_of(job)
    set_safe_rates(chunk, np.array([4.0, 1.5, 0.0, 5e-324]))
    assert chunk.lr[0].tolist() == [0.25, 0.5, 0.0, float(np.finfo(dtype).max)]


def test_too_few_samples_are_nan_everywhere():
    job = job_of(numbers(2, 9, 2), numbers(2, 9), history=True, epochs=3)
    chunk = chunk_of(job)
    for values in (chunk.w_out, chunk.loss, chunk.history_w, chunk.history_loss, chunk.w, chunk.slots, chunk.epochs_run):
        values[...] = 1
    chunk.status[1] = TOO_FEW_SAMPLES
    finish_chunk(job, 0, 2, chunk)
    for values in (chunk.w_out, chunk.loss, chunk.history_w, chunk.history_loss, chunk.w, chunk.slots):
        assert (values[0] == 1).all()
        assert np.isnan(values[1]).all()
    assert chunk.epochs_run.tolist() == [1, 0]


def test_a_chunk_writes_into_the_buffers():
    job = job_of(numbers(5, 9, 2), numbers(5, 9), lr=0.1)
    chunk = chunk_of(job, 1, 4)
    chunk.w_out[...] = 7
    assert (job.buffers.whole("w_out")[1:4] == 7).all()
