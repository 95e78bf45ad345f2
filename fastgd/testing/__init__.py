"""For tests: certified regressions, hard problems, `assert_agrees`, the order of mini-batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .mini_batches import minibatch_order
from .named_problems import NamedProblem, problems, rates
from .nist_strd import NistExact, NistRegression, nist

if TYPE_CHECKING:
    from .asserting import Disagreement as Disagreement
    from .asserting import assert_agrees as assert_agrees

__all__ = ["Disagreement", "NamedProblem", "NistExact", "NistRegression", "assert_agrees", "minibatch_order", "nist", "problems", "rates"]


if not TYPE_CHECKING:  # or else every name would pass a type checker

    def __getattr__(name: str) -> Any:
        """Import `assert_agrees` and `Disagreement`, with the verifier, at their first use."""
        if name in ("assert_agrees", "Disagreement"):
            from . import asserting

            return getattr(asserting, name)
        raise AttributeError(f"module 'fastgd.testing' has no attribute {name!a}")


def __dir__() -> list[str]:
    return __all__
