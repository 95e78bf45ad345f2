"""Values that no argument wants, as expressions; those that need a class are made here."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any


class Raises:
    """Whatever is asked of it is an error."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")

    def __bool__(self) -> bool:
        raise RuntimeError("no truth")

    def __len__(self) -> int:
        raise RuntimeError("no length")

    def __float__(self) -> float:
        raise RuntimeError("no float")

    def __index__(self) -> int:
        raise RuntimeError("no index")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no comparison")

    __hash__ = None  # type: ignore[assignment]


class RaisesAsArray:
    """It says that it is an array, and is none."""

    def __array__(self, *arguments: Any, **options: Any) -> Any:
        raise RuntimeError("no array")


def nested(depth: int) -> list[Any]:
    """A list in a list in a list …"""
    found: list[Any] = []
    for _ in range(depth):
        found = [found]
    return found


def itself() -> list[Any]:
    """A list that holds itself."""
    found: list[Any] = [1.0]
    found.append(found)
    return found


NAMES = {each.__name__: each for each in (Raises, RaisesAsArray, nested, itself, Decimal, Fraction)}
NASTY = (
    "None", "True", "-1", "0", "1", "2", "-0.0", "nan", "inf", "-inf", "0.5", "1e308", "5e-324", "10**400", "-10**400", "2**63", "2**31",
    "1j", "''", "'abc'", "'9' * 400", "'\\x00'", "'sgd'", "'\\ud800'", "b'abc'", "()", "[]", "{}", "set()", "[1.0]", "[1.0, 2.0, 3.0]",
    "[[1.0], [2.0, 3.0]]", "[None]", "['a', 'b']", "[[]]", "{'w': 1}", "{1: 2}", "range(3)", "object()", "Ellipsis", "slice(None)",
    "lambda: 1", "iter([1.0])", "fastgd.SGD", "fastgd.Adam()", "fastgd", "type", "np", "int", "float", "np.float32", "np.float32(1.5)",
    "np.float64(nan)", "np.longdouble(1)", "np.complex128(1j)", "np.int8(3)", "np.uint64(2**63)", "np.datetime64('2020-01-01')",
    "np.timedelta64(3, 's')", "np.str_('abc')", "array(3.0)", "array([])", "array([1.0, 2.0, 3.0])", "array(['a'])", "array([1.0, None])",
    "array([1j, 2])", "array([True, False])", "array([(1, 2.0)], 'i4,f8')", "array([nan, inf])", "np.zeros((0, 3))", "np.zeros((3, 0))",
    "np.zeros((2, 2, 2, 2))", "np.zeros((1,) * 32)", "np.ones(3, 'O')", "np.ones((2, 3), 'M8[s]')", "np.ones(3, np.longdouble)",
    "np.ma.masked", "np.ma.array([1.0, 2.0, 3.0], mask=[1, 0, 1])", "Decimal('1.5')", "Decimal('sNaN')",
    "Fraction(1, 3)", "bytearray(b'abc')",
    "memoryview(b'abc')", "Raises()", "RaisesAsArray()", "nested(50)", "nested(500)", "itself()", "np.ones((2, 3)).view(np.matrix)",
    "np.random",
)  # fmt: skip
HUGE = ("np.broadcast_to(1.0, (10**9,))", "np.broadcast_to(1.0, (2, 10**9, 2))", "np.broadcast_to(array([1.0]), (2**31, 3))")
