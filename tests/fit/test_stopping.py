"""Early stopping by validation data: what a plain loop of single epochs does, by `==`.

1. The loops of tests/support/stopping_loops.py count as Keras's EarlyStopping does. One calls `fit`
   for one epoch at a time; two others are written here in NumPy and torch.
2. That nothing depends on blocks, tasks and company is tested with blocks of other lengths.
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


def test_a_loop_of_single_epochs(backend):
    statuses = [check(seed, backend) for seed in range(60 if backend == "cpu" else 12)]
    assert {Status.COMPLETED, Status.STOPPED_EARLY} <= set(statuses)


def test_a_loop_of_single_epochs_by_the_cuda_kernels(cuda_backend):
    assert {check(seed, cuda_backend) for seed in range(8)} >= {Status.COMPLETED, Status.STOPPED_EARLY}


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


def data_of_company():
    """X, y, X_val and y_val of 3 x 40 fits; some samples are missing, fit (2, 5) has too few."""
    rng = np.random.default_rng(5)
    X, y = rng.normal(size=(3, 1, 30, 4)), rng.normal(size=(3, 40, 30))
    X[1, 0, 3, 2] = np.nan
    y[2, 5, :26] = np.nan
    return X, y, rng.normal(size=(1, 9, 4)), rng.normal(size=(3, 1, 9))


RATES = np.append(np.geomspace(1e-3, 3, 6), 1e30)
OPTIONS = {"epochs": 400, "patience": 7, "nan_policy": "omit", "intercept": True, "history": 50}
ARRAYS = ("w", "intercept", "loss", "epochs", "status", "val_loss", "best_epoch", "excess_loss")


def assert_equal(one, other):
    for name in ARRAYS:
        assert np.array_equal(getattr(one, name), getattr(other, name), equal_nan=True), name
    for name in ("w", "loss", "val_loss"):
        assert np.array_equal(getattr(one.history, name), getattr(other.history, name), equal_nan=True), name


@pytest.mark.parametrize("kind", ["last, sgd", "best, adam"])
def test_company_threads_and_blocks_change_no_bit(monkeypatch, kind):
    X, y, X_val, y_val = data_of_company()
    own = {} if kind == "last, sgd" else {"restore_best": True, "optimizer": fastgd.Adam(), "dtype": "float32"}

    def fit(**options):
        return fastgd.fit(X, y, X_val=X_val, y_val=y_val, lr=RATES[:, None, None], **OPTIONS | own | options)

    found = fit()
    statuses = set(found.status.ravel().tolist())
    assert {Status.STOPPED_EARLY, Status.TOO_FEW_SAMPLES} <= statuses
    assert own or Status.DIVERGED in statuses
    for fewer in ({"threads": 1}, {"threads": 3}, {"memory_limit": "60 MiB"}):
        assert_equal(fit(**fewer), found)
    for k, i, j in zip(*(np.random.default_rng(1).integers(length, size=12) for length in found.loss.shape), strict=True):
        alone = fastgd.fit(X[i, 0], y[i, j], X_val=X_val[0], y_val=y_val[i, 0], lr=RATES[k], **OPTIONS | own)
        for name in ARRAYS:
            assert np.array_equal(getattr(alone, name), getattr(found, name)[k, i, j], equal_nan=True), (name, k, i, j)
    for shortest, block_bytes in ((1, 2**23), (16, 1), (400, 2**23)):
        monkeypatch.setattr("fastgd.running.blocks.SHORTEST", shortest)
        monkeypatch.setattr("fastgd.running.blocks.BLOCK_BYTES", block_bytes)
        assert_equal(fit(), found)


def test_moments_in_place_of_samples():
    X, y, X_val, y_val = data_of_company()
    X, y = np.nan_to_num(X), np.nan_to_num(y)
    options = {"lr": RATES[:5, None, None], "epochs": 200, "patience": 5, "restore_best": True, "history": 20}
    samples = fastgd.fit(X, y, X_val=X_val, y_val=y_val, intercept=True, algorithm="moments", **options)
    moments = fastgd.compress(X, y, intercept=True)
    assert_equal(fastgd.fit(moments, X_val=X_val, y_val=y_val, **options), samples)
    of_val = fastgd.compress(X_val, y_val, intercept=True)
    assert_equal(fastgd.fit(moments, X_val=of_val, **options), samples)


def epochs_computed(monkeypatch, fit):
    """(epochs of fits that the kernels ran, the result)."""
    from fastgd.kernels import cpu

    count, run = [0], cpu.descend

    def descend(chunk, *arguments, **options):
        count[0] += chunk.epochs * len(chunk.w)
        return run(chunk, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(cpu, "descend", descend)
        found = fit()
    return count[0], found


def test_a_fit_that_stopped_costs_nothing(monkeypatch):
    """999 fits of 1,000 stop within 40 epochs, one runs all 20,000."""
    rng = np.random.default_rng(2)
    X, y = rng.normal(size=(60, 3)), rng.normal(size=60)
    lr = np.full(1000, 0.1)
    lr[17] = 1e-6
    for restores in (False, True):
        options = {"lr": lr, "epochs": 20_000, "X_val": X[:40], "y_val": y[:40], "patience": 5, "restore_best": restores}
        count, found = epochs_computed(monkeypatch, lambda options=options: fastgd.fit(X, y, **options))
        run = found.epochs
        assert run[17] == 20_000
        assert run[lr == 0.1].max() < 100
        # each takes part in 1.25 t + 16 epochs, and goes back within a block of max(16, t/4)
        assert count <= (1.25 * run + 16 + np.maximum(16, run / 4)).sum()


def test_long_patience_costs_no_epoch_more_than_it_waits(monkeypatch):
    ones = np.ones(4)
    options = {"lr": 0.25, "epochs": 10**6, "X_val": [1.0], "y_val": [0.75], "patience": 5000}
    count, found = epochs_computed(monkeypatch, lambda: fastgd.fit(ones, ones, **options))
    assert (found.epochs, found.best_epoch) == (5002, 2)
    assert count <= 2 * 5002 + 16


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


def test_epochs_none_has_a_ceiling(monkeypatch):
    monkeypatch.setattr("fastgd.planning.stopping.MOST_EPOCHS", 70)
    found = fastgd.fit(x, 2 * x, lr=1e-9, epochs=None, X_val=x, y_val=2 * x, patience=4)
    assert (found.status, found.epochs, found.best_epoch) == (Status.COMPLETED, 70, 70)


def test_a_state_goes_on_after_an_early_stop():
    ones = np.ones(4)
    stopped = fastgd.fit(ones, ones, lr=0.25, epochs=9, X_val=[1.0], y_val=[0.75], patience=3)
    further = fastgd.fit(ones, ones, lr=0.25, epochs=3, state=stopped.state)
    assert (further.w, further.status) == (fastgd.fit(ones, ones, lr=0.25, epochs=8).w, Status.COMPLETED)


def test_schedules_of_each_fit_and_progress():
    """The rates of an epoch are the schedule's, also where a fit goes back within a block."""
    several = [schedules.StepLR(3, 0.5), None, schedules.ExponentialLR(0.9)]
    told = []
    options = {"epochs": 100, "X_val": x, "y_val": [2.5, 3, 7, 8], "patience": 4, "restore_best": True}
    found = fastgd.fit(x, 2 * x, lr=[0.02, 0.01, 0.03], schedule=several, progress=lambda *now: told.append(now), **options)
    for k, schedule in enumerate(several):
        alone = fastgd.fit(x, 2 * x, lr=[0.02, 0.01, 0.03][k], schedule=schedule, epochs=int(found.best_epoch[k]))
        assert (found.w[k], found.loss[k]) == (alone.w, alone.loss)
    assert told[-1] == (300, 300)


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


