"""The host as a device: arrays are NumPy's, kernels run one after another under the shim."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tests.cuda_on_host.building import SOURCES, build, launch


class OutOfMemory(Exception):
    """More than `memory` bytes were asked for."""


class HostDevice:
    """What kernels/cuda/part.py asks of a device.

    epochs_per_launch: None, as the time allows; a number: always so many. order, seed: in which
    order threads take turns. memory: bytes that may be taken by arrays that live at one time.
    last_blocks: a number: only so many blocks of a launch, the last ones.
    """

    out_of_memory = OutOfMemory
    tell = staticmethod(len)
    operations_per_second = 2e12

    def __init__(
        self, *, epochs_per_launch: int | None = None, order: str = "forwards", seed: int = 0, sanitizer: str = "",
        sources: Path = SOURCES, memory: int = 2**40, free: int | None = None, last_blocks: int | None = None,
    ) -> None:  # fmt: skip
        self.epochs_per_launch = epochs_per_launch
        self.order, self.seed, self.sanitizer, self.sources = order, seed, sanitizer, sources
        self.memory, self.free, self.last_blocks = memory, free, last_blocks
        self.launches: list[tuple[str, tuple[int, int], int]] = []

    def upload(self, array: Any, dtype: Any = None, alignment: int = 8) -> np.ndarray:
        """A copy, so that a kernel that writes to its input is seen."""
        return np.array(array, dtype, order="C")

    copy = upload

    def empty(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """Filled with 0xFF: what is not written shows."""
        result = np.empty(shape, dtype)
        if result.nbytes > self.memory:
            raise OutOfMemory
        result.reshape(-1).view(np.uint8)[:] = 0xFF
        return result

    def fill(self, array: np.ndarray, byte: int) -> None:
        """Every byte the same."""
        array.reshape(-1).view(np.uint8)[:] = byte

    def address(self, array: np.ndarray) -> int:
        """Where it lies."""
        return array.ctypes.data

    def download(self, array: np.ndarray, into: np.ndarray) -> None:
        """Copy back."""
        into[...] = array

    def launch(self, file: str, name: str, grid: tuple[int, int], threads: int, arguments: tuple) -> None:
        """Run it."""
        assert min(*grid, threads) > 0, "a GPU refuses an empty grid"
        self.launches.append((name, grid, threads))
        first = 0 if self.last_blocks is None else max(0, grid[0] - self.last_blocks)
        launch(build(file, name, self.sanitizer, self._sources_of(file)), grid, threads, arguments, self.order, self.seed, first)

    def _sources_of(self, file: str) -> Path:
        """The folder of our own where it has the same file: what was built need not be built
        again."""
        same = all((self.sources / path.name).read_bytes() == path.read_bytes() for path in (*SOURCES.glob("*.cuh"), SOURCES / file))
        return SOURCES if same else self.sources

    def wait(self) -> None:
        """Nothing is under way."""

    def free_bytes(self) -> int:
        """As much as was said."""
        return self.memory if self.free is None else self.free
