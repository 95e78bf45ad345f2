"""Arrays of any library: inspected once, read without a copy, returned in the same library.

1. The library and device of an array come from its class, torch's `device`, DLPack, or
   `__cuda_array_interface__`. No library is imported for that: an array exists only if its library
   has been imported. CuPy is imported where an array on a GPU is read, after `choose_backend` has
   found that it can be.
2. Data never move between a GPU and the computer's memory; hyperparameters do (`beside`).
3. GPU work runs on the stream that the caller's library has made current. CuPy and DLPack order it
   after the work that was launched before.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import numpy as np

from .messages import place, shown

_FOREIGN = ("torch", "cupy", "jax", "jaxlib")
_HOST = (np.ndarray, np.generic, int, float, str, list, tuple, type(None))  # tested first
_CUDA = (2, 13)  # DLPack's kDLCUDA and kDLCUDAManaged


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

    def read(self, name: str) -> Any:
        """The array of this name, of real numbers: NumPy's, or CuPy's where it is on a GPU."""
        value = self.given[name]
        if self.device is None:
            return read_array(value, name)
        return _check_kind(value, to_cupy(value, name), name, _AN_ARRAY)


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
    return ("numpy", None) if isinstance(value, _HOST) else (_root(value), device_of(value))


_AN_ARRAY = "an array of real numbers"


def read_array(value: Any, name: str, needed: str = _AN_ARRAY) -> np.ndarray:
    """`value` as a NumPy array of real numbers, not copied where it is an array."""
    if type(value) is np.ndarray:  # fast path
        return _check_kind(value, value, name, needed)
    value = to_numpy(value, name)
    if isinstance(value, np.ma.MaskedArray) and np.ma.getmaskarray(value).any():
        raise TypeError(f"{name} is a masked array; masks are not available yet: give {name}.filled(numpy.nan) or leave the rows out")
    try:
        array = np.asarray(value)
    except Exception as error:  # whatever an __array__ may raise
        raise TypeError(f"{name} must be {needed}; it cannot be read as one: {error}") from None
    return _check_kind(value, array, name, needed)


def _check_kind(value: Any, array: Any, name: str, needed: str) -> Any:
    """Return `array`; raise unless its dtype is one of real numbers of at most 64 bits."""
    kind = array.dtype.kind
    if kind == "c":
        raise TypeError(f"{name} is complex ({array.dtype}); it must be {needed}")
    if kind not in "fiub":
        raise TypeError(f"{name} must be {needed}; {_what_it_is(value, array)}")
    if kind == "f" and array.dtype.itemsize > 8:
        raise TypeError(f"{name} has dtype {array.dtype}; there are float32 and float64: use {name}.astype('float64')")
    return array


def _what_it_is(value: Any, array: np.ndarray) -> str:
    if array.ndim == 0:
        return f"it is {shown(value)}"
    if array.dtype.kind != "O":
        return f"it has dtype {array.dtype}"
    for index in np.ndindex(array.shape):
        entry: Any = array[index]
        if isinstance(entry, bool) or not isinstance(entry, int | float | np.number):
            return f"it has dtype object, with {shown(entry)} ({type(entry).__name__}){place(index)}"
    return "it has dtype object: use .astype('float64')"


def read_numbers(value: Any, name: str, needed: str = "a real number or an array of them") -> np.ndarray:
    """Finite numbers, at least one, as float64; axes that only repeat (stride 0) still do."""
    array = read_array(value, name, needed)
    if array.size == 0:
        raise ValueError(f"{name} is empty: it has shape {array.shape}")
    numbers = without_repeats(array, 0).astype(np.float64)
    check_all(numbers, np.isfinite(numbers), name, "finite")
    return np.broadcast_to(numbers, array.shape)


def check_all(array: np.ndarray, fine: np.ndarray, name: str, needed: str) -> None:
    """Raise an error that names the first value where `fine` (same shape, bool) is False."""
    if not fine.all():
        where = tuple(np.argwhere(~fine)[0])
        raise ValueError(f"{name} must be {needed}; it is {array[where]:g}{place(where)}")


def broadcast(shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
    """The shape that these shapes broadcast to; the error for shapes that do not names them."""
    result = [1] * max(map(len, shapes.values()))
    for shape in shapes.values():
        for axis, length in enumerate(shape, len(result) - len(shape)):
            if length != 1 and result[axis] not in (1, length):
                listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items() if shape)
                raise ValueError(f"leading axes do not broadcast against each other: {listed}")
            result[axis] = max(result[axis], length)
    return tuple(result)


def without_repeats(array: np.ndarray, n_last: int) -> np.ndarray:
    """A view in which leading axes of stride 0 have length 1; the last n_last axes stay."""
    leading = array.ndim - n_last
    if not leading:
        return array
    index = tuple(slice(0, 1) if array.strides[a] == 0 and array.shape[a] > 1 else slice(None) for a in range(leading))
    return array[index] if index else array


def _root(value: Any) -> str:
    """Name of the array's library, from its classes; 'numpy' for everything that NumPy reads."""
    for base in type(value).__mro__:
        root = base.__module__.partition(".")[0]
        if root in _FOREIGN:
            return root.removesuffix("lib")
    if not isinstance(value, np.ndarray | np.generic) and hasattr(value, "__array_namespace__"):
        return "array API"
    return "numpy"


