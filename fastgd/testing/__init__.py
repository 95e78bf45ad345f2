"""For tests: the certified NIST StRD regressions, a set of hard problems, and `assert_agrees`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .named_problems import NamedProblem, problems, rates
from .nist_strd import NistExact, NistRegression, nist

if TYPE_CHECKING:
    from .asserting import Disagreement as Disagreement
    from .asserting import assert_agrees as assert_agrees

__all__ = ["Disagreement", "NamedProblem", "NistExact", "NistRegression", "assert_agrees", "nist", "problems", "rates"]


if not TYPE_CHECKING:  # or else every name would pass a type checker

    def __getattr__(name: str) -> Any:
        """Import `assert_agrees` and `Disagreement`, with the verifier, at their first use."""
        if name in ("assert_agrees", "Disagreement"):
            from . import asserting

            return getattr(asserting, name)
        raise AttributeError(f"module 'fastgd.testing' has no attribute {name!a}")


def __dir__() -> list[str]:
    return __all__
