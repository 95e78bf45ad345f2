"""Early stopping by validation data: what a plain loop of single epochs does, by `==`.

1. The loops of tests/support/stopping_loops.py count as Keras's EarlyStopping does. One calls `fit`
   for one epoch at a time; two others are written here in NumPy and torch.
2. Blocks, company and what a stopped fit costs: tests/running/test_blocks.py.
"""

from __future__ import annotations

import numpy as np
import pytest

import fastgd
import tests.cuda_on_host  # noqa: F401  registers cuda-host
from fastgd import Status, schedules
from tests.support.stopping_loops import Watch, assert_same, loop_of_fits

RULES = (fastgd.SGD(), fastgd.SGD(momentum=0.9), fastgd.SGD(weight_decay=0.1), fastgd.Adam(), fastgd.RMSprop(), fastgd.Adagrad())
x = np.array([1.0, 2, 3, 4])


def a_problem(seed):
    """(X, y, validation, options of fit, options of the end) of one fit, drawn."""
    rng = np.random.default_rng(seed)
    d, n, n_val = rng.integers(1, 6), rng.integers(2, 40), rng.integers(1, 20)
    X, w, X_val = rng.normal(size=(n, d)), rng.normal(size=d), rng.normal(size=(n_val, d))
    validation = {"X": X_val, "y": X_val @ w + rng.normal(size=n_val)}
    options = {"optimizer": RULES[rng.integers(len(RULES))], "dtype": str(rng.choice(["float32", "float64"]))}
    options |= {"lr": 10 ** rng.uniform(-2.5, 0.2) if rng.random() < 0.8 else None, "epochs": int(rng.integers(0, 90))}
    options |= {"intercept": True} if rng.random() < 0.4 else {}
    options |= {"standardize": True} if rng.random() < 0.3 else {}
    options |= {"sample_weight": rng.uniform(0.1, 2, size=n)} if rng.random() < 0.3 else {}
    options |= {"schedule": schedules.StepLR(5, 0.7)} if rng.random() < 0.3 and options["lr"] else {}
    options |= {"w0": 3 * rng.normal(size=d)} if rng.random() < 0.5 else {}
    options |= {"tol": 1e-3} if rng.random() < 0.2 else {}
    validation |= {"sample_weight": rng.uniform(0.1, 2, size=n_val)} if rng.random() < 0.4 else {}
    stop = {"patience": int(rng.integers(0, 12)), "min_delta": float(rng.choice([0, 0, 1e-3, 0.1])), "restore_best": rng.random() < 0.5}
    if rng.random() < 0.4 and options["lr"]:
        options |= {"batch_size": int(rng.integers(1, 12)), "shuffle": rng.random() < 0.7, "seed": int(rng.integers(9))}
        options |= {"schedule_every": "step"} if rng.random() < 0.5 else {}
    return X, X @ w + rng.choice([0.1, 1, 3]) * rng.normal(size=n), validation, options, stop


def named(validation):
    """The options of `fit` for validation data."""
    return {f"{name}_val": values for name, values in validation.items()}


def reported(expected, stop):
    """The validation loss that belongs to what a loop reports."""
    restored = stop["restore_best"] and expected.best_epoch > 0
    return expected.rows[expected.best_epoch if restored else -1][2]


def check(seed, backend):
    """One problem by `fit`, and by the loop; the status."""
    X, y, validation, options, stop = a_problem(seed)
    options |= {"backend": backend}
    every = seed % 4
    expected = loop_of_fits(X, y, validation, stop=stop, **options)
    found = fastgd.fit(X, y, history=every or False, **named(validation), **stop, **options)
    assert_same(found, expected, reported(expected, stop), every)
    return expected.status


@pytest.mark.share(3)
def test_a_loop_of_single_epochs(backend):
    statuses = [check(seed, backend) for seed in range(60 if backend == "cpu" else 12)]
    assert {Status.COMPLETED, Status.STOPPED_EARLY} <= set(statuses)


@pytest.mark.full
def test_a_loop_of_single_epochs_by_the_cuda_kernels(cuda_backend):
    assert {check(seed, cuda_backend) for seed in range(1, 9)} >= {Status.COMPLETED, Status.STOPPED_EARLY}


