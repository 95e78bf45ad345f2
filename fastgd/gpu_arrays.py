"""gpu_arrays: arrays that lie on a GPU: which one that is, as CuPy arrays without a copy, and back into the caller's library.

1. An array is known by what it says of itself: torch's `device`, DLPack, or `__cuda_array_interface__`. CuPy is imported where one is
   there, after `choose_backend` has seen that it can be.
2. Nothing moves between a GPU and the computer's memory but what is asked for by name: hyperparameters are fetched, data never are.
3. Work goes to the stream that the caller's library has made current. CuPy and DLPack see to the order of what was launched before.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

_HOST = (np.ndarray, np.generic, int, float, str, list, tuple, type(None))  # never on a GPU; asked first, since it is quick
_CUDA = (2, 13)  # DLPack's kDLCUDA and kDLCUDAManaged


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
        except Exception:  # an array that is traced, or has no place
            return None
        return int(number) if int(platform) in _CUDA else None
    if hasattr(kind, "__cuda_array_interface__"):
        from .kernels import cuda

        address = value.__cuda_array_interface__["data"][0]
        return 0 if cuda.why_no_device() else int(_cupy().cuda.runtime.pointerGetAttributes(address).device)
    return None


def place_of(device: int | None) -> str:
    """A device in words."""
    return "in the computer's memory" if device is None else f"on cuda:{device}"


def common_device(values: Mapping[str, Any]) -> int | None:
    """The device that all of these arrays are on; None for the computer's memory."""
    devices = {name: device_of(value) for name, value in values.items()}
    (first, device), *others = devices.items()
    for name, other in others:
        if other != device:
            raise ValueError(
                f"{first} is {place_of(device)} but {name} is {place_of(other)}: give all data in one place (nothing is moved silently)"
            )
    return device


def way_home(value: Any, name: str) -> str:
    """How the user copies an array into the computer's memory."""
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
    except (TypeError, RuntimeError, BufferError) as error:  # sparse, quantised, of a dtype that CuPy lacks
        raise TypeError(f"{name}, an array of {type(value).__module__.partition('.')[0]}, cannot be shared with CuPy: {error}") from None


def fetch(value: Any, name: str = "an array") -> Any:
    """A copy of an array on a GPU in the computer's memory; anything else as it is."""
    return value if device_of(value) is None else to_cupy(value, name).get()


def wrapper(value: Any) -> Any:
    """How a CuPy array becomes one of the library that this array is of."""
    kind = type(value)
    root = kind.__module__.partition(".")[0]
    if root == "cupy":
        return _keep
    if root == "torch":
        return sys.modules["torch"].from_dlpack
    if root in ("jax", "jaxlib"):
        return sys.modules["jax"].numpy.from_dlpack
    if hasattr(kind, "__array_namespace__") and hasattr(value.__array_namespace__(), "from_dlpack"):
        return value.__array_namespace__().from_dlpack
    if root == "numba":
        return sys.modules["numba.cuda"].as_cuda_array
    return _keep


def current_stream(library: str, device: int) -> Any:
    """The stream that the caller's library has made current on a device, as CuPy's."""
    cupy = _cupy()
    if library != "torch":
        with cupy.cuda.Device(device):
            return cupy.cuda.get_current_stream()
    address = int(sys.modules["torch"].cuda.current_stream(device).cuda_stream)
    if hasattr(cupy.cuda.Stream, "from_external"):
        return cupy.cuda.Stream.from_external(_Lent(address))
    return cupy.cuda.ExternalStream(address, device)


class _Lent:
    """Another library's stream, as CUDA's stream protocol wants it."""

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
    """A view with this shape and these strides, of an array here or on a GPU; not to be written to."""
    if isinstance(array, np.ndarray):
        return np.lib.stride_tricks.as_strided(array, shape, strides, writeable=False)
    return _cupy().lib.stride_tricks.as_strided(array, shape, strides)


def _keep(array: Any) -> Any:
    return array


def _cupy() -> Any:
    import cupy

    return cupy
