"""What the kernels' headers say, read from their source: the fields of struct Work, and constants.

So each stands in one place. tests/kernels/cuda/test_header.py compares them with the CPU's.
"""

from __future__ import annotations

import re
from pathlib import Path

_FIELD = re.compile(r"^ {4}(?:const )?([\w ]+?)(\*?) (\w+);", re.MULTILINE)
_CONSTANTS = re.compile(r"^constexpr (?:signed char|int|long long) ([^;]+);", re.MULTILINE)


def _source(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def work_fields() -> list[tuple[str, str]]:
    """(kind, name) of the fields of struct Work, in order. Each has 8 bytes.

    kind is "long long", "double" or "pointer".
    """
    source = _source("work.cuh")
    body = source[source.index("struct Work {") : source.index("\n};", source.index("struct Work {"))]
    return [("pointer" if star else kind, name) for kind, star, name in _FIELD.findall(body)]


def constants() -> dict[str, int]:
    """{name: value} of the whole numbers of arithmetic.cuh and work.cuh, such as CHUNK and FINE."""
    found = _CONSTANTS.findall(_source("arithmetic.cuh") + _source("work.cuh"))
    pairs = [pair.split(" = ") for line in found for pair in line.split(", ")]
    return {name: int(value) for name, value in pairs}


_VALUES = constants()
LANES, CHUNK = _VALUES["LANES"], _VALUES["CHUNK"]
FINE, NEGATIVE, NOT_FINITE, CANCELLED = (_VALUES[name] for name in ("FINE", "NEGATIVE", "NOT_FINITE", "CANCELLED"))
ON_MOMENTS, ON_SAMPLES, FINISHED = _VALUES["ON_MOMENTS"], _VALUES["ON_SAMPLES"], _VALUES["FINISHED"]
