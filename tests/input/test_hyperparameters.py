"""Hyperparameters: what is refused, in which words, and that plain numbers are read like arrays of
them."""

from __future__ import annotations

import numpy as np
import pytest

import fastgd
from fastgd import SGD
from fastgd.input.hyperparameters import read_hyperparameter
from fastgd.kernels.update_rules import LR, UPDATE_RULES, Range
from tests.support.fit_results import x, y
from tests.support.refusals import X5, Y5, refused


def test_hyperparameters_may_be_tensors_of_any_kind(torch):
    x, y = [1.0, 2, 3, 4], [2.0, 4, 6, 8]
    want = fastgd.fit(x, y, optimizer=fastgd.SGD(lr=0.125, momentum=0.5), epochs=5)
    given = {"lr": torch.tensor(0.125, requires_grad=True), "momentum": torch.tensor(0.5, dtype=torch.bfloat16)}
    assert fastgd.fit(x, y, optimizer=fastgd.SGD(**given), epochs=5).w == want.w
    with pytest.raises(TypeError, match="momentum must be a real number"):
        fastgd.fit(x, y, optimizer=fastgd.SGD(momentum=torch.tensor(True)))


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
