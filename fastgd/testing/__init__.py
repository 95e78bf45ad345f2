"""Data to test fits with: the certified NIST StRD regressions and a named set of hard problems; and `assert_agrees` for test suites."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .named_problems import NamedProblem, problems, rates
from .nist_strd import NistExact, NistRegression, nist

if TYPE_CHECKING:
    from .asserting import Disagreement as Disagreement
    from .asserting import assert_agrees as assert_agrees

__all__ = ["Disagreement", "NamedProblem", "NistExact", "NistRegression", "assert_agrees", "nist", "problems", "rates"]


def __getattr__(name: str) -> Any:
    """`assert_agrees` and `Disagreement`: the verifier is loaded when it is asked for."""
    if name in ("assert_agrees", "Disagreement"):
        from . import asserting

        return getattr(asserting, name)
    raise AttributeError(f"module 'fastgd.testing' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
