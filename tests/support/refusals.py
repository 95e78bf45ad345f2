"""Refusals: what the tests of bad input share; the fixture `no_work` is in conftest.py."""

from __future__ import annotations

import re

import numpy as np
import pytest

import fastgd

x = np.array([1.0, 2.0, 3.0, 4.0])
y = 2 * x
X2 = np.arange(16.0).reshape(8, 2) % 5  # one fit of two features
Y2 = X2.sum(1)
X5 = np.stack([X2 + k for k in range(5)])  # five of them
Y5 = X5.sum(-1)


def message(caught) -> str:
    """The text of an error; it was raised by fastgd itself, not by a kernel nor by NumPy."""
    module = caught.traceback[-1].frame.f_globals["__name__"]
    assert module.startswith("fastgd."), f"raised in {module}"
    assert not module.startswith("fastgd.kernels")
    text = str(caught.value)
    assert len(text) < 300, text
    assert "\n" not in text
    return text


def refused(error, pattern, *args, **options):
    refused_call(error, pattern, lambda: fastgd.fit(*args, **options))


def refused_call(error, pattern, call):
    with pytest.raises(error) as caught:
        call()
    assert re.search(pattern, message(caught)), str(caught.value)
