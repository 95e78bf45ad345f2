"""Arrays of other libraries: where they are, and how NumPy and CuPy share their memory.

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
from collections.abc import Callable
from typing import Any

import numpy as np

from .messages import what_was_raised
from .room import check_room

_FOREIGN = ("torch", "cupy", "jax", "jaxlib")
HOST = (np.ndarray, np.generic, int, float, str, list, tuple, type(None))  # tested first
_CUDA = (2, 13)  # DLPack's kDLCUDA and kDLCUDAManaged


def library_of(value: Any) -> str:
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
    root = library_of(value)
    if root == "torch" and hasattr(value, "detach"):  # not a Dataset
        return _from_torch(value, name)
    if root == "jax":
        return _from_jax(value, name)
    if hasattr(value, "__dlpack__") and (root == "array API" or not (isinstance(value, HOST) or hasattr(value, "__array__"))):
        try:
            return np.from_dlpack(value)
        except MemoryError:
            raise
        except Exception as error:  # whatever a __dlpack__ may raise
            library, instead = type(value).__module__.partition(".")[0], what_was_raised(error)
            if "dtype" in instead:
                instead = f"it has a dtype that NumPy lacks, such as bfloat16: give {name} in float32"
            raise TypeError(f"{name}, an array of {library}, cannot be shared with NumPy: {instead}") from None
    return value


def _from_torch(value: Any, name: str) -> np.ndarray:
    torch = sys.modules["torch"]
    if value.device.type != "cpu":
        raise ValueError(f"{name} is on {value.device}, from where fit does not take arrays yet: give {name}.cpu()")
    try:
        value = value.detach().resolve_neg().resolve_conj()
        if value.dtype is torch.bfloat16:
            check_room(name, value.numel(), 4)
            value = value.float()
        return value.numpy()
    except (TypeError, RuntimeError) as error:  # sparse, quantised, fake
        raise TypeError(f"{name}, a torch tensor, cannot be read as an array of numbers: {what_was_raised(error)}") from None


def _from_jax(value: Any, name: str) -> np.ndarray:
    jax = sys.modules["jax"]
    if isinstance(value, jax.core.Tracer):
        raise TypeError(f"{name} is traced by jax.jit or another transformation; fastgd works on arrays: call it outside")
    platforms = {device.platform for device in value.devices()}
    if platforms != {"cpu"}:
        place = " and ".join(sorted(platforms))
        raise ValueError(f"{name} is on {place}, from where fit does not take arrays yet: give numpy.asarray({name})")
    return np.asarray(value)


def rounding_of(value: Any) -> Callable[[float], Any] | None:
    """How a tensor of bfloat16, which `to_numpy` gives as float32, rounds numbers; else None."""
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(value, torch.Tensor) or value.dtype is not torch.bfloat16:
        return None
    return lambda number: np.float32(torch.tensor(number, dtype=torch.bfloat16).item())


def device_of(value: Any) -> int | None:
    """The number of the CUDA device that an array lies on; None for everything else."""
    if isinstance(value, HOST):
        return None
    kind = type(value)
    root = kind.__module__.partition(".")[0]
    if root == "cupy":
        return int(value.device.id)
    if root == "torch" and hasattr(value, "device"):
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
        raise TypeError(
            f"{name}, an array of {type(value).__module__.partition('.')[0]}, cannot be shared with CuPy: {what_was_raised(error)}"
        ) from None


def beside(value: Any, name: str, device: int | None) -> Any:
    """A hyperparameter as it was given, or a copy in the computer's memory if it is on `device`."""
    return fetch(value, name) if device is not None and device_of(value) == device else value


def fetch(value: Any, name: str = "an array") -> Any:
    """A NumPy copy of an array on a GPU; anything else as it is."""
    return value if device_of(value) is None else to_cupy(value, name).get()


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
