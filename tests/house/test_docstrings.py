"""Every example in a docstring runs and prints what it says, with warnings as errors."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from contextlib import nullcontext

import pytest

import fastgd
import fastgd.kernels
from tests.support.scipy_stand_in import scipy

MODULES = [
    "fastgd",
    *sorted(
        module.name
        for package in (fastgd, fastgd.kernels)
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
        if not module.name.endswith("__main__")
    ),
]


def examples(name: str) -> list[doctest.DocTest]:
    """The docstrings of a module that hold examples."""
    return [test for test in doctest.DocTestFinder().find(importlib.import_module(name)) if test.examples]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    said: list[str] = []
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.FAIL_FAST | doctest.ELLIPSIS)
    with scipy() if name == "fastgd.results.statistics" else nullcontext():
        for test in examples(name):
            runner.run(test, out=said.append)
    assert not runner.failures, "".join(said)


def test_modules_and_examples_are_found():
    assert {"fastgd.fitting", "fastgd.results.result", "fastgd.verification.bound", "fastgd.kernels.reference.record"} <= set(MODULES)
    with_examples = {test.name for name in MODULES for test in examples(name)}
    for thing in fastgd.__all__:
        value = getattr(fastgd, thing)
        assert "Examples" not in (getattr(value, "__doc__", None) or "") or f"{value.__module__}.{thing}" in with_examples
    assert {"fastgd.fitting.fit", "fastgd.optimizers.SGD", "fastgd.results.result.FitResult.predict"} <= with_examples
    assert any(name.startswith("fastgd.verification") or name.startswith("fastgd.testing") for name in with_examples)


@pytest.mark.parametrize("name", [name for name in fastgd._MODULES if name != "verification"])
def test_public_modules_list_their_public_names_alone(name):
    module = importlib.import_module(f"fastgd.{name}")
    assert sorted(dir(module)) == sorted(module.__all__)


def test_names_that_are_imported_late_are_listed():
    """`dir`, which an editor completes from, has them before they are used."""
    assert set(fastgd.__all__) <= set(dir(fastgd))
    with pytest.raises(AttributeError, match="module 'fastgd' has no attribute 'fits'"):
        fastgd.fits  # noqa: B018
