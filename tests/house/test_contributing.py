"""What docs/contributing/ promises: a part that was forgotten is told by the file to open.

1. tests/support/parts_of_an_option.py says where the parts of an option stand; those of an update rule are in
   tests/kernels/test_update_rules.py.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import fastgd
from fastgd.running.call_cache import key_of
from tests.support import parts_of_an_option
from tests.support.parts_of_an_option import options_of_fit

DOCSTRING = fastgd.fit.__doc__


@pytest.mark.parametrize(("name", "default"), options_of_fit().items())
def test_every_option_of_fit_is_complete(name, default):
    lacking = parts_of_an_option.missing(name, default, docstring=DOCSTRING)
    assert not lacking, "\n".join(lacking)


def _without(monkeypatch, path, text):
    def read_without(wanted, read=parts_of_an_option.read):
        return read(wanted).replace(text, "(taken away)") if Path(wanted).parent == Path(path).parent else read(wanted)

    monkeypatch.setattr(parts_of_an_option, "read", read_without)


FORGOTTEN = {  # {part: (the file that lacks it, what it lacks)}
    "row of the docs": ("docs/guide.md", "| `tol` |"),
    "default in the docs": ("docs/guide.md", "| `tol` | `None` |"),
    "test": ("tests/fit", "tol"),
}


@pytest.mark.parametrize("part", FORGOTTEN)
def test_a_forgotten_part_of_an_option_is_told_by_its_file(part, monkeypatch):
    path, text = FORGOTTEN[part]
    _without(monkeypatch, path, text)
    (lacking,) = parts_of_an_option.missing("tol", None, docstring=DOCSTRING)
    assert lacking.startswith(f"{path}: ")


def test_a_forgotten_docstring_is_told():
    (lacking,) = parts_of_an_option.missing("tol", None, docstring=DOCSTRING.replace("    tol : float, optional", "    tols : float"))
    assert lacking == "fastgd/fitting.py: in the docstring an entry tol : …"


def test_an_option_that_the_docs_call_not_available_is_told():
    docstring = re.sub(r"(    schedule : None\n +)Not available yet\.", r"\1Made ahead.", DOCSTRING)
    assert docstring != DOCSTRING
    (lacking,) = parts_of_an_option.missing("schedule", None, docstring=docstring)
    assert lacking.startswith("docs/guide.md: whether `schedule` is available")


def test_an_option_that_the_call_cache_does_not_know_is_told():
    """A call would be given the decisions of one with another value: a wrong result without an error."""

    def forgetful(words):
        return key_of({**words, "tol": None})

    (lacking,) = parts_of_an_option.missing("tol", None, docstring=DOCSTRING, key=forgetful)
    assert lacking.startswith("fastgd/running/call_cache.py: ")
