"""arrays: from the caller's array library to NumPy and back, on its device, without a copy.

1. Nothing moves between devices silently: an array on a device without kernels is an error that says how to move it. Those on a CUDA device
   are the matter of gpu_arrays.py.
2. A library is never imported for its own sake: an array of it can only be there if it has been imported.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import numpy as np

from .gpu_arrays import device_of, fetch, place_of, way_home, wrapper

_FOREIGN = ("torch", "cupy", "jax", "jaxlib")


@dataclass(frozen=True)
class Library:
    """An array library: its name, and how an array of NumPy (of CuPy, on a GPU) becomes one of its arrays."""

    name: str
    wrap: Callable[[Any], Any]


def _keep(array: Any) -> Any:
    return array


NUMPY = Library("numpy", _keep)


def _root(value: Any) -> str:
    """The library whose array this is, by its classes; 'numpy' for everything that NumPy reads."""
    for base in type(value).__mro__:
        root = base.__module__.partition(".")[0]
        if root in _FOREIGN:
            return root.removesuffix("lib")
    if not isinstance(value, np.ndarray | np.generic) and hasattr(value, "__array_namespace__"):
        return "array API"
    return "numpy"


def library_of(**values: Any) -> Library:
    """The library that results come back in: the one that is not NumPy, if there is one."""
    roots = {name: _root(value) for name, value in values.items()}
    lent = next((value for value in values.values() if device_of(value) is not None), None)
    if lent is not None and len({root for root in roots.values() if root != "numpy"}) < 2:
        return Library(_root(lent), wrapper(lent))
    foreign = {root for root in roots.values() if root != "numpy"}
    if len(foreign) > 1:
        told = ", ".join(f"{name} of {root}" for name, root in roots.items())
        raise TypeError(f"arrays of different libraries were given ({told}): give them in one, so that the results can be in it")
    if not foreign:
        return NUMPY
    root = foreign.pop()
    value = next(value for name, value in values.items() if roots[name] == root)
    return Library(root, {"torch": _to_torch, "jax": _to_jax}.get(root) or _to_namespace(value))


def to_numpy(value: Any, name: str) -> Any:
    """An array of another library as a NumPy array that shares its memory; anything else as it is."""
    device = device_of(value)
    if device is not None:
        raise ValueError(f"{name} is {place_of(device)}, and is needed in the computer's memory here: give {way_home(value, name)}")
    root = _root(value)
    if root == "torch":
        return _from_torch(value, name)
    if root == "jax":
        return _from_jax(value, name)
    if root == "array API":
        try:
            return np.from_dlpack(value)
        except (BufferError, RuntimeError, TypeError, AttributeError) as error:
            library = type(value).__module__.partition(".")[0]
            raise TypeError(f"{name}, an array of {library}, cannot be shared with NumPy: {error}") from None
    return value


def with_numpy_arrays(value: Any) -> Any:
    """A dataclass whose arrays, and those of the dataclasses in it, are NumPy's; the same object where they are already."""
    changed = {}
    for field in fields(value):
        old = getattr(value, field.name)
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


def _from_torch(value: Any, name: str) -> np.ndarray:
    torch = sys.modules["torch"]
    if value.device.type != "cpu":
        raise ValueError(f"{name} is on {value.device}, from where fit does not take arrays yet: give {name}.cpu()")
    try:
        value = value.detach().resolve_neg().resolve_conj()
        return (value.float() if value.dtype is torch.bfloat16 else value).numpy()
    except (TypeError, RuntimeError) as error:  # sparse, quantised, fake
        raise TypeError(f"{name}, a torch tensor, cannot be read as an array of numbers: {error}") from None


def _from_jax(value: Any, name: str) -> np.ndarray:
    jax = sys.modules["jax"]
    if isinstance(value, jax.core.Tracer):
        raise TypeError(f"{name} is traced by jax.jit or another transformation; fastgd works on arrays: call it outside")
    platforms = {device.platform for device in value.devices()}
    if platforms != {"cpu"}:
        place = " and ".join(sorted(platforms))
        raise ValueError(f"{name} is on {place}, from where fit does not take arrays yet: give numpy.asarray({name})")
    array = np.asarray(value)
    return array.astype(np.float32) if array.dtype.name == "bfloat16" else array


def _to_torch(array: Any) -> Any:
    return sys.modules["torch"].from_numpy(np.asarray(array))


def _to_jax(array: Any) -> Any:
    return sys.modules["jax"].numpy.asarray(array)


def _to_namespace(value: Any) -> Callable[[Any], Any]:
    """How the array's own namespace takes a NumPy array."""
    if not hasattr(value, "__array_namespace__"):
        return _keep
    namespace = value.__array_namespace__()

    def wrap(array: Any) -> Any:
        return namespace.from_dlpack(np.asarray(array)) if hasattr(namespace, "from_dlpack") else namespace.asarray(np.asarray(array))

    return wrap
