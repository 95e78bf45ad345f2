"""How a user's function is to be called: what each of its parameters is, by its name.

1. Where X and y, w, or the epochs have their names and every parameter that is needed has a role,
   the names decide: any order, keywords only, defaults. Else their number does: four are
   step(w, X, y, lr), five train(X, y, lr, epochs, w0).
2. A function that takes the number of epochs, or no w, is a whole training. One that takes no
   learning rate may return the gradient, of which the step is made here: its name says which is
   tried first.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ...input.messages import shown
from .names import is_constant, rank, roles_of

__all__ = ["Call", "read_call"]

_FORMS = "it must be step(w, X, y, lr) or train(X, y, lr, epochs, w0)"
_NO_RATE = "it takes no learning rate: it has to use the one that is given here"
_GRADIENT = "what it returns was read as the gradient: w - lr * gradient is computed here"
_OPTIONAL = ("weights", "batch_size", "ridge")  # given where verify was told of them
_IN_ORDER = {"step": ("w", "X", "y", "lr"), "train": ("X", "y", "lr", "epochs", "w")}


class Call(NamedTuple):
    """How one function is called."""

    kind: str  # "step", "train" or "gradient"
    roles: tuple[tuple[str, str], ...]  # (parameter, role), those by position first
    n_by_position: int
    notes: tuple[str, ...] = ()
    optional: tuple[tuple[str, str], ...] = ()  # given by name where verify was told of them

    @property
    def otherwise(self) -> Call | None:
        """How it may be meant as well: without a learning rate a step may be a gradient."""
        if self.kind == "train" or self.has("lr"):
            return None
        note = {"step": _GRADIENT, "gradient": _NO_RATE}[self.kind]
        notes = tuple(told for told in self.notes if told not in (_GRADIENT, _NO_RATE))
        return self._replace(kind="gradient" if self.kind == "step" else "step", notes=(*notes, note))

    def has(self, role: str) -> bool:
        """Return whether the function takes this."""
        return any(role == one for _, one in self.roles)

    def has_optional(self, role: str) -> bool:
        """Return whether the function has a parameter for this, with a default."""
        return any(role == one for _, one in self.optional)

    def name_of(self, role: str) -> str | None:
        """Return the name of the parameter for this; None: it has none."""
        return next((name for name, one in (*self.roles, *self.optional) if one == role), None)

    @property
    def b_first(self) -> bool:
        """Whether the intercept is a parameter of its own, and stands before w."""
        order = [role for _, role in self.roles if role in ("w", "b")]
        return order == ["b", "w"]

    def on(self, function: Callable[..., Any], values: Mapping[str, Any]) -> Any:
        """Call the function with the values of the roles."""
        given = [(name, values[role]) for name, role in self.roles]
        given += [(name, values[role]) for name, role in self.optional if values.get(role) is not None]
        by_position, by_name = given[: self.n_by_position], given[self.n_by_position :]
        return function(*(value for _, value in by_position), **dict(by_name))


def read_call(function: Callable[..., Any]) -> Call:
    """Return how a function is called."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        raise TypeError(f"cannot read the arguments of {shown(function)}: wrap it in a function step(w, X, y, lr)") from None
    parameters = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    roles = roles_of(p.name for p in parameters if not is_constant(p.name, p.default))
    twice = [role for role in set(roles.values()) if list(roles.values()).count(role) > 1]
    for role in twice:  # the first one counts, unless it could be left out
        same = sorted((p for p in parameters if roles.get(p.name) == role), key=lambda p: (p.default is not p.empty, rank(p.name)))
        for p in same[1:]:
            del roles[p.name]
    needed = [p for p in parameters if p.default is p.empty]
    unknown = [p for p in needed if p.name not in roles]
    has_data = {"X", "y"} <= set(roles.values()) or "points" in roles.values()
    if has_data and len(unknown) == 1 and "w" not in roles.values():  # what is left is w
        roles[unknown.pop().name] = "w"
    if not unknown and (has_data or {"w", "epochs"} & set(roles.values())):
        return _by_names(parameters, roles, getattr(function, "__name__", ""))
    return _by_number(parameters, needed, unknown, has_data, roles)


