"""Bad options: every error names the argument, what was given and what is needed, and comes before any work."""

from __future__ import annotations

import dataclasses
import importlib.util

import numpy as np
import pytest

import fastgd
from fastgd import SGD, BackendUnavailable
from fastgd.input.hyperparameters import read_hyperparameter
from fastgd.kernels import cuda
from fastgd.kernels.update_rules import LR, UPDATE_RULES, Range
from tests.support.refusals import X2, X5, Y2, Y5, refused, x, y

# Hyperparameters ------------------------------------------------------------------------------------------------------

HYPERPARAMETERS = {
    "lr negative": ("lr", -0.5, ValueError, r"^lr must be at least 0; it is -0\.5$"),
    "lr negative somewhere": ("lr", [0.1, -0.2], ValueError, r"^lr must be at least 0; it is -0\.2 at index 1$"),
    "lr negative in a grid": ("lr", [[0.1], [-0.2]], ValueError, r"^lr must be at least 0; it is -0\.2 at index \(1, 0\)$"),
    "lr nan": ("lr", np.nan, ValueError, "^lr must be finite; it is nan$"),
    "lr inf": ("lr", [[1, np.inf]], ValueError, r"^lr must be finite; it is inf at index \(0, 1\)$"),
    "lr bool": ("lr", True, TypeError, "^lr must be a real number or an array of them, not True$"),
    "lr bools": ("lr", [True, False], TypeError, "^lr must be a real number .*, not "),
    "lr NumPy bool": ("lr", np.True_, TypeError, "^lr must be a real number .*, not "),
    "lr str": ("lr", "0.1", TypeError, "^lr must be a real number or an array of them; it is '0.1'$"),
    "lr auto": ("lr", "auto", TypeError, "^lr must be a real number or an array of them; it is 'auto'$"),
    "lr empty": ("lr", [], ValueError, r"^lr is empty: it has shape \(0,\)$"),
    "momentum negative": ("momentum", -0.1, ValueError, r"^momentum must be at least 0; it is -0\.1$"),
    "momentum nan": ("momentum", [0, np.nan], ValueError, "^momentum must be finite; it is nan at index 1$"),
    "momentum bool": ("momentum", True, TypeError, "^momentum must be a real number"),
    "momentum None": ("momentum", None, TypeError, "^momentum must be a real number or an array of them; it is None"),
    "dampening inf": ("dampening", np.inf, ValueError, "^dampening must be finite; it is inf"),
    "weight_decay negative": ("weight_decay", [[0.5, -2]], ValueError, r"^weight_decay must be at least 0; it is -2 at index \(0, 1\)$"),
    "maximize 2": ("maximize", 2, ValueError, "^maximize must be True or False; it is 2$"),
    "maximize str": ("maximize", "yes", TypeError, "^maximize must be True or False or an array of them; it is 'yes'$"),
    "nesterov half": ("nesterov", [0, 0.5], ValueError, r"^nesterov must be True or False; it is 0\.5 at index 1$"),
    "nesterov None": ("nesterov", None, TypeError, "^nesterov must be True or False"),
    "nesterov alone": ("nesterov", True, ValueError, "^nesterov needs momentum > 0 and dampening = 0; momentum is 0$"),
}


@pytest.mark.parametrize(("name", "value", "error", "pattern"), HYPERPARAMETERS.values(), ids=HYPERPARAMETERS)
def test_hyperparameters(no_work, name, value, error, pattern):
    refused(error, pattern, X5, Y5, optimizer=SGD(**{"lr": 0.1, name: value}))
    if name == "lr":
        refused(error, pattern, X5, Y5, lr=value)


def test_nesterov_says_where(no_work):
    arrays = SGD(momentum=[0.5, 0.5, 0, 0.5, 0.5], nesterov=True)
    refused(ValueError, "nesterov needs momentum > 0 and dampening = 0; momentum is 0 at index 2", X5, Y5, lr=0.1, optimizer=arrays)
    grid = SGD(momentum=0.5, dampening=[0, 0.25], nesterov=[[False], [True]])
    refused(ValueError, r"dampening = 0; dampening is 0\.25 at index \(1, 1\)", x, y, lr=0.1, optimizer=grid)
    fine = SGD(momentum=[0.5, 0], nesterov=[True, False])
    with pytest.raises(AssertionError, match="work began"):
        fastgd.fit(x, y, lr=0.1, optimizer=fine)


