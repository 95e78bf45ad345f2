"""Refusals: what the tests of bad input share."""

from __future__ import annotations

import re

import pytest

import fastgd


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
    with pytest.raises(error) as caught:
        fastgd.fit(*args, **options)
    assert re.search(pattern, message(caught)), str(caught.value)


def forbid_work(monkeypatch):
    """From here on nothing is allocated for results and nothing runs."""

    def began(*args, **options):
        raise AssertionError("work began")

    monkeypatch.setattr("fastgd.fitting.Job", began)
    monkeypatch.setattr("fastgd.fitting.run", began)
