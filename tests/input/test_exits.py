"""A SystemExit does not leave a function that judges: no program ends with status 0 by it."""

from __future__ import annotations

import numpy as np
import pytest

import fastgd
from fastgd.input.exits import lets_nothing_exit
from fastgd.testing import assert_agrees


class Abandon(BaseException):
    """Not an Exception."""


class Exits:
    """An array that ends the program when it is read."""

    def __init__(self, error):
        self.error = error

    def __array__(self, dtype=None, copy=None):
        raise self.error


@pytest.mark.parametrize("error", [SystemExit(0), GeneratorExit(), Abandon("no")])
def test_what_would_end_the_program_is_an_error(error):
    X = [1.0, 2.0]
    for function, given in (
        (fastgd.verify, (Exits(error), X, X)),
        (fastgd.verify, ([0.0, 0.0], Exits(error), X)),
        (fastgd.diagnose, (X, X, Exits(error))),
        (assert_agrees, (Exits(error), X, X)),
    ):
        with pytest.raises(
            RuntimeError, match=rf"{type(error).__name__} was raised within fastgd\.\w+ by an object that it was given"
        ) as caught:
            function(*given, lr=0.1)
        assert caught.value.__cause__ is error


def test_other_exceptions_are_let_through():
    @lets_nothing_exit
    def raises(error):
        raise error

    for error in (ValueError("x"), KeyboardInterrupt()):
        with pytest.raises(type(error)) as caught:
            raises(error)
        assert caught.value is error
    assert np.array_equal(lets_nothing_exit(np.sort)([2, 1]), [1, 2])
