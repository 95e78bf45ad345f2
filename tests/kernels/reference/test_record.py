"""What the two references write back: rows, state, status; and that nothing but the fit itself
matters to it."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from fastgd.kernels.chunk import COMPLETED, CONVERGED, DIVERGED, INVALID_DATA
from tests.support.reference_chunks import (
    CODES,
    REFERENCES,
    SGD_OPTIONS,
    X_TUTORIAL,
    Y_TUTORIAL,
    assert_same_results,
    chunk_of,
    noisy,
    run,
    same,
    torch_loop,
)


@pytest.fixture(params=REFERENCES)
def reference(request):
    return request.param


# Rows ---------------------------------------------------------------------------------------------


def test_a_row_is_w_and_the_loss_at_this_w(reference):
    chunk = run(reference, chunk_of(X_TUTORIAL, Y_TUTORIAL, lr=0.125, epochs=2))  # w - 2 is multiplied by 1 - 15/8
    assert chunk.history_w[0, :, 0].tolist() == [0, 3.75, 0.46875]
    assert chunk.history_loss[0].tolist() == [30, 7.5 * 1.75**2, 7.5 * 1.53125**2]


@pytest.mark.parametrize("every", [0, 1, 3, 5, 10, 11])
def test_rows_are_every_so_many_epochs_and_the_last(reference, every):
    X, y = noisy(20, 2, m=2)
    whole = run(reference, chunk_of(X, y, intercept=True, momentum=0.5))
    some = run(reference, chunk_of(X, y, intercept=True, momentum=0.5, every=every))
    epochs = {0: [], 1: range(11), 3: [0, 3, 6, 9, 10], 5: [0, 5, 10], 10: [0, 10], 11: [0, 10]}[every]
    assert same(some.history_w, whole.history_w[:, list(epochs)])
    assert same(some.history_loss, whole.history_loss[:, list(epochs)])
    for chunk in (whole, some):
        assert same(chunk.w_out, whole.history_w[:, -1])
        assert same(chunk.w, chunk.w_out.astype(float))
        assert same(chunk.loss, whole.history_loss[:, -1])
        assert same(chunk.slots, whole.slots)


@pytest.mark.parametrize("every", [0, 1, 4])
def test_no_epochs_give_the_start_and_its_loss(reference, every):
    chunk = chunk_of(X_TUTORIAL, Y_TUTORIAL, epochs=0, w0=[1.0], every=every)
    chunk.lr = np.zeros((0, 1))  # a rate for each of the 0 epochs
    run(reference, chunk)
    assert (chunk.w_out.item(), chunk.loss.item(), chunk.status[0], chunk.steps[0]) == (1.0, 7.5, COMPLETED, 0)
    assert chunk.history_loss.tolist() == [[7.5] * (every > 0)]


def test_what_is_written_back(reference):
    X, y = noisy(20, 2, m=3)
    chunk = chunk_of(X, y, momentum=0.5, dtype=np.float32)
    chunk.steps[:] = 0, 5, 0
    progress = np.full(1, 1000)
    run(reference, chunk, progress=progress)
    assert chunk.algorithm.tolist() == [CODES[reference]] * 3
    assert chunk.status.tolist() == [COMPLETED] * 3
    assert chunk.epochs_run.tolist() == [10] * 3
    assert chunk.steps.tolist() == [10, 15, 10]
    assert progress.tolist() == [1030]
    assert same(chunk.slots, chunk.slots.astype(np.float32))
    assert chunk.slots.all()


def test_the_mean_and_the_sum_differ_by_n_in_the_gradient_only(reference):
    X, y = noisy(16, 2)  # 16: the factor rounds nothing
    mean = run(reference, chunk_of(X, y, lr=0.25, momentum=0.5))
    total = run(reference, chunk_of(X, y, lr=0.25 / 16, momentum=0.5, reduction="sum"))
    assert same(mean.history_w, total.history_w)
    assert same(mean.history_loss, total.history_loss)
    assert same(16 * mean.slots, total.slots)


# The state ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("options", SGD_OPTIONS, ids=str)
def test_four_epochs_and_six_more_are_ten(reference, options, dtype):
    X, y = noisy(37, 3, m=2)
    arguments = {"dtype": dtype, "intercept": True, **options}
    rates = np.linspace(0.1, 0.01, 10)[:, None] * [1.0, 0.5]
    ten = run(reference, chunk_of(X, y, lr=rates, **arguments))
    four = run(reference, chunk_of(X, y, lr=rates[:4], epochs=4, **arguments))
    six = chunk_of(X, y, lr=rates[4:], epochs=6, **arguments)
    six.w, six.slots, six.steps = four.w.copy(), four.slots.copy(), four.steps.copy()
    run(reference, six)
    assert same(np.concatenate([four.history_w, six.history_w[:, 1:]], axis=1), ten.history_w)
    assert same(np.concatenate([four.history_loss, six.history_loss[:, 1:]], axis=1), ten.history_loss)
    for name in ("w", "slots", "steps", "w_out", "loss"):
        assert same(getattr(six, name), getattr(ten, name)), name


def test_a_slot_is_read_only_when_steps_were_made(reference):
    def second_row(slot, steps):
        chunk = chunk_of(X_TUTORIAL, Y_TUTORIAL, lr=0.125, epochs=1, momentum=0.5, dampening=0.25)
        chunk.slots[:], chunk.steps[:] = slot, steps
        run(reference, chunk)
        return chunk.w_out.item(), chunk.slots.item()

    assert second_row(8.0, 0) == (3.75, -30.0)
    assert second_row(8.0, 1) == (-0.125 * (4 - 22.5), 4 - 22.5)
    assert second_row(0.0, 1) == (0.125 * 22.5, -22.5)


def test_without_momentum_the_slots_stay(reference):
    chunk = chunk_of(X_TUTORIAL, Y_TUTORIAL)
    chunk.slots[:], chunk.steps[:] = 8.0, 3
    run(reference, chunk)
    assert chunk.slots.item() == 8.0


# Stopping -----------------------------------------------------------------------------------------


def first_converged(losses, tol, least):
    """docs/arithmetic.md, section 10, on a history without stopping."""
    target = least + tol * (float(losses[0]) - least)
    return next((t for t in range(1, len(losses)) if losses[t] <= target), None)


@pytest.mark.share(3)
@pytest.mark.parametrize(("tol", "every"), [(0.0, 1), (1e-3, 0), (1e-3, 1), (1e-3, 7), (0.1, 7), (0.99, 7)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_tol_stops_where_the_target_is_met(reference, dtype, every, tol):
    X, y = noisy(30, 2, m=3)
    lr = [0.3, 0.02, 0.1]
    free = run(reference, chunk_of(X, y, lr=lr, dtype=dtype, epochs=200, intercept=True))
    progress = np.zeros(1, np.int64)
    least = 0.9 * free.history_loss.min(axis=1).astype(float)  # the record compares with what it is given
    options = {"lr": lr, "dtype": dtype, "epochs": 200, "intercept": True}
    stopped = run(reference, chunk_of(X, y, tol=tol, every=every, least=least, **options), progress=progress)
    grid = [*range(0, 200, every), 200] if every else []
    for fit in range(3):
        t = first_converged(free.history_loss[fit], tol, least[fit])
        assert (stopped.status[fit] == CONVERGED) == (t is not None)
        assert stopped.epochs_run[fit] == stopped.steps[fit] == (200 if t is None else t)
        rows = [epoch if t is None else min(epoch, t) for epoch in grid]
        assert same(stopped.history_w[fit], free.history_w[fit, rows])
        assert same(stopped.history_loss[fit], free.history_loss[fit, rows])
        assert same(stopped.w_out[fit], free.history_w[fit, 200 if t is None else t])
        assert same(stopped.loss[fit], free.history_loss[fit, 200 if t is None else t])
        assert same(stopped.w[fit], stopped.w_out[fit].astype(float))
        assert stopped.excess[fit] == dtype(float(stopped.loss[fit]) - least[fit])
        assert stopped.initial_excess[fit] == float(free.history_loss[fit, 0]) - least[fit]
    assert progress[0] == 600
    if tol == 0.99:
        assert (stopped.epochs_run == 1).all()


def test_convergence_at_the_last_epoch_counts(reference):
    chunk = run(reference, chunk_of(X_TUTORIAL, Y_TUTORIAL, lr=0.125 / 2, epochs=1, tol=0.25, least=[0.0]))
    assert (chunk.status[0], chunk.epochs_run[0]) == (CONVERGED, 1)


def test_a_rising_loss_does_not_converge(reference):
    chunk = run(reference, chunk_of(X_TUTORIAL, Y_TUTORIAL, lr=0.14, epochs=5, tol=1.0, least=[0.0]))
    assert (chunk.status[0], chunk.epochs_run[0]) == (COMPLETED, 5)


@pytest.mark.parametrize(("tol", "status", "epochs_run"), [(-1.0, COMPLETED, 10), (0.0, CONVERGED, 1)])
def test_at_loss_zero_tol_zero_stops_and_no_tol_does_not(reference, tol, status, epochs_run):
    chunk = run(reference, chunk_of(X_TUTORIAL, Y_TUTORIAL, w0=[2.0], tol=tol, least=[0.0]))
    assert (chunk.status[0], chunk.epochs_run[0], chunk.loss[0]) == (status, epochs_run, 0)


def test_a_fit_that_had_converged_stays_where_it_is(reference):
    X, y = noisy(30, 2, m=3)
    chunk = chunk_of(X, y, w0=[1.0, 2.0], momentum=0.9, tol=0.0, every=3, least=[0.0] * 3)
    chunk.status[1], chunk.slots[1], chunk.steps[1] = CONVERGED, 0.5, 42
    progress = np.zeros(1, np.int64)
    run(reference, chunk, progress=progress)
    start = run(reference, chunk_of(X, y, w0=[1.0, 2.0], epochs=0))
    assert (chunk.status[1], chunk.epochs_run[1], chunk.steps[1], progress[0]) == (CONVERGED, 0, 42, 30)
    assert chunk.slots[1].tolist() == [[0.5, 0.5]]
    assert chunk.w[1].tolist() == chunk.w_out[1].tolist() == [1.0, 2.0]
    assert chunk.history_w[1].tolist() == [[1.0, 2.0]] * 5
    assert chunk.history_loss[1].tolist() == [start.loss[1]] * 5 == [chunk.loss[1]] * 5
    assert chunk.status[[0, 2]].tolist() == [COMPLETED] * 2


# Numbers that are not finite ----------------------------------------------------------------------


def kinds(values):
    """0 finite, ±1 infinite, 2 NaN: what two implementations that overflow must have in common."""
    return np.where(np.isnan(values), 2, np.where(np.isinf(values), np.sign(values), 0))


@pytest.mark.share(3)
@pytest.mark.parametrize("lr", [0.3, 30.0])
@pytest.mark.parametrize("options", [{}, {"momentum": 0.9}, {"weight_decay": 0.5, "maximize": True}], ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_where_it_diverges_is_where_torch_does(reference, dtype, options, lr):
    epochs = 200 if dtype == np.float32 else 1000
    chunk = run(reference, chunk_of(X_TUTORIAL, Y_TUTORIAL, lr=lr, dtype=dtype, epochs=epochs, tol=0.0, least=[0.0], **options))
    torch_dtype = torch.float32 if dtype == np.float32 else torch.float64
    w, loss = torch_loop(X_TUTORIAL[0], Y_TUTORIAL[0], dtype=torch_dtype, epochs=epochs, lr=lr, **options)
    assert not np.isfinite(loss[-1])
    assert chunk.status[0] == DIVERGED
    assert chunk.epochs_run[0] == np.flatnonzero(~np.isfinite(loss) | ~np.isfinite(w).all(axis=1))[0]
    assert chunk.steps[0] == epochs
    assert same(kinds(chunk.history_w[0]), kinds(w))
    assert same(kinds(chunk.history_loss[0]), kinds(loss))


def test_a_loss_that_overflowed_is_diverged_even_if_w_comes_back(reference):
    """The square of 1e20 overflows in float32, the gradient does not. The descent goes on, and tol
    has no say any more."""
    chunk = run(reference, chunk_of(X_TUTORIAL, Y_TUTORIAL, dtype=np.float32, w0=[1e20], lr=1 / 16, epochs=500, tol=1.0, least=[0.0]))
    assert (chunk.status[0], chunk.epochs_run[0], chunk.steps[0]) == (DIVERGED, 0, 500)
    assert np.isfinite(chunk.loss[0])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["X", "y"])
def test_invalid_data_harm_only_their_fit_and_keep_their_status(reference, bad, where):
    X, y = noisy(30, 2, m=3)
    good = run(reference, chunk_of(X[[0, 2]], y[[0, 2]], intercept=True))
    (X if where == "X" else y)[1, 4] = bad
    chunk = chunk_of(X, y, intercept=True, tol=-1.0)
    chunk.status[1] = INVALID_DATA
    run(reference, chunk)
    assert (chunk.status[1], chunk.epochs_run[1], chunk.steps[1]) == (INVALID_DATA, 0, 10)
    assert not np.isfinite(chunk.loss[1])
    assert_same_results(chunk, good, [0, 2])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("column", [[0, 0, 0], [1, 0, 0], [1, -2, 3]])
def test_a_w_that_is_not_finite_shows_in_the_loss(reference, bad, column):
    """What record.py relies on."""
    X = np.array([[[a, 1.0] for a in column]])
    chunk = run(reference, chunk_of(X, np.ones((1, 3)), w0=[bad, 1.0], epochs=0))
    assert not np.isfinite(chunk.loss[0])
    assert (chunk.status[0], chunk.epochs_run[0]) == (DIVERGED, 0)


# Many fits ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_fit_has_the_same_bits_alone_and_in_a_batch(reference, dtype):
    X, y = noisy(13, 3, m=9)
    lr = np.linspace(0.01, 0.3, 9)
    batch = run(reference, chunk_of(X, y, dtype=dtype, lr=lr, intercept=True, momentum=0.5))
    for fit in range(9):
        alone = chunk_of(X[fit : fit + 1], y[fit : fit + 1], dtype=dtype, lr=lr[fit], intercept=True, momentum=0.5)
        assert_same_results(batch, run(reference, alone), [fit])


def test_fits_that_share_data_are_the_fits_of_repeated_data(reference):
    X, y = noisy(20, 2, m=2)
    y = np.vstack([y, -y])
    x_index, y_index = [1, 1, 0, 1, 0], [0, 1, 1, 3, 2]
    lr = np.array([0.1, 0.2, 0.1, 0.05, 0.3])
    shared = run(reference, chunk_of(X, y, lr=lr, x_index=x_index, y_index=y_index))
    assert_same_results(shared, run(reference, chunk_of(X[x_index], y[y_index], lr=lr)))


def test_hyperparameters_belong_to_their_fit(reference):
    X, y = noisy(20, 2)
    shared = chunk_of(X, y, x_index=[0] * len(SGD_OPTIONS), y_index=[0] * len(SGD_OPTIONS))
    shared.hyper = np.vstack([chunk_of(X, y, **options).hyper for options in SGD_OPTIONS])
    run(reference, shared)
    for fit, options in enumerate(SGD_OPTIONS):
        assert_same_results(shared, run(reference, chunk_of(X, y, **options)), [fit])


def test_a_chunk_of_no_fits(reference):
    run(reference, chunk_of(np.zeros((0, 4, 1)), np.zeros((0, 4))))


# Cancel, threads, and the caller's settings -------------------------------------------------------


class Cancelling(np.ndarray):
    """Progress that cancels the descent when it reaches `limit` epochs."""

    def __setitem__(self, key, value):
        super().__setitem__(key, value)
        if self[0] == self.limit:
            self.cancel[0] = 1


@pytest.mark.parametrize("done", [0, 13])
def test_cancel_returns_and_leaves_the_state_of_unfinished_fits(reference, done):
    X, y = noisy(20, 2, m=3)
    chunk = chunk_of(X, y, momentum=0.5, w0=[1.0, 1.0])
    cancel, progress = np.zeros(1, np.int32), np.zeros(1, np.int64).view(Cancelling)
    progress.cancel, progress.limit = cancel, done
    cancel[0] = done == 0
    run(reference, chunk, cancel, progress)
    assert progress[0] == done
    assert chunk.steps.tolist() == [10 * (done > 10), 0, 0]
    assert chunk.w[1:].tolist() == [[1.0, 1.0]] * 2
    assert not chunk.slots[1:].any()
    if done > 10:
        assert_same_results(chunk, run(reference, chunk_of(X[:1], y[:1], momentum=0.5, w0=[1.0, 1.0])), [0])


def test_two_threads_at_once(reference):
    X, y = noisy(50, 3, m=4)
    expected = run(reference, chunk_of(X, y, epochs=50))
    chunks = [chunk_of(X, y, epochs=50) for _ in range(2)]
    threads = [threading.Thread(target=run, args=(reference, chunk)) for chunk in chunks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for chunk in chunks:
        assert_same_results(expected, chunk)


@pytest.mark.parametrize(
    "context",
    [torch.no_grad, torch.inference_mode, lambda: torch.autocast("cpu", dtype=torch.bfloat16), lambda: torch.device("meta")],
    ids=["no_grad", "inference_mode", "autocast", "default device"],
)
def test_the_callers_torch_settings_neither_matter_nor_change(context):
    X, y = noisy(20, 3, m=2)
    expected = run("autograd", chunk_of(X, y, dtype=np.float32, momentum=0.5, intercept=True))
    with context():
        before = torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.get_num_threads(), torch.get_default_dtype()
        chunk = run("autograd", chunk_of(X, y, dtype=np.float32, momentum=0.5, intercept=True))
        after = torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.get_num_threads(), torch.get_default_dtype()
    assert before == after
    assert_same_results(expected, chunk)


def test_the_callers_numpy_error_state_neither_matters_nor_changes():
    with np.errstate(all="raise"):
        before = np.geterr()
        chunk = run("manual", chunk_of(X_TUTORIAL, Y_TUTORIAL, lr=30.0, epochs=500, dtype=np.float32))
        assert np.geterr() == before
    assert chunk.status[0] == DIVERGED
