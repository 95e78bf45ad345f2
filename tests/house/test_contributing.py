"""What docs/contributing/ promises: a part that was forgotten is told by the file to open.

1. tests/support/parts_of_an_option.py and parts_of_a_backend.py say where the parts stand; those of
   an update rule are in tests/kernels/test_update_rules.py.
2. An update rule may stop after the first part of add-a-rule.md: with such rules planted
   (tests/support/planted_rules.py) every test of rules passes, and none is left out.
"""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from typing import Literal

import pytest

import fastgd
from fastgd.kernels.update_rules import HANDS
from fastgd.planning.backends import BACKENDS, Backend
from tests.house import test_architecture
from tests.support import parts_of_a_backend, parts_of_an_option
from tests.support.parts_of_an_option import options_of_fit
from tests.support.paths import ROOT

DOCSTRING = fastgd.fit.__doc__


TESTS_OF_RULES = (
    "tests/kernels/test_update_rules.py", "tests/kernels/reference", "tests/fit", "tests/verification/test_verifying.py",
    "tests/verification/causes/test_rule.py",
)  # fmt: skip
OF_EVERY_RULE = {
    "test_every_row_has_a_function_in_every_hand", "test_every_hand_has_something_to_compare_with", "test_the_ranges_are_those_of_the_row",
    "test_many_digits", "test_the_first_row_that_is_not_finite_is_torchs", "test_each_hand_takes_the_state_where_it_was_left",
    "test_per_fit_values_equal_single_fits", "test_every_rule_in_lockstep_with_weights", "test_every_rule_is_named",
    "test_our_backends_agree_with_every_rule", "test_every_rule_in_lockstep_on_scaled_features",
    "test_a_state_goes_on_in_mid_schedule", "test_a_state_goes_on_in_mid_training",
}  # fmt: skip
OF_TORCHS_CLASS = {"test_the_ranges_are_torchs", "test_defaults_are_torchs", "test_the_tables_names_and_defaults_are_torchs"}


@pytest.mark.full
def test_a_rule_with_the_first_part_alone_passes_every_test_of_rules(torch):
    """Lion, which torch.optim does not have, and Adamax without its kernels."""
    chosen = "lion or adamax or references_step_as_the_rule_does or torch_as_its_users_write_it"
    options = ("-v", "-n", "0", "--tb=short", "-p", "no:cacheprovider", "-p", "tests.support.planted_rules", "-k", chosen)
    ran = subprocess.run([sys.executable, "-P", "-m", "pytest", *options, *TESTS_OF_RULES], cwd=ROOT, capture_output=True, text=True,
                         check=False, timeout=600)  # fmt: skip
    assert ran.returncode == 0, ran.stdout[-6000:] + ran.stderr[-2000:]
    results = re.findall(r"^\S+::(\w+)(?:\[(.+)\])? (\w+)", ran.stdout, re.MULTILINE)
    assert {result for _, _, result in results} == {"PASSED"}
    by_rule = {rule: {test for test, case, _ in results if rule in case.split("-")} for rule in ("lion", "adamax")}
    assert by_rule == {"lion": OF_EVERY_RULE, "adamax": OF_EVERY_RULE | OF_TORCHS_CLASS}
    assert {test for test, case, _ in results if not {"lion", "adamax"} & set(case.split("-"))} == {
        "test_the_references_step_as_the_rule_does",
        "test_torch_as_its_users_write_it",
    }


@pytest.mark.parametrize(("name", "default"), options_of_fit().items())
def test_every_option_of_fit_is_complete(name, default):
    lacking = parts_of_an_option.missing(name, default, docstring=DOCSTRING)
    assert not lacking, "\n".join(lacking)


def _without(monkeypatch, path, text):
    """From a file, or from all tests, where the path is a folder of tests."""

    def read_without(wanted, read=parts_of_an_option.read):
        spoiled = wanted in parts_of_an_option.TESTS if path in parts_of_an_option.TESTS else wanted == path
        return re.sub(rf"{re.escape(text)}\b" if text[-1].isalpha() else re.escape(text), "None", read(wanted)) if spoiled else read(wanted)

    monkeypatch.setattr(parts_of_an_option, "read", read_without)


