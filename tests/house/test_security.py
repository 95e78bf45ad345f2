"""SECURITY.md lists the licence of every package that is pinned, each once, where it belongs."""

from __future__ import annotations

import importlib.metadata
import re
import tomllib

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.house.test_packaging import pins
from tests.support.paths import ROOT

PAGE = (ROOT / "SECURITY.md").read_text("utf-8")


def packages(part: str) -> list[str]:
    """The names behind the licences of a list."""
    lines = re.findall(r"^\* [^:]+: (.*?)\.$", part, re.MULTILINE | re.DOTALL)
    return sorted(canonicalize_name(name) for line in lines for name in re.split(r",\s+", line))


def brought_by_an_installation() -> list[str]:
    """What `pip install .` installs besides fastgd, all the way down."""
    todo = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    found: set[str] = set()
    while todo:
        requirement = Requirement(todo.pop())
        name = canonicalize_name(requirement.name)
        if name not in found and (requirement.marker is None or requirement.marker.evaluate({"extra": ""})):
            found.add(name)
            todo += importlib.metadata.requires(name) or []
    return sorted(found)


def test_every_licence_is_listed():
    base, _, extras = PAGE.partition("What `pip install .` brings:")[2].partition("What the extras bring besides:")
    extras = extras.partition("fastgd itself")[0]
    assert packages(base) == brought_by_an_installation()
    assert sorted([*packages(base), *packages(extras)]) == sorted(pins())
