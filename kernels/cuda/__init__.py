"""The CUDA backend: CUDA C++ kernels (*.cu, *.cuh), compiled by NVRTC, launched through CuPy.

`descend(chunk, cancel, progress)` is the contract of kernels/chunk.py. Importing this imports
neither CuPy nor NVRTC. NOT RUN ON A GPU YET: the tests execute the kernels and part.py on the host,
but not launching.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..chunk import Chunk
from .device import why_no_device
from .specialised import instantiations

if TYPE_CHECKING:  # a fit on the CPU asks no more than the names of the backends
    from .data import Device
    from .splitting import Handling


def _gpu(number: int | None = None, stream: Any = None) -> Device:
    from .launching import Gpu

    return Gpu(number, stream)


DEVICES: dict[str, Callable[..., Device]] = {"cuda": _gpu}  # {backend: what opens its device}; the tests add the host


def why_unavailable() -> str | None:
    """None if the kernels can run here, else what is missing and how to get it."""
    from .compiling import CompilerUnavailable, compiler

    reason = why_no_device()
    if reason is None:
        try:
            compiler()
        except CompilerUnavailable as error:
            reason = str(error)
    return reason


def descend(
    chunk: Chunk,
    cancel: np.ndarray,
    progress: np.ndarray,
    device: Device | None = None,
    handling: Handling | None = None,
    limit: int | None = None,
) -> None:
    """Run all epochs of a chunk, moments included, on a device, by default the current one.

    handling, limit: as in splitting.descend.
    """
    from .splitting import descend as run

    run(chunk, cancel, progress, device or DEVICES["cuda"](), handling, limit)


def report() -> dict[str, Any]:
    """The compiler's version, and the folder of compiled kernels, their number and bytes."""
    from .compiling import CompilerUnavailable, cache_folder, compiler

    folder = cache_folder()
    kept = sorted(folder.glob("*.cubin")) if folder.is_dir() else []
    try:
        nvrtc: str | None = "{}.{}".format(*compiler().version)
    except CompilerUnavailable:
        nvrtc = None
    return {"version": nvrtc, "folder": str(folder), "kernels": len(kept), "n_bytes": sum(path.stat().st_size for path in kept)}


__all__ = ["DEVICES", "descend", "instantiations", "report", "why_no_device", "why_unavailable"]
