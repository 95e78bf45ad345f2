"""The arrays of a call: inspected once, read without a copy, returned in the same library."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import numpy as np

from .missing import Numbers
from .reading import AN_ARRAY, check_kind, read
from .sharing import HOST, device_of, fetch, library_of, place_of, to_cupy, to_numpy


def _identity(array: Any) -> Any:
    return array


@dataclass(frozen=True)
class Library:
    """An array library: its name, and how a NumPy array (on a GPU a CuPy array) becomes its own."""

    name: str
    wrap: Callable[[Any], Any]


NUMPY = Library("numpy", _identity)


@dataclass(frozen=True)
class Arrived:
    """The arrays of one call, with their one library and device.

    Attributes
    ----------
    given : dict of str to array
        The arrays as the caller gave them, by their names; None where one was not given.
    library : Library
        The library of the results.
    device : int or None
        Number of the GPU that all arrays are on; None: the computer's memory.
    """

    given: dict[str, Any]
    library: Library
    device: int | None

    def read(self, name: str, nodata: tuple[Any, ...] = ()) -> Numbers:
        """The numbers of this name: NumPy's, or CuPy's where they are on a GPU."""
        value = self.given[name]
        if self.device is None:
            return read(value, name, nodata=nodata)
        if nodata:
            raise ValueError(
                f"nodata is for data in the computer's memory, and {name} is {place_of(self.device)}: write NaN in its place there"
            )
        return Numbers(check_kind(value, to_cupy(value, name), name, AN_ARRAY))


def arrive(**given: Any) -> Arrived:
    """Inspect the arrays of one call; raise where they are in different places or libraries.

    None stands for an array that the caller did not give.
    """
    origins = {name: _origin(value) for name, value in given.items() if value is not None}
    if not any(root != "numpy" or device is not None for root, device in origins.values()):
        return Arrived(given, NUMPY, None)
    (first, (_, device)), *others = origins.items()
    for name, (_, other) in others:
        if other != device:
            raise ValueError(
                f"{first} is {place_of(device)} but {name} is {place_of(other)}: give all data in one place (nothing is moved silently)"
            )
    foreign = {root: given[name] for name, (root, _) in reversed(origins.items()) if root != "numpy"}
    if len(foreign) > 1:
        listed = ", ".join(f"{name} of {root}" for name, (root, _) in origins.items())
        raise TypeError(f"arrays of different libraries were given ({listed}): give them in one, so that the results can be in it")
    root, value = next(iter(foreign.items()), ("numpy", given[first]))
    if device is not None:
        return Arrived(given, Library(root, _wrapper_on_gpu(root, value)), device)
    return Arrived(given, Library(root, _WRAPPERS.get(root) or _to_namespace(value)), None)


def arrive_on_host(**given: Any) -> Arrived:
    """Inspect the arrays of one call; raise where one is not in the computer's memory."""
    for name, value in given.items():
        if device_of(value) is not None:
            to_numpy(value, name)  # raises: it says how to move the array
    return arrive(**given)


def _origin(value: Any) -> tuple[str, int | None]:
    """(name of the array's library, number of its GPU or None)."""
    return ("numpy", None) if isinstance(value, HOST) else (library_of(value), device_of(value))


def with_numpy_arrays(value: Any) -> Any:
    """A copy of a dataclass with all arrays, nested ones too, as NumPy's; itself if they are."""
    changed = {}
    for field in fields(value):
        old = vars(value).get(field.name)
        new = old
        if is_dataclass(old):
            new = with_numpy_arrays(old)
        elif device_of(old) is not None:
            new = fetch(old, field.name)
        elif hasattr(old, "__dlpack__") and not isinstance(old, np.ndarray | np.generic):
            new = np.asarray(to_numpy(old, field.name))
        if new is not old:
            changed[field.name] = new
    return replace(value, **changed) if changed else value


def _to_torch(array: Any) -> Any:
    return sys.modules["torch"].from_numpy(np.asarray(array))


def _to_jax(array: Any) -> Any:
    return sys.modules["jax"].numpy.asarray(array)


_WRAPPERS = {"torch": _to_torch, "jax": _to_jax}


def _to_namespace(value: Any) -> Callable[[Any], Any]:
    """The function that turns a NumPy array into one of the array's own namespace."""
    if not hasattr(value, "__array_namespace__"):
        return _identity
    namespace = value.__array_namespace__()

    def wrap(array: Any) -> Any:
        return namespace.from_dlpack(np.asarray(array)) if hasattr(namespace, "from_dlpack") else namespace.asarray(np.asarray(array))

    return wrap


def _wrapper_on_gpu(root: str, value: Any) -> Callable[[Any], Any]:
    """The function that turns a CuPy array into one of the library `root`, as `value` is."""
    kind = type(value)
    if root == "cupy":
        return _identity
    if root == "torch":
        return sys.modules["torch"].from_dlpack
    if root == "jax":
        return sys.modules["jax"].numpy.from_dlpack
    if hasattr(kind, "__array_namespace__") and hasattr(value.__array_namespace__(), "from_dlpack"):
        return value.__array_namespace__().from_dlpack
    if kind.__module__.partition(".")[0] == "numba":
        return sys.modules["numba.cuda"].as_cuda_array
    return _identity
