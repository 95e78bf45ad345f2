"""gpu_outputs: results and states of fits whose data are on a GPU: CuPy arrays in the order of computation, or the user's own (`out`)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..input.arrays import current_stream, to_cupy
from ..input.messages import amount
from .buffers import NAMES, Layout, Outputs

CODES = ("algorithm", "status", "n_used")  # NumPy's while fits are computed: what happens next is decided by them


class GpuOutputs(Outputs):
    """As outputs.Outputs; kernels write into arrays of all fits at once. `given` holds CuPy arrays of the user's."""

    def __init__(self, layout: Layout, given: dict[str, tuple[Any, Any]], device: Any) -> None:
        self.device = device  # launching.Gpu
        super().__init__(layout, given)

    def bytes_made(self) -> int:
        """Device memory of the arrays that are made here."""
        return self.layout.order.n_fits * self.layout.bytes_of_a_fit(self.made())

    def made(self) -> set[str]:
        """All arrays but those of the user's that the kernels write into."""
        return set(self.layout.shapes) - set(self.direct)

    def allocate(self, tightly: bool = True) -> None:
        """Make what the user did not give."""
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
                "record fewer rows (history=k keeps every k-th epoch), or fit a part of the batch at a time"
            ) from None

    def room(self, first: int, stop: int) -> dict[str, Any]:
        """Arrays for fits first … stop-1, by their names in a chunk."""
        return {name: self._of(name)[first:stop] for name in self.layout.shapes}

    def _of(self, name: str) -> Any:
        return self.arrays.get(name, self.direct.get(name))

    def set(self, name: str, values: Any) -> None:
        """Fill an array of all fits with values of NumPy or CuPy, whose leading axes broadcast against the fits'."""
        with self.device.here():
            here = to_cupy(values, name) if not isinstance(values, np.ndarray) else self.device.upload(np.array(values, order="C"))
            self.layout.order.restore(self._of(name))[...] = here

    def spoil(self, names: tuple[str, ...], fits: np.ndarray, value: float) -> None:
        """Fill what some fits have in these arrays with a value."""
        with self.device.here():
            where = self.device.upload(np.flatnonzero(fits))
            for name in names:
                array = self._of(name)
                if math.prod(array.shape):
                    array[where] = value

    def finish(self) -> None:
        """The codes go to the device, and what the kernels did not write into the user's arrays themselves is copied there."""
        order, problem = self.layout.order, self.layout.problem
        with self.device.here():
            for name in CODES:
                self.arrays[name] = self.device.upload(self.arrays[name])
            for name, (array, _) in self.given.items():
                source, part = NAMES[name]
                if source in self.direct:
                    continue
                values = order.restore(self.arrays[source])
                if part == "intercept":
                    values = values[..., problem.n_features]
                elif part == "features":
                    values = values[..., 0] if problem.one_feature else values[..., : problem.n_features]
                array[...] = values


def open_outputs(layout: Layout, given: dict[str, tuple[Any, Any]], limit: int | None) -> GpuOutputs:
    """Results on the device that the data are on, and on the caller's stream; a MemoryError where they do not fit into the limit."""
    from ..kernels import cuda

    problem = layout.problem
    assert problem.device is not None
    outputs = GpuOutputs(layout, given, cuda.DEVICES["cuda"](problem.device, current_stream(problem.library.name, problem.device)))
    if limit is not None and outputs.bytes_made() > limit:
        raise MemoryError(f"the results need {amount(outputs.bytes_made())} of the GPU's memory, and memory_limit is {amount(limit)}")
    return outputs