BROADCASTING = {
    "lr": ({"lr": np.full(4, 0.1)}, r"X and y \(5,\), lr \(4,\)"),
    "lr per sample": ({"lr": np.full((5, 8), 0.1)}, r"X and y \(5,\), lr \(5, 8\)"),
    "momentum": ({"lr": 0.1, "optimizer": SGD(momentum=[0.5, 0.6])}, r"X and y \(5,\), momentum \(2,\)"),
    "two of them": (
        {"lr": np.full((4, 1), 0.1), "optimizer": SGD(weight_decay=np.ones((3, 1)))},
        r"X and y \(5,\), lr \(4, 1\), weight_decay \(3, 1\)",
    ),
    "nesterov": ({"optimizer": SGD(lr=0.1, momentum=np.ones(3), nesterov=[True] * 4)}, r"nesterov \(4,\), momentum \(3,\)"),
    "w0": ({"w0": np.zeros((4, 2))}, r"X and y \(5,\), w0 \(4,\)"),
    "intercept0": ({"intercept": True, "intercept0": np.zeros(4)}, r"X and y \(5,\), intercept0 \(4,\)"),
    "w0 and intercept0": ({"intercept": True, "w0": np.zeros((5, 2)), "intercept0": np.zeros((7, 4))}, r"w0 \(5,\), intercept0 \(7, 4\)"),
}


@pytest.mark.parametrize(("options", "pattern"), BROADCASTING.values(), ids=BROADCASTING)
def test_what_does_not_broadcast_is_named(no_work, options, pattern):
    refused(ValueError, f"do not broadcast against each other: .*{pattern}", X5, Y5, **options)


def test_lr_twice(no_work):
    refused(ValueError, r"lr was given twice: fit\(lr=0\.1\) and SGD\(lr=0\.2\); give one of them", x, y, lr=0.1, optimizer=SGD(lr=0.2))
    many = np.full(1000, 0.1)
    refused(ValueError, r"lr was given twice: fit\(lr=<ndarray>\) and SGD\(lr=<ndarray>\)", x, y, lr=many, optimizer=SGD(lr=many))


# Names, numbers and switches --------------------------------------------------------------------------------------------

NAMES = {
    "optimizer": r"there are: adagrad, .*, sgd$|^optimizer must be one of the names \(.*, sgd\) or an object such as fastgd\.SGD\(",
    "backend": "^backend .* is unknown; there are: auto, cpu, cuda, torch, torch-cuda, numpy$",
    "algorithm": "^algorithm .* is unknown; there are: auto, moments, stream$",
    "reduction": "^reduction must be 'mean' or 'sum', not ",
    "nan_policy": "^nan_policy must be 'raise', 'omit' or 'propagate', not ",
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", ["adamm", "", None, 3, ["cpu"], {}, np.array(["a", "b"])], ids=str)
def test_unknown_names(no_work, name, value):
    check_name(name, value)


@pytest.mark.parametrize("name", NAMES)
def test_names_are_no_classes_of_torch(no_work, name, torch):
    check_name(name, torch.optim.SGD)


def check_name(name, value):
    error = TypeError if name == "optimizer" and not isinstance(value, str) else ValueError
    refused(error, NAMES[name], x, y, **{name: value})


OPTIONS = {
    "epochs": [
        (-1, ValueError, "at least 0; it is -1"),
        (1.5, TypeError, "a whole number, not 1.5"),
        (2.0, TypeError, "a whole number, not 2.0"),
        (True, TypeError, "a whole number, not True"),
        ("3", TypeError, "a whole number, not '3'"),
        (None, TypeError, "a whole number, not None"),
        (np.nan, TypeError, "a whole number, not nan"),
        ([3], TypeError, r"a whole number, not \[3\]"),
        (np.array([3]), TypeError, r"a whole number, not array\(\[3\]\)"),
        (2**63, ValueError, r"at most 2\^63 - 1; it is 9223372036854775808"),
        (-(10**30), ValueError, "at least 0; it is -1"),
    ],
    "threads": [
        (0, ValueError, "at least 1; it is 0"),
        (-1, ValueError, "at least 1; it is -1"),
        (10**9, ValueError, "at most 1,024; it is 1000000000"),
        (1.5, TypeError, "a whole number, not 1.5"),
        (True, TypeError, "a whole number, not True"),
        ("2", TypeError, "a whole number, not '2'"),
    ],
    "history": [
        (-1, ValueError, "True, False or a whole number of epochs, at least 1; it is -1"),
        (0, ValueError, "at least 1; it is 0"),
        (1.5, TypeError, "True, False or a whole number of epochs, not 1.5"),
        ("all", TypeError, "not 'all'"),
        (None, TypeError, "not None"),
        (10**30, ValueError, r"at most 2\^63 - 1"),
    ],
    "tol": [
        (-1e-9, ValueError, "finite and at least 0; it is -1e-09"),
        (np.nan, ValueError, "finite and at least 0; it is nan"),
        (np.inf, ValueError, "finite and at least 0; it is inf"),
        ("0.1", TypeError, "a number or None, not '0.1'"),
        (True, TypeError, "a number or None, not True"),
        ([0.1, 0.2], TypeError, r"a number or None, not \[0.1, 0.2\]"),
        (1j, TypeError, "a number or None, not 1j"),
    ],
    "intercept": [
        (1.5, TypeError, "True or False, not 1.5; a starting value is given as intercept0"),
        (1, TypeError, "True or False, not 1"),
        (None, TypeError, "True or False, not None"),
        ("yes", TypeError, "True or False, not 'yes'"),
    ],
}


@pytest.mark.parametrize(("name", "value", "error", "pattern"), [(name, *case) for name, cases in OPTIONS.items() for case in cases])
def test_options(no_work, name, value, error, pattern):
    refused(error, f"^{name} must be .*{pattern}", x, y, **{name: value})


@pytest.mark.parametrize("value", ["yes", 0, 1, 2.5])
def test_progress(value):
    refused(TypeError, r"^progress must be None, True, False or a function of \(done, total\), not ", x, y, progress=value)


LATER = {
    "schedule": ["cosine", 0, np.ones(3)],
    "batch_size": [2, 0, 4],
    "shuffle": [False, 1, None],
    "seed": [1, True, 0.0, None, np.array([0, 1])],
    "checkpoint": ["folder", False],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in LATER.items() for value in values], ids=str)
