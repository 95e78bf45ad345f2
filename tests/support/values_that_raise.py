"""Values that raise, or answer nonsense, when they are asked what they are."""

from __future__ import annotations

from typing import Any


class RaisedByValueError(Exception):
    """What the values here raise: it must never reach a caller of fastgd."""

    def __str__(self) -> str:
        raise RuntimeError


def _raise(*given: Any, **options: Any) -> Any:
    raise RaisedByValueError


def _kind(name: str, **methods: Any) -> type:
    return type(name, (), methods)


class OfFloat(float):
    """A number that does not say which."""

    __repr__ = __str__ = _raise


class OfText(str):
    """A text that does not say which."""

    __slots__ = ()
    __repr__ = __str__ = _raise


# by name: a function that makes the value
VALUES = {
    "repr": _kind("NoRepr", __repr__=_raise),
    "repr of a number": lambda: OfFloat(-1.5),
    "repr of a text": lambda: OfText("neither a name nor a number"),
    "repr is no text": _kind("OddRepr", __repr__=lambda self: 3),
    "repr is long": _kind("LongRepr", __repr__=lambda self: "x" * 10**6),
    "repr is not ASCII": _kind("Größe\n", __repr__=lambda self: "\udc80é\n"),
    "class": _kind("NoClass", __class__=property(_raise)),
    "class is another": _kind("OfAnother", __class__=dict),
    "attributes": _kind("NoAttributes", __getattr__=_raise),
    "array": _kind("NoArray", __array__=_raise, __repr__=_raise),
    "array is none": _kind("OddArray", __array__=lambda self, *given, **options: "no"),
    "DLPack": _kind("NoDLPack", __dlpack__=_raise, __dlpack_device__=lambda self: (1, 0)),
    "device": _kind("NoDevice", __dlpack__=_raise, __dlpack_device__=_raise),
    "length": _kind("NoLength", __len__=_raise, __getitem__=_raise),
    "length is negative": _kind("OddLength", __len__=lambda self: -1),
    "truth": _kind("NoTruth", __bool__=_raise),
    "equality": _kind("NoEquality", __eq__=_raise, __hash__=object.__hash__),
    "index": _kind("NoIndex", __index__=_raise, __float__=_raise),
    "index is a text": _kind("OddIndex", __index__=lambda self: "3"),
    "iteration": _kind("NoIteration", __iter__=_raise),
    "metaclass": type("Meta", (type,), {"__repr__": _raise, "__name__": property(_raise)})("NoName", (), {"__repr__": _raise}),
    "path": _kind("NoPath", __fspath__=_raise),
}
