"""scipy.special, for the distributions of statistics: SciPy is an extra."""

from __future__ import annotations

from typing import Any


def special(what: str) -> Any:
    """scipy.special; an error that says what needs it."""
    try:
        import scipy.special
    except ImportError:
        raise ImportError(f"{what} needs SciPy: pip install 'fastgd[stats]'; std_error, t, r2 and the rest do without") from None
    return scipy.special


def has_scipy() -> bool:
    """Whether p values and intervals can be computed here."""
    try:
        special("p")
    except ImportError:
        return False
    return True