def loss_and_step(X, y, w, lr):
    """(loss at w, w after a step), as one writes it in NumPy."""
    residual = X @ w - y
    return (residual * residual).mean(), w - lr * (X.T @ (X.dtype.type(2 / len(y)) * residual))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_plain_loop_in_numpy(dtype):
    for seed in range(20):
        rng = np.random.default_rng(seed)
        X, X_val = rng.normal(size=(12, 3)).astype(dtype), rng.normal(size=(8, 3)).astype(dtype)
        y, y_val = rng.normal(size=12).astype(dtype), rng.normal(size=8).astype(dtype)
        patience, w, watch = int(rng.integers(1, 6)), np.zeros(3, dtype), Watch(None, 0.0)
        watch.patience, epoch, stops, ws = patience, 0, False, [np.zeros(3, dtype)]
        while epoch < 200 and not stops:
            _, w = loss_and_step(X, y, w, X.dtype.type(0.1))
            epoch += 1
            ws.append(w)
            stops = watch.stops(epoch, float(loss_and_step(X_val, y_val, w, 0)[0]))
        options = {"lr": 0.1, "epochs": 200, "X_val": X_val, "y_val": y_val, "patience": patience, "backend": "numpy"}
        for restores in (False, True):
            found = fastgd.fit(X, y, restore_best=restores, **options)
            assert (found.epochs, found.best_epoch, found.status == Status.STOPPED_EARLY) == (epoch, watch.best_epoch, stops)
            assert np.array_equal(found.w, ws[watch.best_epoch if restores else epoch])
            assert found.val_loss == loss_and_step(X_val, y_val, found.w, 0)[0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_plain_loop_in_torch(torch, dtype):
    for seed in range(4):
        rng = np.random.default_rng(seed)
        X, X_val, y, y_val = (torch.tensor(rng.normal(size=shape).astype(dtype)) for shape in ((12, 3), (8, 3), 12, 8))
        w = torch.zeros(3, dtype=X.dtype, requires_grad=True)
        optimizer = torch.optim.Adam([w], lr=0.1, foreach=False)
        watch, epoch, stops, best = Watch(3, 1e-4), 0, False, None
        while epoch < 200 and not stops:
            optimizer.zero_grad()
            residual = X @ w - y
            (residual * residual).mean().backward()
            optimizer.step()
            epoch += 1
            with torch.no_grad():
                residual = X_val @ w - y_val
                stops = watch.stops(epoch, (residual * residual).mean().item())
            best = w.detach().clone() if watch.best_epoch == epoch else best
        found = fastgd.fit(X, y, optimizer=fastgd.Adam(lr=0.1), epochs=200, X_val=X_val, y_val=y_val, patience=3, min_delta=1e-4,
                           restore_best=True, backend="torch")  # fmt: skip
        assert (int(found.epochs), int(found.best_epoch), stops) == (epoch, watch.best_epoch, True)
        assert torch.equal(found.w, best)
        assert float(found.val_loss) == watch.best


def test_by_hand(backend):
    """The Hessian is 2: w = 1/2, 3/4, 7/8, …; validation wants 3/4, which epoch 2 hits."""
    ones = np.ones(4)
    options = {"lr": 0.25, "X_val": [1.0], "y_val": [0.75], "history": True, "backend": backend}
    found = fastgd.fit(ones, ones, epochs=9, patience=3, **options)
    assert (found.status, found.epochs, found.best_epoch) == (Status.STOPPED_EARLY, 5, 2)
    assert (found.w, found.val_loss) == (1 - 2.0**-5, (0.25 - 2.0**-5) ** 2)
    assert found.history.val_loss.tolist()[:4] == [0.75**2, 0.25**2, 0, 0.125**2]
    assert found.history.w.tolist()[5:] == 5 * [1 - 2.0**-5]  # later rows repeat the last
    assert found.history.val_loss.tolist()[5:] == 5 * [(0.25 - 2.0**-5) ** 2]
    back = fastgd.fit(ones, ones, epochs=9, patience=3, restore_best=True, **options)
    assert (back.status, back.epochs, back.best_epoch) == (Status.STOPPED_EARLY, 5, 2)
    assert (back.w, back.loss, back.val_loss, back.state.epoch) == (0.75, 0.0625, 0, 2)
    assert back.history.w.tolist() == found.history.w.tolist()
    # epoch 2 falls by 1/16 exactly, which is no improvement by more than that
    least = fastgd.fit(ones, ones, epochs=9, patience=1, min_delta=1 / 16, **options)
    assert (least.epochs, least.best_epoch) == (2, 1)
    at_once = fastgd.fit(ones, ones, epochs=9, patience=0, **options)
    assert (at_once.epochs, at_once.best_epoch) == (3, 2)


def test_without_patience_all_epochs_are_run(backend):
    options = {"lr": 0.1, "epochs": 30, "history": True, "backend": backend}
    plain = fastgd.fit(x, 2 * x, w0=[3.0, 1e300], **options)
    watched = fastgd.fit(x, 2 * x, w0=[3.0, 1e300], X_val=x[:2], y_val=[1.0, 5], **options)
    for name in ("w", "loss", "epochs", "status"):
        assert np.array_equal(getattr(plain, name), getattr(watched, name), equal_nan=True)
    assert np.array_equal(plain.history.w, watched.history.w, equal_nan=True)
    assert watched.best_epoch[0] == np.argmin(watched.history.val_loss[0, 1:]) + 1
    assert plain.val_loss is plain.best_epoch is plain.history.val_loss is None


def test_each_status(backend):
    options = {"epochs": 2000, "patience": 3, "nan_policy": "propagate", "backend": backend, "dtype": "float32", "history": True}
    y = np.array([x, 2 * x, x, 3 * x])
    y[2, 1] = np.nan
    found = fastgd.fit(x, y, lr=[0.1, 1e9, 0.1, 0.01], X_val=x, y_val=y[0], **options)
    status = Status.STOPPED_EARLY
    assert found.status.tolist() == [status, Status.DIVERGED, Status.INVALID_DATA, status]
    assert found.epochs[2] == 0
    assert not np.isfinite(found.val_loss[1:3]).any()
    assert np.isnan(found.w[2])
    plain = fastgd.fit(x, y[1], lr=1e9, epochs=int(found.epochs[1]), dtype="float32", backend=backend)
    assert plain.status == Status.DIVERGED  # at this epoch, and no earlier
    assert np.array_equal(plain.w, found.w[1], equal_nan=True)
    assert fastgd.fit(x, y[1], lr=1e9, epochs=int(found.epochs[1]) - 1, dtype="float32", backend=backend).status == Status.COMPLETED
    # what diverged returns to its best epoch, and still says that it diverged
    back = fastgd.fit(x, y[1], lr=1e9, X_val=x, y_val=y[0], restore_best=True, **options)
    assert (back.status, back.best_epoch, back.epochs) == (Status.DIVERGED, 1, 2)
    assert (back.w, back.loss) == (back.history.w[1], back.history.loss[1])


def test_the_first_of_two_ends_counts(backend):
    """The loss falls to a quarter in each epoch, so tol is met at epoch 3; validation wants 3/4."""
    ones = np.ones(4)
    options = {"lr": 0.25, "epochs": 50, "X_val": [1.0], "y_val": [0.75], "tol": 2.0**-6, "backend": backend}
    ends = [fastgd.fit(ones, ones, patience=patience, **options) for patience in (1, 2)]
    assert [(str(found.status), int(found.epochs)) for found in ends] == [("CONVERGED", 3), ("CONVERGED", 3)]
    options["tol"] = 2.0**-8
    ends = [fastgd.fit(ones, ones, patience=patience, **options) for patience in (1, 2, 3)]
    assert [(str(found.status), int(found.epochs)) for found in ends] == [("STOPPED_EARLY", 3), ("CONVERGED", 4), ("CONVERGED", 4)]


def test_epochs_none(backend):
    options = {"lr": 0.25, "epochs": None, "backend": backend}
    ones = np.ones(4)
    found = fastgd.fit(ones, ones, tol=2.0**-40, **options)
    assert (found.status, found.epochs) == (Status.CONVERGED, 20)
    found = fastgd.fit(ones, ones, X_val=[1.0], y_val=[0.75], patience=4, **options)
    assert (found.status, found.epochs) == (Status.STOPPED_EARLY, 6)


def test_a_state_goes_on_after_an_early_stop():
    ones = np.ones(4)
    stopped = fastgd.fit(ones, ones, lr=0.25, epochs=9, X_val=[1.0], y_val=[0.75], patience=3)
    further = fastgd.fit(ones, ones, lr=0.25, epochs=3, state=stopped.state)
    assert (further.w, further.status) == (fastgd.fit(ones, ones, lr=0.25, epochs=8).w, Status.COMPLETED)


def test_results_tell_it(tmp_path):
    found = fastgd.fit(x, [2 * x, 3 * x], lr=0.01, epochs=200, X_val=x, y_val=2 * x + 1, patience=3, history=20)
    found.save(tmp_path / "found")
    again = fastgd.load(tmp_path / "found")
    assert again.best_epoch.tolist() == found.best_epoch.tolist()
    assert np.array_equal(again.val_loss, found.val_loss)
    assert np.array_equal(again.history.val_loss, found.history.val_loss)
    frame = found.to_frame()
    assert frame["best_epoch"].tolist() == found.best_epoch.tolist()
    assert frame["status"].tolist() == ["COMPLETED", "STOPPED_EARLY"] or frame["status"].tolist() == 2 * ["STOPPED_EARLY"]
    assert "val_loss" in found.summary()
    assert "best epoch" in found.summary()
    assert "above the least loss" not in found.summary()  # the fits are to be good on other data
