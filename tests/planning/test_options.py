"""Options that are read once for all calls that give the same: never those of another call."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import fastgd
from fastgd.planning import options
from fastgd.planning.options import NAMES, key_of_options, options_of, read_options
from tests.support.jobs import DEFAULTS

X, Y = np.arange(12.0).reshape(6, 2) % 5, np.arange(6.0)


def read(**given):
    """(key, options) as a call with these options reads them."""
    arguments = {**DEFAULTS, "X": X, "y": Y, **given}
    key = key_of_options(arguments)
    return key, options_of(arguments, key, fastgd.optimizers.find_optimizer(arguments["optimizer"]))


def test_the_names_are_options_of_fit_and_of_no_data():
    parameters = inspect.signature(fastgd.fit).parameters
    assert set(NAMES) <= set(parameters)
    assert not set(NAMES) & {"X", "y", "lr", "sample_weight", "w0", "intercept0", "state", "out", "X_val", "y_val", "sample_weight_val"}


def test_what_was_read_is_kept_for_the_same_values_and_for_no_others():
    kinds = [
        {}, {"tol": 1.0}, {"tol": 1}, {"min_delta": -0.0}, {"history": True}, {"history": 1}, {"memory_limit": "1 GiB"},
        {"optimizer": fastgd.SGD()}, {"optimizer": fastgd.SGD(momentum=0.9)}, {"optimizer": fastgd.SGD(momentum=-0.0)},
        {"optimizer": fastgd.SGD(maximize=True)}, {"optimizer": "adam"}, {"optimizer": fastgd.Adam(betas=(0.9, 0.99))},
    ]  # fmt: skip
    options.forget()
    found = [read(**given) for given in kinds]
    assert len({key for key, _ in found}) == len(kinds)
    for given, (key, known) in zip(kinds, found, strict=True):
        assert read(**given) == (key, known)
        fresh = read_options({**DEFAULTS, **given}, known.optimizer)
        assert (fresh.tol, fresh.every, fresh.memory_limit, fresh.rule) == (known.tol, known.every, known.memory_limit, known.rule)
        assert [values.tolist() for values in fresh.hyper] == [values.tolist() for values in known.hyper]


def test_an_optimizer_that_was_changed_is_read_as_it_is():
    optimizer = fastgd.SGD(momentum=0.5)
    before = fastgd.fit(X, Y, lr=0.01, optimizer=optimizer)
    object.__setattr__(optimizer, "momentum", 0.9)
    after = fastgd.fit(X, Y, lr=0.01, optimizer=optimizer)
    assert float(after.hyperparameters["momentum"]) == 0.9
    assert float(before.hyperparameters["momentum"]) == 0.5
    assert after.loss == fastgd.fit(X, Y, lr=0.01, optimizer=fastgd.SGD(momentum=0.9)).loss != before.loss


def test_arrays_of_hyperparameters_are_read_in_every_call():
    momentum = np.array([0.1, 0.2])
    assert read(optimizer=fastgd.SGD(momentum=momentum))[0] is None
    before = fastgd.fit(X, Y, lr=0.01, optimizer=fastgd.SGD(momentum=momentum))
    momentum[:] = 0.9
    after = fastgd.fit(X, Y, lr=0.01, optimizer=fastgd.SGD(momentum=momentum))
    assert before.hyperparameters["momentum"].tolist() == [0.1, 0.2]
    assert after.hyperparameters["momentum"].tolist() == [0.9, 0.9]
    assert momentum.flags.writeable


@pytest.mark.parametrize("optimizer", ["sgd", fastgd.SGD(momentum=np.array([0.1, 0.2])), fastgd.Adam()])
def test_no_result_can_change_the_hyperparameters_of_another(optimizer):
    for _ in range(2):
        result = fastgd.fit(X, Y, lr=0.01, optimizer=optimizer)
        for values in result.hyperparameters.values():
            with pytest.raises(ValueError, match="read-only"):
                values[...] = 7.0
        result.hyperparameters.clear()
    assert fastgd.fit(X, Y, lr=0.01, optimizer=optimizer).hyperparameters


def test_an_option_that_is_refused_is_refused_again():
    for _ in range(2):
        with pytest.raises(ValueError, match="patience=3 looks at the loss of validation data"):
            fastgd.fit(X, Y, patience=3)
        with pytest.raises(TypeError, match="shuffle"):
            fastgd.fit(X, Y, shuffle=1.5)
        with pytest.raises(ValueError, match="seed"):
            fastgd.fit(X, Y, seed=-1)
        with pytest.raises(ValueError, match="schedule_every"):
            fastgd.fit(X, Y, schedule_every="batch")


def test_few_are_kept():
    for k in range(3 * options.MOST_REMEMBERED):
        read(tol=1e-3 + k)
        assert len(options._remembered) <= options.MOST_REMEMBERED
