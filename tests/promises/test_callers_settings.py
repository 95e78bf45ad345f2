"""Bits and verdicts are the same whatever the caller has set: the floating-point mode, NumPy's
errstate, warnings, decimal, torch's defaults. And what the caller has set stays."""

from __future__ import annotations

import decimal
import functools
import sys
import threading
import warnings
from contextlib import contextmanager

import numpy as np
import pytest

import fastgd
from fastgd.testing import nist, problems
from fastgd.verification.bound import check_history
from tests.support.float_modes import MODES, mode, mode_set, set_mode

SUBNORMAL = {"float32": np.float32(2.0**-140), "float64": np.ldexp(1.0, -1064)}
W_HISTORY = np.linspace(0, 1, 22).reshape(11, 2)


def data(dtype, samples=40):
    """X (3, n, 2) with a subnormal feature, and y (3, n)."""
    rng = np.random.default_rng(3)
    X, y = rng.normal(size=(3, samples, 2)).astype(dtype), rng.normal(size=(3, samples)).astype(dtype)
    X[..., 1] *= SUBNORMAL[dtype]
    return X, y


def bits(result):
    """What a FitResult holds, as bytes."""
    arrays = (result.w, result.intercept, result.loss, result.excess_loss, result.lr, result.state.w, result.status)
    return [None if array is None else np.asarray(array).tobytes() for array in arrays]


def calls(backend):
    """{what: a call that makes numbers, without arguments}."""
    found = {}
    for dtype in ("float32", "float64"):
        X, y = data(dtype)
        tiny, few = y * SUBNORMAL[dtype], X[:, :2]
        found |= {
            f"fit {dtype}": lambda X=X, y=y: bits(fastgd.fit(X, y, lr=0.1, epochs=9, intercept=True, backend=backend)),
            f"fit tiny {dtype}": lambda X=X, y=tiny: bits(fastgd.fit(X, y, lr=0.1, epochs=9, backend=backend)),
            f"fit converted {dtype}": lambda X=X, y=y: bits(
                fastgd.fit(X[0], y[0], lr=0.1, epochs=9, w0=[1e-300, 1.0], dtype="float32", backend=backend)
            ),
            f"nadam {dtype}": lambda X=X, y=y: bits(
                fastgd.fit(X, y, lr=0.1, epochs=9, optimizer=fastgd.NAdam(momentum_decay=0.1), backend=backend)
            ),
            f"verify {dtype}": lambda X=X, y=y: str(fastgd.verify(backend, X[0], y[0], lr=0.1, epochs=9)),
        }
        if backend == "cpu":
            found |= {
                f"standardize {dtype}": lambda X=X, y=y: bits(fastgd.fit(X, y, epochs=9, standardize=True, intercept=True)),
                f"solve {dtype}": lambda X=X, y=y: bits(fastgd.solve(X, y, intercept=True)),
                f"solve few {dtype}": lambda X=few, y=y[:, :2]: bits(fastgd.solve(X, y, intercept=True)),
                f"diagnose {dtype}": lambda X=X, y=y: str(fastgd.diagnose(X[0], y[0], W_HISTORY, lr=0.1)),
                f"check {dtype}": lambda X=X, y=y: check_history(
                    X[0], y[0], W_HISTORY, np.ones(11), lr=0.1, dtype=X.dtype
                ).w_share.tobytes(),
            }
    return found


@functools.cache
def expected_of(backend):
    """{what: (call, what it makes where nothing is set)}."""
    return {what: (call, call()) for what, call in calls(backend).items()}


@pytest.mark.parametrize("name", MODES)
def test_modes_of_the_thread(backend, name):
    for what, (call, expected) in expected_of(backend).items():
        with mode_set(name):
            before = mode()
            found = call()
            after = mode()
        assert found == expected, what
        assert after == before, what


@pytest.mark.parametrize("name", MODES)
def test_worker_threads(name):
    X = np.random.default_rng(4).normal(size=(60_000, 6)).astype(np.float32)
    y = X * SUBNORMAL["float32"]
    for options in ({"lr": 0.1}, {"tol": 0.5}):  # the second one stops in the middle of a pack
        alone = bits(fastgd.fit(X[..., None], y, epochs=30, threads=1, **options))
        with mode_set(name):
            assert bits(fastgd.fit(X[..., None], y, epochs=30, threads=3, **options)) == alone