FORGOTTEN = {  # {part: (the file that lacks it, what it lacks)}
    "row of the docs": ("docs/options.md", "| `tol` |"),
    "default in the docs": ("docs/options.md", "| `tol` | `None` |"),
    "test": ("tests/fit", "tol"),
    "argument that is read": ("fastgd/planning/options.py", 'arguments["tol"]'),
    "field that is filled": ("fastgd/running/chunks.py", "tol=job."),
    "CPU kernels": ("kernels/cpu/__init__.py", "chunk.tol"),
    "CUDA kernels": ("kernels/cuda", "chunk.tol"),
    "references": ("kernels/reference", "chunk.tol"),
    "specification": ("tests/specification/arbiter.py", "tol"),
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


def test_an_option_that_the_call_cache_does_not_know_is_told():
    """Else a call is given the decisions of one with another value: a wrong result, no error."""

    def forgetful(words):
        return parts_of_an_option.key_of({**words, "tol": None})

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


def _with_hands(hand):
    return lambda monkeypatch: monkeypatch.setattr(parts_of_a_backend, "HANDS", HANDS | {hand})


def _with_library(name, not_at_import):
    """The kernels of the backend may import another library."""

    def add(monkeypatch):
        monkeypatch.setitem(test_architecture.LIBRARIES, "kernels.mine*", {name})
        if not_at_import:
            monkeypatch.setattr(test_architecture, "NOT_AT_IMPORT", {*test_architecture.NOT_AT_IMPORT, name})
        else:
            monkeypatch.setattr(parts_of_a_backend, "VERSIONS", ())

    return add


# {part: (what the row says instead, what is taken away, the file that is told)}
FORGOTTEN_OF_A_BACKEND = {
    "runner": ({"runner": "gone"}, _with_hands("gone"), "fastgd/running/gone.py: "),
    "run": ({"runner": "groups"}, _with_hands("groups"), "fastgd/running/groups.py: a function run("),
    "hand": ({"runner": "least_squares"}, None, "kernels/update_rules.py: in HANDS 'least_squares'"),
    "descent": ({"algorithms": ("manual", "moments")}, None, "fastgd/running/reference.py: in _descent_of"),
    "version": ({}, _with_library("mlx", not_at_import=True), "fastgd/environment.py: the version of mlx"),
    "import": ({}, _with_library("jax", not_at_import=False), "tests/house/test_architecture.py: in NOT_AT_IMPORT 'jax'"),
    "algorithm": ({"algorithms": ("manual", "by hand")}, None, "kernels/chunk.py: in ALGORITHMS 'by hand'"),
    "reason": ({"algorithms": ("moments",), "runner": "cpu"}, None, "fastgd/planning/backends.py: in _REASONS 'moments'"),
    "choice": (
        {},
        lambda m: m.setattr(parts_of_a_backend.annotations, "BackendName", Literal["cpu"]),
        "fastgd/input/annotations.py: 'numpy' in BackendName",
    ),
    "row of the docs": ({}, _without_text('| `"numpy"` |'), "docs/options.md: "),
    "tests": ({}, _without_text('else "cpu,torch,numpy"'), "tests/conftest.py: numpy "),
}


@pytest.mark.parametrize("part", FORGOTTEN_OF_A_BACKEND)
def test_a_forgotten_part_of_a_backend_is_told_by_its_file(part, monkeypatch):
    changes, take_away, told = FORGOTTEN_OF_A_BACKEND[part]
    if take_away is not None:
        take_away(monkeypatch)
    lacking = parts_of_a_backend.missing(dataclasses.replace(BACKENDS["numpy"], **changes))
    assert len(lacking) == (3 if part == "version" else 1)  # three files tell versions
    assert lacking[0].startswith(told)


def test_a_backend_that_the_docstring_does_not_name_is_told(monkeypatch):
    monkeypatch.setattr(fastgd.fit, "__doc__", DOCSTRING.replace('"torch-cuda", "numpy"', '"torch-cuda"'))
    (lacking,) = parts_of_a_backend.missing(BACKENDS["numpy"])
    assert lacking == 'fastgd/fitting.py: in the docstring of `backend` "numpy"'