VAL = {"X_val": x, "y_val": x}
WRONG = [
    ({"patience": 3}, ValueError, "patience=3 looks at the loss of validation data: give X_val and y_val"),
    ({"min_delta": 0.1}, ValueError, "min_delta=0.1 looks at"),
    ({"restore_best": True}, ValueError, "restore_best=True looks at"),
    ({**VAL, "patience": -1}, ValueError, "patience must be a whole number, at least 0"),
    ({**VAL, "patience": 2.5}, TypeError, "patience must be a whole number, not 2.5"),
    ({**VAL, "patience": True}, TypeError, "patience must be a whole number"),
    ({**VAL, "min_delta": -0.1}, ValueError, "min_delta must be finite and at least 0; it is -0.1"),
    ({**VAL, "min_delta": None}, TypeError, "min_delta must be a number, not None"),
    ({**VAL, "restore_best": 1}, TypeError, "restore_best must be True or False"),
    ({"X_val": x, "patience": 3}, ValueError, "X_val was given without y_val"),
    ({"sample_weight_val": x}, ValueError, "sample_weight_val was given without X_val"),
    ({"X_val": x[:, None], "y_val": x}, ValueError, "give it the same columns"),
    ({"X_val": x, "y_val": np.ones((2, 4))}, ValueError, r"leading axes of X_val and y_val, \(2,\), do not broadcast"),
    ({"X_val": x, "y_val": x[:2]}, ValueError, r"of the validation data: X has 4 samples \(shape \(4,\)\) but y has 2"),
    ({"epochs": None}, ValueError, "epochs=None goes on until a fit ends by itself, up to 1,000,000 epochs: give tol or patience too"),
    ({"epochs": None, **VAL}, ValueError, "give tol or patience too"),
    ({"epochs": None, "tol": 0.1, "history": True}, ValueError, "history has a row for every epoch"),
    ({"state": True, **VAL, "patience": 3}, ValueError, "patience counts from the beginning of a descent, and state does not"),
    ({"state": True, **VAL, "restore_best": True}, ValueError, "restore_best counts from the beginning"),
    ({"X_val": fastgd.compress(x, x), "backend": "numpy"}, ValueError, "X_val is Moments, and backend 'numpy' computes losses of samples"),
    ({"early_stopping_rounds": 3}, TypeError, "give patience="),
    ({"restore_best_weights": True}, TypeError, "give restore_best="),
    ({"validation_data": (x, x)}, TypeError, "give X_val="),
]  # fmt: skip


