"""Wrong names of options, and of what fastgd has: the error names the right one."""

from __future__ import annotations

import inspect
import traceback

import numpy as np
import pytest

import fastgd
from fastgd.input import wrong_names
from fastgd.optimizers import optimizer_classes
from tests.support.new_processes import run_python

X, y = [[1.0], [2.0], [3.0]], [2.0, 4.0, 6.0]
CALLS = {
    "fit": lambda **options: fastgd.fit(X, y, **options),
    "solve": lambda **options: fastgd.solve(X, y, **options),
    "verify": lambda **options: fastgd.verify("numpy", X, y, **options),
    "diagnose": lambda **options: fastgd.diagnose(X, y, [[0.0], [1.0]], **options),
    "SGD": fastgd.SGD,
    "Adam": fastgd.Adam,
}


@pytest.mark.parametrize(
    ("called", "name", "said"),
    [
        ("fit", "epoch", "give epochs="),
        ("fit", "max_iter", "give epochs="),
        ("fit", "learning_rate", "give lr="),
        ("fit", "fit_intercept", "give intercept="),
        ("fit", "weights", "give sample_weight="),
        ("fit", "n_jobs", "give threads="),
        ("fit", "alpha", "it is one of the optimizer: give optimizer=fastgd.SGD(weight_decay=...)"),
        ("fit", "l2", "it is one of the optimizer: give optimizer=fastgd.SGD(weight_decay=...)"),
        ("fit", "momentum", "it is one of the optimizer: give optimizer=fastgd.SGD(momentum=...)"),
        ("fit", "betas", "it is one of the optimizer: give optimizer=fastgd.Adam(betas=...)"),
        ("fit", "rho", "it is one of the optimizer: give optimizer=fastgd.Adadelta(rho=...)"),
        ("fit", "intercpt", "give intercept="),
        ("solve", "alpha", "give weight_decay="),
        ("solve", "lr", "it has X, y, intercept, "),
        ("solve", "größe", "it has X, y, "),
        ("verify", "learning_rate", "give lr="),
        ("diagnose", "learning_rate", "give lr="),
        ("SGD", "learning_rate", "give lr="),
        ("Adam", "beta1", "give betas="),
        ("Adam", "l2_penalty", "give weight_decay="),
    ],
)
def test_a_wrong_keyword(called, name, said):
    with pytest.raises(TypeError) as caught:
        CALLS[called](**{name: 1})
    assert str(caught.value).startswith(f"{called}() has no option {name!a}: {said}")
    assert len(traceback.extract_tb(caught.value.__traceback__)) <= 4  # nothing of Python's own error before it
    assert caught.value.__suppress_context__


def test_other_type_errors_stay_as_they_are():
    with pytest.raises(TypeError, match=r"^y is missing, it is None: give X and y, or Moments"):
        fastgd.fit(X)
    with pytest.raises(TypeError, match=r"^fit\(\) takes from 1 to 2 positional arguments but 3 were given$"):
        fastgd.fit(X, y, 0.1)
    with pytest.raises(TypeError, match=r"^epochs must be a whole number, not 1\.5$"):
        fastgd.fit(X, y, epochs=1.5)

    def wrong(w, X, y, lr):
        return np.zeros(1, colour="red")  # a TypeError about a keyword, of the user's own

    assert "colour" in str(fastgd.verify(wrong, X, y, lr=0.1, epochs=1))


def test_signatures_stay():
    assert list(inspect.signature(fastgd.fit).parameters)[:3] == ["X", "y", "lr"]
    assert "nesterov" in inspect.signature(fastgd.SGD).parameters
    assert fastgd.fit.__doc__.startswith("Fit linear models")
    assert fastgd.fit.__module__ == "fastgd.fitting"


def test_no_word_of_others_is_an_option_and_each_stands_for_one():
    """All that the table points to are options of something."""
    options = {name for call in (fastgd.fit, fastgd.solve) for name in inspect.signature(call).parameters}
    of_rules = {name for rule in optimizer_classes() for name in inspect.signature(rule).parameters}
    others = [name for names in wrong_names._OPTIONS.values() for name in names]
    assert len(others) == len(set(others))
    assert not set(others) & options
    assert set(wrong_names._OPTIONS) <= options | of_rules


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("LinearRegression", "models are fitted by fastgd.fit(X, y), or in closed form by fastgd.solve(X, y)"),
        ("gradient_descent", "models are fitted by fastgd.fit"),
        ("optim", "update rules are classes of fastgd itself"),
        ("adam", "update rules are classes of fastgd itself"),
        ("assert_agrees", "it is in fastgd.testing"),
    ],
)
def test_names_that_fastgd_lacks(name, said):
    with pytest.raises(AttributeError) as caught:
        getattr(fastgd, name)
    assert str(caught.value).startswith(f"module 'fastgd' has no attribute '{name}': {said}")
    assert not hasattr(fastgd, name)


def test_python_adds_names_that_are_alike():
    with pytest.raises(AttributeError) as caught:
        fastgd.Fit  # noqa: B018
    assert (caught.value.name, caught.value.obj) == ("Fit", fastgd)  # what it makes "Did you mean: 'fit'?" of


def test_what_only_errors_need_is_not_imported_with_fastgd():
    done = run_python("import numpy, sys; before = set(sys.modules); import fastgd; print('difflib' in set(sys.modules) - before)")
    assert (done.returncode, done.stdout, done.stderr) == (0, "False\n", "")
