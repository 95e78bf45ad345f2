"""Exceptions that end a program as if all was well: they do not leave a function that judges."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

Given = ParamSpec("Given")
Made = TypeVar("Made")


def lets_nothing_exit(function: Callable[Given, Made]) -> Callable[Given, Made]:
    """Decorator: a SystemExit that the caller's objects raise becomes a RuntimeError.

    The same is done with every other exception that is no Exception, which `except Exception` does
    not see. A KeyboardInterrupt is let through: it may be the user's Ctrl-C, and it ends a program
    with a status that is not 0.
    """

    @functools.wraps(function)
    def call(*args: Given.args, **options: Given.kwargs) -> Made:
        try:
            return function(*args, **options)
        except (Exception, KeyboardInterrupt):
            raise
        except BaseException as error:
            name = type(error).__name__
            raise RuntimeError(f"{name} was raised within fastgd.{function.__name__} by an object that it was given") from error

    return call
