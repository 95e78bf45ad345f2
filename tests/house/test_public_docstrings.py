"""Every public function, class and module has a numpydoc docstring whose parameters are those of
the signature."""

from __future__ import annotations

import enum
import inspect
import operator
import re
import types

from tests.support.paths import ROOT


def section(docstring: str, title: str) -> list[str] | None:
    """The names that a section of a numpydoc docstring describes; None if there is no such
    section."""
    lines = [*docstring.splitlines(), ""]
    headings = [i for i in range(len(lines) - 1) if lines[i] and re.fullmatch(r"-{3,}", lines[i + 1])]
    begin = next((i for i in headings if lines[i] == title), None)
    if begin is None:
        return None
    end = next((i for i in headings if i > begin), len(lines))
    entries = [line for line in lines[begin + 2 : end] if line and not line[0].isspace()]
    return [name.strip(" *") for entry in entries for name in re.split(r"\s*:(?:\s|$)", entry, maxsplit=1)[0].split(",")]


def wrong_docstring(name: str, thing: object) -> list[str]:
    """What is wrong with the docstring of a public function, class or module, one line each."""
    docstring = inspect.getdoc(thing) if not isinstance(thing, type) or thing.__doc__ else None
    if not docstring:
        return [f"{name}: no docstring"]
    if isinstance(thing, types.ModuleType):
        inside = [(key, value) for key, value in vars(thing).items() if not key.startswith("_")]
        own = [(key, value) for key, value in inside if callable(value) and getattr(value, "__module__", None) == thing.__name__]
        return [line for key, value in own for line in wrong_docstring(f"{name}.{key}", value)]
    if isinstance(thing, enum.EnumType):
        text = docstring + "".join(re.findall(r"^ *(\w+) = .*#: ", inspect.getsource(thing), re.MULTILINE))
        return [f"{name}.{member.name}: neither in the docstring nor with a #: comment" for member in thing if member.name not in text]
    if not callable(thing):
        return [f"{name}: neither a function nor a class nor a module: how is it documented?"]
    if isinstance(thing, type) and issubclass(thing, Exception) and not inspect.isfunction(thing.__init__):
        return []  # takes what every exception takes
    takes = [name for name in inspect.signature(thing).parameters if not name.startswith("_")]
    says = section(docstring, "Parameters")
    if says is None and isinstance(thing, type) and (attributes := section(docstring, "Attributes")) is not None:
        inherited = [name for base in thing.__mro__[1:-1] for name in section(inspect.getdoc(base) or "", "Attributes") or []]
        said = [name for name in inherited + attributes if name in takes or not hasattr(thing, name)]  # properties are described there too
        says = takes if sorted(said) == sorted(takes) else said  # in any order
    return [] if (says or []) == takes else [f"{name}: takes {takes}, its docstring says {says or []}"]


def test_public_docstrings() -> None:
    import fastgd

    public = {f"fastgd.{name}": getattr(fastgd, name) for name in fastgd.__all__ if name != "__version__"}
    for module in (getattr(fastgd, name) for name in fastgd._MODULES):
        public |= {f"{module.__name__}.{name}": getattr(module, name) for name in getattr(module, "__all__", [])}
    assert public
    assert not [line for name, thing in public.items() for line in wrong_docstring(name, thing)]


def test_wrong_docstrings_are_found() -> None:
    def documented(a, b=1, *args):
        """Add.

        Parameters
        ----------
        a, b : float, shape (n,)
            The numbers: both.
        *args

        Returns
        -------
        total : float
        """

    def swapped(a, b):
        """Add.

        Parameters
        ----------
        b : float
        a : float
        """

    class Level(enum.IntEnum):
        """Either LOW or not."""

        LOW = 0
        MIDDLE = 1  #: described here
        HIGH = 2

    assert wrong_docstring("documented", documented) == []
    assert wrong_docstring("swapped", swapped) == ["swapped: takes ['a', 'b'], its docstring says ['b', 'a']"]
    assert wrong_docstring("lambda", lambda x: x) == ["lambda: no docstring"]
    assert wrong_docstring("Level", Level) == ["Level.HIGH: neither in the docstring nor with a #: comment"]
    assert wrong_docstring("three", 3) == ["three: neither a function nor a class nor a module: how is it documented?"]


def test_every_public_name_is_in_the_reference() -> None:
    import fastgd

    page = (ROOT / "docs" / "reference.md").read_text("utf-8")
    listed = set(re.findall(r"^   ([\w.]+)$", page, re.MULTILINE))
    names = {name for name in fastgd.__all__ if name != "__version__"}
    for name in fastgd._MODULES:
        module = getattr(fastgd, name)
        names |= {f"{name}.{one}" for one in getattr(module, "__all__", []) if inspect.isfunction(vars(module).get(one))}
    assert sorted(names - listed) == []
    assert sorted(name for name in listed if not hasattr(operator.attrgetter(name)(fastgd), "__doc__")) == []
