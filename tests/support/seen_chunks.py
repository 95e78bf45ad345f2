"""The chunks of a fit on the CPU, for what of them is in no result: F* and ρ."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

import fastgd.running.cpu
from fastgd.kernels.chunk import Chunk


@contextlib.contextmanager
def seen_chunks() -> Iterator[list[tuple[int, Chunk]]]:
    """[(its first fit, the chunk)] of the fits made while it is open, in the order of their
    making."""
    chunks, making = [], fastgd.running.cpu.chunk_of_group

    def make(*arguments):
        made = making(*arguments)
        chunks.append((arguments[2], made[0]))
        return made

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(fastgd.running.cpu, "chunk_of_group", make)
        yield chunks