@pytest.mark.parametrize("name", ["flush", "upward"])
@pytest.mark.parametrize("call", [lambda X, y: fastgd.fit(X, y, lr=0.1, epochs=9), fastgd.solve], ids=["fit", "solve"])
def test_calls_that_are_remembered(call, name):
    X, y = data("float64")
    first = call(X[0], y[0])
    with mode_set(name), np.errstate(all="raise"):
        assert bits(call(X[0], y[0])) == bits(first)


def test_a_callback_that_changes_the_mode(backend):
    """Between two tasks of the calling thread."""
    X, y = data("float32")
    X, y = (
        np.repeat(X, 20_000 if backend == "cpu" else 10, axis=0),
        np.repeat(y * SUBNORMAL["float32"], 20_000 if backend == "cpu" else 10, axis=0),
    )
    options = {"lr": 0.1, "epochs": 2, "backend": backend} | ({"threads": 1} if backend == "cpu" else {})
    expected = bits(fastgd.fit(X, y, **options))
    with mode_set("upward"):
        found = fastgd.fit(X, y, **options, progress=lambda done, total: set_mode("flush"))
    assert bits(found) == expected


@pytest.mark.parametrize("name", MODES)
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_after_an_error(name, error):
    X, y = data("float32")

    def fail(done, total):
        raise error

    with mode_set(name):
        before = mode()
        with pytest.raises(error):
            fastgd.fit(X, y, lr=0.1, epochs=9, progress=fail)
        assert mode() == before
        with np.errstate(all="raise"), pytest.raises(error):
            fastgd.fit(X, y, lr=0.1, epochs=9, progress=fail)
        assert mode() == before


@pytest.mark.parametrize("name", ["flush", "upward"])
def test_texts_and_files(tmp_path, name):
    """Python's own float(text) and repr(number) round to nearest in IEEE's default mode only."""
    X, y = data("float64")
    result = fastgd.fit(X, y, lr=0.1, epochs=9, tol=1e-3)
    report = fastgd.verify("numpy", X[0], y[0], lr=0.1, epochs=9)

    def texts(path):
        result.save(path)
        again = fastgd.load(path)
        frame = result.to_frame("polars").write_csv() if name == "upward" else ""
        problem = {p.name: (p.X.tobytes(), p.y.tobytes()) for p in problems()}
        sets = [(s.X.tobytes(), s.y.tobytes(), s.beta.tobytes(), repr(s.exact)) for s in nist()]
        return (
            path.read_bytes(), bits(again), again.state.tol, repr(result), result.summary(), result.predict(X).tobytes(), report.to_json(),
            str(report), frame, problem, sets,
        )  # fmt: skip

    expected = texts(tmp_path / "default.npz")
    with mode_set(name):
        found = texts(tmp_path / "other.npz")
    assert found == expected


def test_candidates_run_in_the_mode_of_their_process():
    """It sees the caller's mode and errstate, and what it set itself; the yardstick does not."""
    X, y = data("float64")
    seen = []

    def step(w, X, y, lr):
        seen.append((mode(), np.geterr()["divide"]))
        set_mode("upward")
        return w - lr * (2 / len(y) * (X.T @ (X @ w - y)))

    with np.errstate(divide="raise"):
        plain = fastgd.verify(lambda w, X, y, lr: w - lr * (2 / len(y) * (X.T @ (X @ w - y))), X[0], y[0], lr=0.1, epochs=3)
        with mode_set("flush"):
            flushed = mode()
            report = fastgd.verify(step, X[0], y[0], lr=0.1, epochs=3)
            assert mode() == flushed
            set_mode("upward")
            both = mode()
    assert seen[0] == (flushed, "raise")
    assert set(seen[1:]) == {(both, "raise")}
    assert plain.ok
    assert report.ok  # rounding upwards is within the bound, which is 8 times that of rounding to nearest


