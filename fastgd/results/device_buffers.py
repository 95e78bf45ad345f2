"""Buffers on a GPU, for fits whose data are there: CuPy arrays, or the caller's own (`out`)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..input.messages import amount
from ..input.sharing import current_stream, to_cupy
from ..kernels.chunk import Chunk
from .buffers import NAMES, Buffers, Layout

# NumPy arrays while fits are computed, because the host decides by them what happens next
CODES = ("algorithm", "status", "n_used")


class DeviceBuffers(Buffers):
    """Buffers of CuPy arrays; kernels compute all fits in one task. `given`: the caller's `out`."""

    def __init__(self, layout: Layout, given: dict[str, tuple[Any, Any]], device: Any) -> None:
        self.device = device  # launching.Gpu
        super().__init__(layout, given)

    def bytes_made(self) -> int:
        """Bytes of device memory that `allocate` takes."""
        return self.layout.order.n_fits * self.layout.bytes_of_a_fit(self.made())

    def made(self) -> set[str]:
        """Names of the arrays that `allocate` makes: all that are not in `direct`."""
        return set(self.layout.shapes) - set(self.direct)

    def allocate(self, tightly: bool = True) -> None:
        """Make the arrays that the caller did not give; `tightly` changes nothing on a device."""
        m = self.layout.order.n_fits
        try:
            for name, (shape, dtype) in self.layout.shapes.items():
                if name in CODES:
                    self.arrays[name] = np.empty((m, *shape), dtype)
                elif name not in self.direct:
                    self.arrays[name] = self.device.empty((m, *shape), dtype)
        except self.device.out_of_memory:
            needed, free = self.bytes_made(), self.device.free_bytes()
            raise MemoryError(
                f"the results of {m:,} fits need {needed / 2**30:,.1f} GiB of the GPU's memory, of which {free / 2**30:,.1f} GiB are free; "
                "record fewer rows (history=k records every k-th epoch), or fit a part of the batch at a time"
            ) from None

    def slices(self, first: int, stop: int) -> dict[str, Any]:
        """{name in a chunk: (stop - first, …)} for fits first … stop-1, CuPy's but for `CODES`."""
        return {name: self.whole(name)[first:stop] for name in self.layout.shapes}

    def whole(self, name: str) -> Any:
        """The array (m, …) of all fits, by its name in a chunk: never None on a device."""
        return super().whole(name)

    def put(self, slices: dict[str, Any], name: str, values: Any, first: int, stop: int, n_last: int = 0) -> None:
        """Write values into an array of all fits, which are one task on a device."""
        if name in CODES:
            super().put(slices, name, values, first, stop, n_last)
            return
        with self.device.here():
            here = self.device.upload(np.array(values, order="C")) if isinstance(values, np.ndarray) else to_cupy(values, name)
            self.layout.order.restore(self.whole(name))[...] = here

    def spoil(self, values: Any, fits: np.ndarray, value: float) -> None:
        """Set all entries of some fits, (m,) bool, in an array (m, …) of a chunk."""
        if math.prod(values.shape):
            with self.device.here():
                values[self.device.upload(np.flatnonzero(fits))] = value

    def scatter(self, first: int, stop: int, chunk: Chunk) -> None:
        """Copy `CODES` to the device, and results into the arrays of `out` that need a copy."""
        order = self.layout.order
        with self.device.here():
            for name in CODES:
                self.arrays[name] = self.device.upload(self.arrays[name])
            for name, (array, _) in self.given.items():
                source, part = NAMES[name]
                if source in self.direct:
                    continue
                array[...] = self.layout.select(order.restore(self.arrays[source]), part)


def open_on_device(layout: Layout, given: dict[str, tuple[Any, Any]], limit: int | None) -> DeviceBuffers:
    """Buffers on the GPU of the data, used in the caller's stream.

    limit: bytes that the results may take; beyond it a MemoryError is raised.
    """
    from ..kernels import cuda

    problem = layout.problem
    assert problem.device is not None
    outputs = DeviceBuffers(layout, given, cuda.DEVICES["cuda"](problem.device, current_stream(problem.library.name, problem.device)))
    if limit is not None and outputs.bytes_made() > limit:
        raise MemoryError(f"the results need {amount(outputs.bytes_made())} of the GPU's memory, and memory_limit is {amount(limit)}")
    return outputs