def test_options_of_later_versions(no_work, name, value):
    refused(ValueError, rf"^{name} is not available yet in this version of fastgd; leave it out \(it was given as ", x, y, **{name: value})


def test_defaults_of_later_options_may_be_written_out():
    options = dict.fromkeys(LATER) | {"shuffle": np.True_, "seed": np.int64(0)}
    assert fastgd.fit(x, y, **options).w == fastgd.fit(x, y).w


# Where to start -------------------------------------------------------------------------------------------------------

STARTS = {
    "w0 too long": ({"w0": np.zeros(3)}, r"^w0 must have shape \(…, 2\), since X has 2 features; it has shape \(3,\)$"),
    "w0 too short": ({"w0": [1.0]}, r"^w0 must have shape \(…, 2\), .* it has shape \(1,\)$"),
    "w0 a number": ({"w0": 0.0}, r"^w0 must have shape \(…, 2\), .* it has shape \(\)$"),
    "w0 with the intercept": ({"w0": np.zeros(3), "intercept": True}, r"^w0 must have shape \(…, 2\)"),
    "w0 nan": ({"w0": [0, np.nan]}, "^w0 must be finite; it is nan at index 1$"),
    "w0 empty": ({"w0": np.zeros((0, 2))}, r"^w0 is empty: it has shape \(0, 2\)$"),
    "w0 too large": ({"w0": [1.0, -1e300], "dtype": "float32"}, r"^w0 is too large for float32: its largest value is 1e\+300$"),
    "intercept0 inf": ({"intercept": True, "intercept0": [0, np.inf]}, "^intercept0 must be finite; it is inf at index 1$"),
    "intercept0 too large": ({"intercept": True, "intercept0": 1e300, "dtype": "float32"}, "^intercept0 is too large for float32"),
    "intercept0 alone": ({"intercept0": 1.0}, r"^intercept0 was given \(1\.0\), but there is no intercept: give intercept=True too$"),
}


@pytest.mark.parametrize(("options", "pattern"), STARTS.values(), ids=STARTS)
def test_start(no_work, options, pattern):
    refused(ValueError, pattern, X2, Y2, **options)


def test_w0_of_a_1d_X_has_no_feature_axis():
    assert fastgd.fit(x, y, w0=1.0, epochs=0).w.shape == ()
    assert fastgd.fit(x, y, w0=[1.0, 2.0, 3.0], epochs=0).w.tolist() == [1, 2, 3]
    refused(ValueError, r"do not broadcast against each other: X and y \(2,\), w0 \(3,\)", x, np.stack([y, y]), w0=[1.0, 2.0, 3.0])


STATES = {
    "a result": ({"state": "result"}, TypeError, "^state must be the state of a FitResult, not a FitResult: give result.state$"),
    "not a state": ({"state": {"w": 1}}, TypeError, "^state must be the state of a FitResult, not a dict$"),
    "with w0": ({"w0": [0, 0]}, ValueError, "^state holds where to start: leave w0 out$"),
    "with intercept0": ({"intercept": True, "intercept0": 0.0}, ValueError, "^state holds where to start: leave intercept0 out$"),
    "with an algorithm": ({"algorithm": "stream"}, ValueError, "^state continues with its own algorithm: leave algorithm='stream' out$"),
    "intercept": ({"intercept": True}, ValueError, "^state was made with intercept False, but this fit has True$"),
    "dtype": ({"dtype": "float32"}, ValueError, "^state was made with dtype 'float64', but this fit has 'float32'$"),
    "n_features": ({"X": X2[:, :1]}, ValueError, "^state was made with n_features 2, but this fit has 1$"),
    "1-D X": ({"X": X2[:, 0]}, ValueError, "^state was made with n_features 2, but this fit has 1$"),
    "backend numpy": (
        {"backend": "numpy"},
        ValueError,
        "^state was made by algorithm 'moments', .*'numpy' does not have: give backend='cpu'$",
    ),
}