def to_numpy(value: Any, name: str) -> Any:
    """A NumPy array that shares memory with another library's; anything else as it is."""
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
    """A copy of a dataclass with all arrays, nested ones too, as NumPy's; itself if they are."""
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


_WRAPPERS = {"torch": _to_torch, "jax": _to_jax}


def _to_namespace(value: Any) -> Callable[[Any], Any]:
    """The function that turns a NumPy array into one of the array's own namespace."""
    if not hasattr(value, "__array_namespace__"):
        return _identity
    namespace = value.__array_namespace__()

    def wrap(array: Any) -> Any:
        return namespace.from_dlpack(np.asarray(array)) if hasattr(namespace, "from_dlpack") else namespace.asarray(np.asarray(array))

    return wrap


def device_of(value: Any) -> int | None:
    """The number of the CUDA device that an array lies on; None for everything else."""
    if isinstance(value, _HOST):
        return None
    kind = type(value)
    root = kind.__module__.partition(".")[0]
    if root == "cupy":
        return int(value.device.id)
    if root == "torch":
        place = value.device
        return int(place.index or 0) if place.type == "cuda" else None
    if hasattr(kind, "__dlpack_device__"):
        try:
            platform, number = value.__dlpack_device__()
        except Exception:  # a traced array, or one without a device
            return None
        return int(number) if int(platform) in _CUDA else None
    if hasattr(kind, "__cuda_array_interface__"):
        from ..kernels import cuda

        address = value.__cuda_array_interface__["data"][0]
        return 0 if cuda.why_no_device() else int(_cupy().cuda.runtime.pointerGetAttributes(address).device)
    return None


def place_of(device: int | None) -> str:
    """A device in words."""
    return "in the computer's memory" if device is None else f"on cuda:{device}"


def way_home(value: Any, name: str) -> str:
    """The code with which a user copies an array to the computer's memory."""
    root = type(value).__module__.partition(".")[0]
    return {"cupy": f"{name}.get()", "torch": f"{name}.cpu()", "jax": f"numpy.asarray({name})", "jaxlib": f"numpy.asarray({name})"}.get(
        root, f"a copy of {name} there"
    )


def to_cupy(value: Any, name: str) -> Any:
    """An array on a GPU as a CuPy array that shares its memory."""
    cupy = _cupy()
    if isinstance(value, cupy.ndarray):
        return value
    try:
        if type(value).__module__.partition(".")[0] == "torch":
            torch = sys.modules["torch"]
            value = value.detach().resolve_neg().resolve_conj()
            value = value.float() if value.dtype is torch.bfloat16 else value
        return cupy.from_dlpack(value) if hasattr(value, "__dlpack__") else cupy.asarray(value)
    except (TypeError, RuntimeError, BufferError) as error:  # sparse, quantised, an unknown dtype
        raise TypeError(f"{name}, an array of {type(value).__module__.partition('.')[0]}, cannot be shared with CuPy: {error}") from None


def beside(value: Any, name: str, device: int | None) -> Any:
    """A hyperparameter as it was given, or a copy in the computer's memory if it is on `device`."""
    return fetch(value, name) if device is not None and device_of(value) == device else value


def fetch(value: Any, name: str = "an array") -> Any:
    """A NumPy copy of an array on a GPU; anything else as it is."""
    return value if device_of(value) is None else to_cupy(value, name).get()


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


def current_stream(library: str, device: int) -> Any:
    """The stream that the caller's library has made current on a device, as a CuPy stream."""
    cupy = _cupy()
    if library != "torch":
        with cupy.cuda.Device(device):
            return cupy.cuda.get_current_stream()
    address = int(sys.modules["torch"].cuda.current_stream(device).cuda_stream)
    if hasattr(cupy.cuda.Stream, "from_external"):
        return cupy.cuda.Stream.from_external(_Lent(address))
    return cupy.cuda.ExternalStream(address, device)


class _Lent:
    """A stream of another library with the method of CUDA's stream protocol."""

    def __init__(self, address: int) -> None:
        self._address = address

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self._address


def share_memory(a: Any, b: Any) -> bool:
    """Whether the spans of two CuPy arrays overlap."""
    spans = []
    for array in (a, b):
        reach = [stride * (length - 1) for stride, length in zip(array.strides, array.shape, strict=True)]
        address = array.data.ptr
        spans.append((address + sum(min(0, r) for r in reach), address + sum(max(0, r) for r in reach) + array.itemsize))
    return spans[0][0] < spans[1][1] and spans[1][0] < spans[0][1]


def strided(array: Any, shape: tuple[int, ...], strides: tuple[int, ...]) -> Any:
    """A view of a NumPy (then read-only) or CuPy array, with these shape and strides [bytes]."""
    if isinstance(array, np.ndarray):
        return np.lib.stride_tricks.as_strided(array, shape, strides, writeable=False)
    return _cupy().lib.stride_tricks.as_strided(array, shape, strides)


def _cupy() -> Any:
    import cupy

    return cupy