def _by_names(parameters: list[inspect.Parameter], roles: dict[str, str], name: str) -> Call:
    """Return the call of a function whose parameters have names that say what they are."""
    if "epochs" not in roles.values() and re.search("desc|train|fit", name.lower()):  # n is how often, not how many
        roles |= {one: "epochs" for one, role in roles.items() if one == "n"}
    found = set(roles.values())
    kind = "train" if "epochs" in found or "w" not in found else "step"
    if kind == "step" and "lr" not in found and re.search("grad|slope|deriv", name, re.I) and not re.search("desc|step|update", name, re.I):
        kind = "gradient"
    # defaults stay, but those of what verify says
    own = {
        p.name for p in parameters if p.default is not p.empty and roles.get(p.name) in ("tol", "count", "weights", "batch_size", "ridge")
    }
    taken = [(p.name, roles[p.name]) for p in parameters if p.name in roles and p.name not in own]
    optional = [(p.name, roles[p.name]) for p in parameters if p.name in own and roles[p.name] in _OPTIONAL]
    # by position as far as that goes: jax.grad does not see what is given by name
    by_position = next(
        (k for k, p in enumerate(parameters) if p.kind is p.KEYWORD_ONLY or (p.name, roles.get(p.name)) not in taken), len(taken)
    )
    if any(p.kind is p.POSITIONAL_ONLY and p.name not in roles for p in parameters):
        raise TypeError(f"the candidate takes parameters by position only whose names say nothing; {_FORMS}")
    notes = []
    usual = {"step": {"w", "X", "y", "lr"}, "train": {"X", "y", "lr", "epochs", "w"}, "gradient": {"w", "X", "y"}}[kind]
    if tuple(role for _, role in taken) not in _IN_ORDER.values():
        words = ", ".join(f"{parameter} as {_words(role)}" for parameter, role in taken if parameter.lower() != role.lower())
        if words:
            notes.append(f"its parameters were read by their names: {words}")
    missing = usual - found - ({"X", "y"} if "points" in found else set())
    if {"X", "y"} & missing:
        notes.append("it takes no X and y: it has to use those that are given here")
    notes += [_NO_RATE] if "lr" in missing else [_GRADIENT] if kind == "gradient" else []
    return Call(kind, tuple(taken), by_position, tuple(notes), tuple(optional))


def _words(role: str) -> str:
    """Return a role in words."""
    return {"w": "w", "b": "the intercept", "count": "the number of samples", "points": "X and y side by side"}.get(role, role)


def _refuse_other_meanings(given: tuple[tuple[str, str], ...], named: Mapping[str, str]) -> None:
    """Raise where a parameter would be given something else than its name says."""
    other = next(((name, role) for name, role in given if len(name) > 2 and named.get(name, role) != role), None)
    if other is not None:
        told, unknown = ", ".join(name for name, _ in given), ", ".join(name for name, _ in given if name not in named)
        mend = "wrap it: lambda X, y, lr, epochs, w0: ..., or record its loop with fastgd.Recorder"
        raise TypeError(
            f"the candidate takes ({told}): by their order {other[0]} would be {other[1]}, and its name says {named[other[0]]}; "
            f"what {unknown or 'the others'} should be cannot be told: {mend}"
        )


def _by_number(
    parameters: list[inspect.Parameter], needed: list[inspect.Parameter], unknown: list[inspect.Parameter], known: bool,
    named: Mapping[str, str],
) -> Call:  # fmt: skip
    """Return the call of a function whose names say nothing, by how many parameters there are."""
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    least = sum(p.default is p.empty for p in positional)
    if not any(p.kind is p.KEYWORD_ONLY for p in needed) and not known:
        for kind, roles in _IN_ORDER.items():
            if least <= len(roles) <= len(positional):
                given = tuple(zip((p.name for p in positional), roles, strict=False))
                _refuse_other_meanings(given, named)
                words = ", ".join(f"{parameter} as {_words(role)}" for parameter, role in given if parameter.lower() != role.lower())
                notes = (f"its parameters were read by their order: {words}",) if words else ()
                return Call(kind, given, len(roles), notes)
    told = ", ".join(p.name for p in parameters)
    if known:
        others = ", ".join(p.name for p in unknown)
        mend = f"what {others} is cannot be told from the name: give it a default, or wrap the function: lambda X, y, lr, epochs, w0: ..."
        raise TypeError(f"the candidate takes ({told}); {mend}; {_FORMS}")
    raise TypeError(f"the candidate takes ({told}); {_FORMS}")
