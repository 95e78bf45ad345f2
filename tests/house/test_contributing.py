"""What docs/contributing/ promises: a part that was forgotten is told by the file to open.

1. tests/support/parts_of_an_option.py and parts_of_a_backend.py say where the parts stand; those of
   an update rule are in tests/kernels/test_update_rules.py.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

import fastgd
from fastgd.planning.backends import BACKENDS, Backend
from fastgd.planning.call_cache import key_of
from tests.support import parts_of_a_backend, parts_of_an_option
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
    """Else a call is given the decisions of one with another value: a wrong result, no error."""

    def forgetful(words):
        return key_of({**words, "tol": None})

    (lacking,) = parts_of_an_option.missing("tol", None, docstring=DOCSTRING, key=forgetful)
    assert lacking.startswith("fastgd/planning/call_cache.py: ")


@pytest.mark.parametrize("row", BACKENDS.values(), ids=list(BACKENDS))
def test_every_backend_is_complete(row):
    lacking = parts_of_a_backend.missing(row)
    assert not lacking, "\n".join(lacking)


def test_the_page_of_backends_has_every_field_of_a_row():
    page = parts_of_a_backend.read("docs/contributing/add-a-backend.md").partition("## The row")[2]
    assert re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE) == [field.name for field in dataclasses.fields(Backend)]


def _without_text(text):
    def take_away(monkeypatch):
        read = parts_of_a_backend.read
        monkeypatch.setattr(parts_of_a_backend, "read", lambda path: read(path).replace(text, "(taken away)"))

    return take_away


# {part: (what the row says instead, what is taken away, the file that is told)}
FORGOTTEN_OF_A_BACKEND = {
    "runner": ({"runner": "gone"}, None, "fastgd/running/gone.py: "),
    "run": ({"runner": "groups"}, None, "fastgd/running/groups.py: a function run("),
    "algorithm": ({"algorithms": ("manual", "by hand")}, None, "kernels/chunk.py: in ALGORITHMS 'by hand'"),
    "reason": ({"algorithms": ("lstsq",)}, None, "fastgd/planning/backends.py: in _REASONS 'lstsq'"),
    "row of the docs": ({}, _without_text('| `"numpy"` |'), "docs/guide.md: "),
    "tests": ({}, _without_text('else "cpu,torch,numpy"'), "tests/conftest.py: numpy "),
}


@pytest.mark.parametrize("part", FORGOTTEN_OF_A_BACKEND)
def test_a_forgotten_part_of_a_backend_is_told_by_its_file(part, monkeypatch):
    changes, take_away, told = FORGOTTEN_OF_A_BACKEND[part]
    if take_away is not None:
        take_away(monkeypatch)
    (lacking,) = parts_of_a_backend.missing(dataclasses.replace(BACKENDS["numpy"], **changes))
    assert lacking.startswith(told)


def test_a_backend_that_the_docstring_does_not_name_is_told(monkeypatch):
    monkeypatch.setattr(fastgd.fit, "__doc__", DOCSTRING.replace('"torch-cuda", "numpy"', '"torch-cuda"'))
    (lacking,) = parts_of_a_backend.missing(BACKENDS["numpy"])
    assert lacking == 'fastgd/fitting.py: in the docstring of `backend` "numpy"'
