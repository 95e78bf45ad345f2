"""Values, counts, places and sizes in words, for error messages and for what prints itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np

Kind = TypeVar("Kind")
MOST_SHOWN = 60  # characters of a value
_SIZED = (str, bytes, list, tuple, set, frozenset, dict)
_NAME_OF_CLASS: Any = type.__dict__["__name__"]


def in_ascii(text: str) -> str:
    """The text with an escape for every character that some terminal or log file cannot take.

    fastgd's own words are ASCII; names, paths and tracebacks of the user may not be.
    """
    return text.encode("ascii", "backslashreplace").decode("ascii")


def repr_in_ascii(kind: type[Kind]) -> type[Kind]:
    """Class decorator: escape what is not ASCII in the `repr` of a dataclass."""
    of_fields = kind.__repr__
    kind.__repr__ = lambda self: in_ascii(of_fields(self))  # type: ignore[method-assign]
    return kind


def shown(value: Any) -> str:
    """ascii(value) where that is short and on one line, else its type in angle brackets."""
    try:
        if (value.size if isinstance(value, np.ndarray) else len(value) if isinstance(value, _SIZED) else 0) > MOST_SHOWN:
            return f"<{kind_of(value)}>"  # without the time to write it all
        text = str.encode(ascii(value)).decode()  # of a subclass of str, too, the text alone
    except Exception:  # whatever a __repr__ may raise; Python prints no int of over 4,300 digits
        text = "\n"
    return text if len(text) <= MOST_SHOWN and "\n" not in text else f"<{kind_of(value)}>"


def kind_of(value: Any) -> str:
    """The name of a value's class, which no metaclass can hide."""
    return ascii(_NAME_OF_CLASS.__get__(type(value)))[1:-1][:60]


def what_was_raised(error: BaseException) -> str:
    """The message of an error of other code in one line of at most 200 characters, or its class."""
    try:
        text = " ".join(in_ascii(str(error)).split())
    except Exception:  # whatever a __str__ may raise
        text = ""
    return (text if len(text) <= 200 else f"{text[:197]}...") or kind_of(error)


def place(index: tuple[Any, ...]) -> str:
    """' at index 3' or ' at index (3, 1)'; an empty text for a single number."""
    if not index:
        return ""
    return f" at index {int(index[0]) if len(index) == 1 else tuple(int(i) for i in index)}"


def counted(count: int, noun: str) -> str:
    """'1 sample', '1,000 samples'."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def amount(size: int) -> str:
    """A number of bytes in KiB, MiB or GiB, such as '1.5 MiB'."""
    if size >= 2**28:
        return f"{size / 2**30:,.2f} GiB"
    return f"{size / 2**20:,.1f} MiB" if size >= 2**20 else f"{size / 2**10:,.1f} KiB"


def where_arrays(text: str, given: Mapping[str, Any]) -> str:
    """A message whose advice works with what was given: lists and frames become arrays first."""
    says, _, advice = text.partition("give ")
    first = []
    for name, value in given.items():
        if hasattr(value, "movedim"):  # a tensor of torch
            advice = advice.replace(f"np.moveaxis({name}", f"torch.moveaxis({name}")
        elif (hasattr(value, "dims") or not (isinstance(value, np.ndarray) or hasattr(value, "__array_namespace__"))) and any(
            code in advice for code in (f"{name}[:", f"{name}[.", f"{name}.T", f"np.moveaxis({name}")
        ):
            first.append(name)
    text = f"{says}give {advice}" if advice else says
    return f"{text}, where {', '.join(first)} = {', '.join(f'np.asarray({name})' for name in first)}" if first else text