def test_threads_of_torch_that_flush(torch):
    """torch's OpenMP threads belong to the thread that first needed them, and keep its mode."""
    X, y = np.ones((300_000, 2)), np.full(300_000, 1e-310)
    results, n_threads = [], torch.get_num_threads()

    def fit():
        return bits(fastgd.fit(X, y, lr=0.1, epochs=1, backend="torch"))

    def fit_beside_threads_that_flush():
        torch.set_flush_denormal(True)
        numbers = torch.from_numpy(y) * 1.0  # makes the threads
        torch.set_flush_denormal(False)
        numbers = torch.from_numpy(y) * 1.0
        results.append(bool((numbers == 0).any()))
        results.append(fit())

    torch.set_num_threads(2)
    try:
        expected = fit()
        thread = threading.Thread(target=fit_beside_threads_that_flush)
        thread.start()
        thread.join()
    finally:
        torch.set_num_threads(n_threads)
    assert results == [True, expected]


# -- what else a caller can set --------------------------------------------------------------------


@contextmanager
def decimals():
    with decimal.localcontext() as context:
        context.prec, context.rounding, context.Emin = 2, decimal.ROUND_UP, 0
        for signal in context.traps:
            context.traps[signal] = True
        yield


@contextmanager
def loud():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@contextmanager
def errors_of_numpy(kind, call=None):
    before = np.geterrcall()
    np.seterrcall(call)
    try:
        with np.errstate(all=kind):
            yield
            assert np.geterr() == dict.fromkeys(("divide", "over", "under", "invalid"), kind)
    finally:
        np.seterrcall(before)


@contextmanager
def short_texts():
    digits = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(640)
    try:
        with np.printoptions(precision=1, threshold=0, legacy="1.13"):
            yield
    finally:
        sys.set_int_max_str_digits(digits)


def _refuse(kind, flag):
    raise AssertionError(f"NumPy called back: {kind}")


SETTINGS = {
    "errstate raise": lambda: errors_of_numpy("raise"),
    "errstate call": lambda: errors_of_numpy("call", _refuse),
    "errstate warn": lambda: errors_of_numpy("warn"),
    "decimal": decimals,
    "warnings": loud,
    "texts": short_texts,
}


@pytest.mark.share(2)
@pytest.mark.parametrize("name", SETTINGS)
def test_settings(backend, name):
    state = np.random.get_state()[1].tobytes()  # noqa: NPY002, the global one is meant
    for what, (call, expected) in expected_of(backend).items():
        with SETTINGS[name]():
            assert call() == expected, what
    with SETTINGS[name]():
        assert len(nist()) > 1
    assert np.random.get_state()[1].tobytes() == state  # noqa: NPY002


@contextmanager
def default_dtype(torch, dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def default_device(torch, device):
    torch.set_default_device(device)
    try:
        yield
    finally:
        torch.set_default_device(None)


@contextmanager
def deterministic(torch):
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


OF_TORCH = {
    "float16": lambda torch: default_dtype(torch, torch.float16),
    "bfloat16": lambda torch: default_dtype(torch, torch.bfloat16),
    "float64": lambda torch: default_dtype(torch, torch.float64),
    "device": lambda torch: default_device(torch, "meta"),
    "with device": lambda torch: torch.device("meta"),
    "no grad": lambda torch: torch.no_grad(),
    "inference": lambda torch: torch.inference_mode(),
    "deterministic": deterministic,
    "autocast": lambda torch: torch.autocast("cpu", torch.bfloat16),
    "anomaly": lambda torch: torch.autograd.set_detect_anomaly(True, check_nan=False),
}


@pytest.mark.parametrize("name", OF_TORCH)
@pytest.mark.parametrize("rule", ["sgd", "adam", "nadam"])
def test_settings_of_torch(torch, name, rule):
    X, y = data("float32")

    def fit_twice():
        half = fastgd.fit(X, y, lr=0.1, epochs=4, optimizer=rule, backend="torch", intercept=True)
        whole = fastgd.fit(X, y, lr=0.1, epochs=4, optimizer=rule, backend="torch", intercept=True, state=half.state)
        given = torch.tensor(X, device="cpu"), torch.tensor(y, device="cpu")
        return bits(half), bits(whole), bits(fastgd.fit(*given, lr=0.1, epochs=4, backend="cpu", optimizer=rule))

    expected = fit_twice()
    with OF_TORCH[name](torch):
        assert fit_twice() == expected
