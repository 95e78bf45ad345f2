"""Small calls run no more Python functions than is written down: a guard of their speed."""

from __future__ import annotations

import json
import sys

import pytest

from benchmarks import python_calls
from fastgd.planning import call_cache, options

WRITTEN = json.loads(python_calls.WRITTEN.read_text(encoding="utf-8"))
TOLERANCE = 0.05  # a few more are a feature; `benchmarks/python_calls.py --write` where they are meant


@pytest.mark.parametrize("name", python_calls.cases())
def test_no_more_functions_than_are_written_down(name):
    call_cache.forget()
    found, most = python_calls.count(python_calls.cases()[name]), WRITTEN[name]
    assert found <= most * (1 + TOLERANCE), f"{found} functions, {most} are written down"
    if sys.version_info < (3, 12):  # where a comprehension is a function, as where they were counted
        assert found >= most * (1 - TOLERANCE), f"{found} functions, {most} are written down: python benchmarks/python_calls.py --write"


def test_functions_are_counted():
    def one():
        options.forget()

    assert python_calls.count(one) == 1  # `one` itself is no function of fastgd
    assert python_calls.count(lambda: None) == 0