@pytest.mark.parametrize(("options", "error", "pattern"), STATES.values(), ids=STATES)
def test_state(options, error, pattern):
    result = fastgd.fit(X2, Y2, epochs=1)
    options = {"X": X2, "y": Y2, "state": result.state} | options
    refused(error, pattern, **(options | {"state": result} if options["state"] == "result" else options))


def test_state_of_another_optimizer_or_shape(no_work, monkeypatch):
    monkeypatch.undo()
    state = fastgd.fit(X5[:4], Y5[:4], epochs=1).state
    refused(ValueError, r"do not broadcast against each other: X and y \(5,\), state \(4,\)$", X5, Y5, state=state)
    part = dataclasses.replace(state, w=state.w[:2])
    refused(
        ValueError, r"^state\.w has shape \(2, 2\); it must be \(4, 2\), since state\.epoch has shape \(4,\)$", X5[:4], Y5[:4], state=part
    )
    adam = dataclasses.replace(state, optimizer="adam")
    refused(ValueError, "^state was made with optimizer 'adam', but this fit has 'sgd'$", X5[:4], Y5[:4], state=adam)


def test_a_state_of_a_reference():
    state = fastgd.fit(X2, Y2, epochs=1, backend="numpy").state
    refused(ValueError, "by algorithm 'manual', which backend 'cpu' does not have: give backend='numpy'", X2, Y2, state=state)


def test_a_state_and_torch(torch):
    ours = fastgd.fit(X2, Y2, epochs=1).state
    pattern = "^state was made by algorithm 'moments', .*'torch' does not have: give backend='cpu'$"
    refused(ValueError, pattern, X2, Y2, state=ours, backend="torch")
    state = fastgd.fit(X2, Y2, epochs=1, backend="torch").state
    refused(ValueError, "by algorithm 'autograd', which backend 'cpu' does not have: give backend='torch'", X2, Y2, state=state)


# Backends -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reference", ["torch", "numpy"])
def test_a_backend_refuses_by_name_what_it_cannot_express(no_work, reference):
    pattern = f"^threads is an option of backend 'cpu'; backend '{reference}' runs fits one after another$"
    refused(ValueError, pattern, x, y, backend=reference, threads=2)
    for algorithm in ("moments", "stream"):
        pattern = f"^backend '{reference}' has one algorithm of its own; algorithm='{algorithm}' is for backends 'cpu' and 'cuda'$"
        refused(ValueError, pattern, x, y, backend=reference, algorithm=algorithm)


def test_unavailable_backends_say_what_to_install(no_work, monkeypatch, torch):
    assert issubclass(BackendUnavailable, ImportError)
    monkeypatch.setattr(cuda, "why_unavailable", lambda: "there is no GPU")  # what it says itself: tests/kernels/cuda/test_defects.py
    refused(BackendUnavailable, "^backend 'cuda' is not available: there is no GPU$", x, y, backend="cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    refused(
        BackendUnavailable,
        "^backend 'torch-cuda' is not available: PyTorch finds no CUDA device; backend='torch'",
        x,
        y,
        backend="torch-cuda",
    )
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for backend in ("torch", "torch-cuda"):
        pattern = rf"^backend '{backend}' is not available: PyTorch is not installed: install fastgd\[torch\]"
        refused(BackendUnavailable, pattern, x, y, backend=backend)


RANGES = {"lr": LR, "eps": UPDATE_RULES["adam"].range_of("eps"), "betas[0]": UPDATE_RULES["adam"].range_of("beta1")}
RANGES |= {name: UPDATE_RULES["sgd"].range_of(name) for name in UPDATE_RULES["sgd"].hyperparameters}
RANGES["up to 1"] = Range(at_least=0, at_most=1)


@pytest.mark.parametrize("name", RANGES)
@pytest.mark.parametrize("value", [0.0, -0.0, 0.25, 0.999, 1.0, 5.0, -0.5, float("inf"), float("nan"), 0, 1, 2, True, False])
def test_a_plain_hyperparameter_is_read_like_an_array_of_it(name, value):
    """Plain values in range are taken at once: fastgd/input/hyperparameters.py."""

    def read(given):
        try:
            array = read_hyperparameter(given, name, RANGES[name])
        except (TypeError, ValueError) as error:
            return type(error)
        return array.shape, array.dtype, array.tobytes()

    assert read(value) == read(np.array(value))