@pytest.mark.parametrize(("options", "kind", "words"), WRONG, ids=[", ".join(options) for options, _, _ in WRONG])
def test_what_is_refused(options, kind, words, request):
    state = {"state": fastgd.fit(x, x, lr=0.01, epochs=3).state} if "state" in options else {}
    request.getfixturevalue("no_work")
    with pytest.raises(kind, match=words):
        fastgd.fit(x, 2 * x, lr=0.1, **options | state)


@pytest.mark.parametrize(("number", "words"), [(np.nan, "of the validation data: X is not finite: nan in row 2"), (-1.0, "")])
def test_bad_numbers_of_validation_data_are_named(backend, number, words):
    X_val, weight = x.copy(), x.copy()
    (weight if number < 0 else X_val)[2] = number
    words = words or "of the validation data: sample_weight must be at least 0; it is -1 in row 2"
    with pytest.raises(ValueError, match=words):
        fastgd.fit(x, 2 * x, lr=0.1, X_val=X_val, y_val=x, sample_weight_val=weight, patience=3, backend=backend)


def test_data_on_a_gpu_are_refused(cupy):
    on_gpu = cupy.asarray(x)
    with pytest.raises(ValueError, match="validation data are looked at in the computer's memory, and X and y are on cuda:0"):
        fastgd.fit(on_gpu, 2 * on_gpu, lr=0.1, X_val=on_gpu, y_val=on_gpu, patience=3)
