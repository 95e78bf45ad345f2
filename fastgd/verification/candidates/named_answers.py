"""What a user's function returned, by names: dicts, named tuples, objects, frames."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..bound.yardstick import Array
from .names import counts_epochs, is_history, role_of_answer
from .tasks import Unreadable, copied

__all__ = ["Named", "are_rows", "by_name", "has_last_among", "has_w", "is_number", "is_table", "names_in", "numbers", "with_weights_named"]


def are_rows(value: Any) -> bool:
    """Return whether a value is a list of tuples, lists or dicts."""
    return isinstance(value, list | tuple) and len(value) > 0 and all(isinstance(row, list | tuple | Mapping) for row in value)


class Named(tuple[Any, ...]):
    """The parts of an answer that were found by their names: w, b, losses."""


def by_name(answer: Any) -> Any:
    """Return the parts (w, b, losses) of what has names in it; another answer as it is."""
    several = isinstance(answer, tuple) and not hasattr(answer, "_asdict")
    given = [part for part in answer if part is not None] if several else [answer]
    named = [names_in(part) for part in given]
    if not any(names is not None and has_w(names) for names in named):
        return answer
    found: dict[str, Any] = {}
    for part, names in zip(given, named, strict=True):
        roles = _roles_in(names) if names is not None else {"loss": part} if is_number(part) and np.ndim(part) == 1 else {}
        newer = _many(roles.get("w")) and not _many(found.get("w"))  # the rows, beside a model with the last w
        found |= {role: value for role, value in roles.items() if role not in found or newer}
    rows = "w_rows" in found
    w, b = found.get("w_rows", found.get("w")), found.get("b_rows" if rows else "b")
    parts = [part for part in (w, b, found.get("loss")) if part is not None]
    return Named(parts) if len(parts) > 1 else parts[0]


def with_weights_named(answer: Any, D: int, intercept: bool) -> Any:
    """Return a table of all epochs, a frame or a list of dicts, with its weights under one name.

    Where it has no w, the columns beside the intercept, the losses and the numbers of the epochs
    are the weights, by the names of the features, if they are as many.
    """
    if isinstance(answer, tuple) and not hasattr(answer, "_asdict"):
        return tuple(with_weights_named(part, D, intercept) for part in answer)
    if is_table(answer):
        columns: dict[str, Any] = {str(name): np.asarray(answer[name]) for name in answer.columns}
    elif isinstance(answer, list) and are_rows(answer) and all(isinstance(row, Mapping) for row in answer):
        columns = {str(name): [row.get(name) for row in answer] for name in answer[0]}
    else:
        return answer
    roles = {name: role_of_answer(name) for name in columns}
    numbered = [name for name, role in roles.items() if role == "w" and name[-1:].isdigit()]  # w0, w1, w2
    if len(numbered) > 1:
        roles |= dict.fromkeys(numbered)
    if {"w", "w_rows"} & set(roles.values()):
        return answer
    weights = [columns[name] for name, role in roles.items() if role is None and not counts_epochs(name)]
    if len(weights) != D - intercept or not all(map(is_number, weights)):
        return answer
    found = {_of_rows(name): columns[name] for name, role in roles.items() if role is not None}
    return found | {"w_history": np.column_stack([numbers(weight, "w") for weight in weights])}


def is_table(answer: Any) -> bool:
    """Return whether this is a frame."""
    return hasattr(answer, "to_dict") and hasattr(answer, "columns")


def has_last_among(names: Mapping[Any, Any], rows: Array) -> bool:
    """Return whether a w among these, with the intercept or not, is the last of several rows."""
    w = _roles_in(names).get("w")
    if w is None or len(rows) < 2 or not is_number(w) or not 0 <= rows.shape[1] - np.size(w) <= 1:
        return False
    return np.array_equal(np.ravel(numbers(w, "w")), rows[-1, : np.size(w)])


def _many(value: Any) -> bool:
    """Return whether a value is a list of rows."""
    return isinstance(value, list | tuple) and len(value) > 1


def has_w(names: Mapping[Any, Any]) -> bool:
    """Return whether one of these names is that of w, or of its rows."""
    return bool({"w", "w_rows"} & _roles_in(names).keys())


def _roles_in(names: Mapping[Any, Any]) -> dict[str, Any]:
    """Return {role: value}; a dict in it, and a list of dicts, one for each epoch, count too."""
    found: dict[str, Any] = {}
    plain = {str(name).lower().replace("_", "") for name in names}
    for name, value in names.items():
        if isinstance(value, list | tuple) and value and all(isinstance(row, Mapping) for row in value):
            inner: Mapping[Any, Any] | None = {_of_rows(key): [row.get(key) for row in value] for key in value[0]}
        else:
            inner = names_in(value)
            if inner is not None and is_history(str(name)):
                inner = {_of_rows(key): rows for key, rows in inner.items()}
        if inner is not None:
            found |= {role: part for role, part in _roles_in(inner).items() if role not in found}
        elif (role := role_of_answer(str(name))) is not None and not callable(value):
            stem, digit = str(name).lower().replace("_", "")[:-1], str(name).rstrip("_")[-1:]
            if role == "w" and digit == "0" and {stem, f"{stem}1"} & plain:  # theta0 beside theta or theta1
                role = "b"
            found.setdefault(role, value)
    return found


def _of_rows(name: Any) -> str:
    """Return the name of a column that has a row for each epoch."""
    return f"{name}_history" if role_of_answer(str(name)) in ("w", "b") else str(name)


def names_in(answer: Any) -> Mapping[Any, Any] | None:
    """Return what an answer holds by name; None: it is no such thing."""
    if isinstance(answer, Mapping):
        return answer
    if isinstance(answer, list) and answer and all(isinstance(row, Mapping) for row in answer):
        return {"history": answer}
    if isinstance(answer, tuple) and hasattr(answer, "_asdict"):  # a named tuple
        named: Mapping[Any, Any] = answer._asdict()
        return named
    if is_table(answer):  # with a row for each epoch
        return {_of_rows(name): np.asarray(answer[name]) for name in answer.columns}
    if hasattr(answer, "named_parameters"):  # a torch module
        return {name.rpartition(".")[2]: parameter for name, parameter in answer.named_parameters()}
    plain = type(answer).__module__.partition(".")[0] not in ("numpy", "torch", "jax", "jaxlib", "builtins")
    return vars(answer) if plain and hasattr(answer, "__dict__") and not hasattr(answer, "__array__") else None


def is_number(value: Any) -> bool:
    """Return whether a value can be read as an array of numbers."""
    try:
        copied(value, "w")
    except (TypeError, ValueError):
        return False
    return True


def numbers(value: Any, name: str) -> Array:
    """Return a value as an array of numbers."""
    try:
        return copied(value, name)
    except (TypeError, ValueError) as error:
        raise Unreadable(f"it returned something that cannot be read: {error}") from None
