"""The two references with sample weights and with samples left out: exact rationals, torch as its
users write it, and the bound."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch

from fastgd.kernels.chunk import COMPLETED, TOO_FEW_SAMPLES
from fastgd.verification.bound import check_history
from fastgd.verification.oracle import exact_descent
from tests.support.reference_chunks import REFERENCES, SGD_OPTIONS, assert_same_results, chunk_of, noisy, run, same, torch_loop


@pytest.fixture(params=REFERENCES)
def reference(request):
    return request.param


def random_weights(m, n, seed=0):
    """From 1e-3 to 1e3, exact in float32."""
    return (10 ** np.random.default_rng(seed).uniform(-3, 3, (m, n))).astype(np.float32)


# Numbers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("intercept", [False, True], ids=["", "intercept"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("hyper", [{}, {"momentum": 0.5, "dampening": 0.25}, {"weight_decay": 0.125}], ids=str)
def test_where_nothing_rounds_every_epoch_is_exact(reference, hyper, reduction, intercept):
    X, y, weights = [[1, 2], [0, -1], [3, 1], [-2, 1]], [1, 2, -1, 3], [0.5, 4, 1, 2.5]  # Σω = 8
    chunk = chunk_of([X], [y], epochs=3, lr=0.125, weights=[weights], reduction=reduction, intercept=intercept, **hyper)
    run(reference, chunk)
    exact = exact_descent(
        X, y, [0] * (2 + intercept), lr=0.125, epochs=3, sample_weight=weights, reduction=reduction, intercept=intercept, hyper=hyper
    )
    for epoch in range(4):
        assert [Fraction(float(a)) for a in chunk.history_w[0, epoch]] == exact.w[epoch]
        assert Fraction(float(chunk.history_loss[0, epoch])) == exact.loss[epoch]


@pytest.mark.parametrize("intercept", [False, True], ids=["", "intercept"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("options", SGD_OPTIONS[:4], ids=str)
def test_autograd_is_the_loop_that_torch_users_write(options, dtype, reduction, intercept):
    X, y = noisy(37, 3)
    weights = random_weights(1, 37)
    lr = 0.05 if reduction == "mean" else 0.05 / float(weights.sum())
    given = {"epochs": 25, "lr": lr, "reduction": reduction, "intercept": intercept, **options}
    chunk = run("autograd", chunk_of(X, y, dtype=dtype, weights=weights, **given))
    torch_dtype = torch.float32 if dtype == np.float32 else torch.float64
    w, loss = torch_loop(X[0], y[0], dtype=torch_dtype, weights=weights[0], **given)
    assert same(chunk.history_w[0], w)
    assert same(chunk.history_loss[0], loss)


@pytest.mark.parametrize("fraction", [0.5, 1.1])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("n", "d"), [(1, 1), (3, 5), (37, 3)])
def test_every_epoch_is_within_the_bound(reference, n, d, dtype, reduction, fraction, record_tau):
    X, y = noisy(n, d)
    weights = random_weights(1, n, seed=n)
    A = np.column_stack([X[0], np.ones(n)]) * np.sqrt(weights[0].astype(float))[:, None]
    lr = fraction / np.linalg.norm(A, 2) ** 2 * (weights.sum(dtype=float) if reduction == "mean" else 1)  # of the limit 2/λ
    chunk = run(reference, chunk_of(X, y, dtype=dtype, lr=lr, epochs=30, intercept=True, weights=weights, reduction=reduction))
    given = {"lr": float(dtype(lr)), "dtype": dtype, "intercept": True, "sample_weight": weights[0], "reduction": reduction}
    found = check_history(X[0], y[0], chunk.history_w[0], chunk.history_loss[0], **given)
    record_tau(f"{reference}, weights", np.dtype(dtype).name, f"n = {n}, d = {d}", found.tau_w, found.tau_loss)
    assert found.steps_compared == 30
    assert found.tau_w <= 2
    assert found.tau_loss <= 2


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equal_weights_of_a_power_of_two_are_no_weights(reference, dtype):
    X, y = noisy(32, 2)  # 32: 2/n rounds nothing
    given = {"dtype": dtype, "intercept": True, "momentum": 0.5}
    plain = run(reference, chunk_of(X, y, **given))
    for weight in (1.0, 0.25, 2.0**20):
        assert_same_results(run(reference, chunk_of(X, y, weights=np.full((1, 32), weight), **given)), plain)


# Samples that are not there -----------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weights"])
@pytest.mark.parametrize("rule", ["sgd", "adam"])
def test_samples_that_are_left_out_are_deleted_rows(reference, weighted, rule):
    X, y = noisy(20, 2, m=4)
    weights = random_weights(4, 20) if weighted else None
    places = [[0, 3, 4, 5, 9, 19], None, [2, 3, 5, 7, 11, 13], [19]]
    X[0, 1] = X[2, 0, 1] = y[2, 19] = y[3, :19] = np.nan
    given = {"rule": rule, "intercept": True, "dtype": np.float32}
    chunk = run(reference, chunk_of(X, y, weights=weights, kept=places, **given))
    assert np.isfinite(chunk.history_loss).all()
    for fit, rows in enumerate(places):
        rows = np.arange(20) if rows is None else np.array(rows)
        some = None if weights is None else weights[fit : fit + 1, rows]
        alone = run(reference, chunk_of(X[fit : fit + 1, rows], y[fit : fit + 1, rows], weights=some, **given))
        assert_same_results(chunk, alone, slice(fit, fit + 1))


def test_neighbours_that_share_some_of_their_data(reference):
    """Every fit has its own X, y, weights and places, whatever its neighbour had: in one chunk or
    alone."""
    X, y = noisy(12, 2, m=3)
    weights = random_weights(2, 12)
    odd, even = list(range(1, 12, 2)), list(range(0, 12, 2))
    x_index, y_index = [0, 0, 0, 1, 1, 1, 1, 2, 0, 0], [0, 0, 1, 1, 1, 2, 2, 2, 0, 0]
    weight_index, kept = [0, 0, 0, 0, 1, 1, 1, 1, 0, 1], [None, odd, odd, odd, odd, odd, even, None, None, None]
    indices = {"x_index": x_index, "y_index": y_index, "weight_index": weight_index, "kept": kept}
    together = run(reference, chunk_of(X, y, weights=weights, **indices))
    assert len(together.kept) == 2
    for fit in range(10):
        one = {name: values[fit : fit + 1] for name, values in indices.items()}
        assert_same_results(together, run(reference, chunk_of(X, y, weights=weights, **one)), slice(fit, fit + 1))
    assert len({tuple(w) for w in together.w_out.tolist()}) == 9  # the first one and the last but one are the same fit


def test_torch_copies_once_what_neighbours_share(monkeypatch):
    X, y = noisy(12, 2, m=2)
    copied, tensor = [], torch.tensor

    def counting(data, *arguments, **keywords):
        if isinstance(data, np.ndarray) and len(data) in (6, 12):
            copied.append(data.shape)
        return tensor(data, *arguments, **keywords)

    monkeypatch.setattr(torch, "tensor", counting)
    odd = list(range(1, 12, 2))
    indices = {"x_index": [0, 0, 0, 1], "y_index": [0, 1, 1, 1], "weight_index": [0, 0, 0, 1], "kept": [odd] * 4}
    run("autograd", chunk_of(X, y, weights=random_weights(2, 12), **indices))
    assert copied == [(6, 2), (6,), (6,), (6,), (6, 2), (6,)]  # all three; y; X and the weights
    copied.clear()
    run("autograd", chunk_of(X[:1], y[:1], x_index=[0, 0, 0], y_index=[0, 0, 0], kept=[odd, None, None]))
    assert copied == [(6, 2), (6,), (12, 2), (12,)]


def test_a_fit_with_too_few_samples_is_passed_over(reference):
    X, y = noisy(10, 2, m=3)
    whole = run(reference, chunk_of(X, y))
    chunk = chunk_of(X, y, weights=None, kept=[None, [], None])
    chunk.status[1] = TOO_FEW_SAMPLES
    before = chunk_of(X, y, kept=[None, [], None])
    before.status[1] = TOO_FEW_SAMPLES
    progress = np.full(1, 1000)
    run(reference, chunk, progress=progress)
    assert progress.tolist() == [1030]
    assert chunk.status.tolist() == [COMPLETED, TOO_FEW_SAMPLES, COMPLETED]
    for name in ("w", "slots", "products", "steps", "algorithm", "w_out", "loss", "epochs_run", "history_w", "history_loss"):
        assert same(getattr(chunk, name)[1], getattr(before, name)[1]), name
        assert same(getattr(chunk, name)[[0, 2]], getattr(whole, name)[[0, 2]]), name


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nothing_given_is_written_to(reference, dtype):
    X, y = noisy(12, 2)
    chunk = chunk_of(X, y, dtype=dtype, weights=random_weights(1, 12), kept=[[1, 2, 5, 8]])
    chunk.kept.flags.writeable = False
    run(reference, chunk)  # X, y and the weights are read-only too
    assert chunk.w_out.dtype == chunk.history_loss.dtype == dtype
