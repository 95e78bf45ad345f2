"""Room: how much memory is free, asked before the numbers of an argument are copied.

1. A failed allocation cannot be relied on: the system grants more memory than it has, and kills the
   process later. What an argument needs is told by its shape or its length, before it is read.
2. A view may have far more numbers than memory (`numpy.broadcast_to`), and so may an array on disk
   and a sequence that makes its entries when it is asked for them (`range`). Axes that only repeat
   are read once (`without_repeats`); everything else that would be copied is asked about here.
"""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path
from typing import Any

from .messages import amount, counted

SHARE = 0.8  # of the free memory, where no limit is given
SMALL_BYTES = 64 * 2**20  # below this a call does not ask how much memory is free
OF_A_COPY = 24  # bytes of a number while it is converted to float64: it, a copy, and what is found of it
OF_A_JUDGED = 128  # bytes of a number of data or histories that are judged: eight times in long double
OF_AN_ENTRY = 40  # bytes of an entry of a list of Python's floats
_IN_MEMORY = ("pandas", "polars", "pyarrow")  # their columns are not copied, or are in memory once more at most
_CGROUP = Path("/sys/fs/cgroup")


def free_memory() -> int | None:
    """Bytes that this process can still allocate; None where the system does not say."""
    found = []
    for limit, used in (("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes")):
        try:  # the limit is "max" where there is none
            found.append(int((_CGROUP / limit).read_text()) - int((_CGROUP / used).read_text()))
        except (OSError, ValueError):
            continue
    try:
        lines = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
        found.append(1024 * sum(int(words[1]) for words in lines if words[0] in ("MemAvailable:", "SwapFree:")))
    except (OSError, ValueError):
        pass
    return min([*found, *_free_addresses()], default=None)


def _free_addresses() -> list[int]:
    """[bytes that RLIMIT_AS, as by `ulimit -v`, leaves]; [] where there is no such limit."""
    try:
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except (ImportError, OSError, ValueError):
        return []
    return [] if limit == resource.RLIM_INFINITY else [max(0, limit - used)]


def check_room(name: str, count: int, each: int = OF_A_COPY) -> None:
    """Raise MemoryError where `count` numbers of `each` bytes do not fit into the free memory.

    name: of the argument that has them.
    """
    needed = count * each
    if needed < SMALL_BYTES:
        return
    free = free_memory()
    if free is not None and needed > SHARE * free:
        allowed = f"{amount(int(SHARE * free))} ({SHARE:.0%} of what is free) may be used"
        raise MemoryError(f"{name} has {counted(count, 'number')}; to read them needs {amount(needed)}, and {allowed}: give fewer")


def check_readable(value: Any, name: str) -> None:
    """Raise MemoryError where an array of what a value holds does not fit into the free memory.

    What lies in memory as an array, and needs no copy, is not asked about.
    """
    count = 1
    while isinstance(value, list | tuple) and value:  # the first entry speaks for all: they must be alike
        count *= len(value)
        value = value[0]
    if type(value).__module__.partition(".")[0] in _IN_MEMORY:
        return
    try:
        shape = getattr(value, "shape", None)
        if isinstance(shape, tuple) and all(type(length) is int for length in shape):
            each = value.dtype.itemsize if hasattr(value, "dtype") else 8
            count *= math.prod(shape)
        else:
            each = 8 if hasattr(value, "__array__") or not hasattr(value, "__len__") else OF_AN_ENTRY
            count *= len(value) if each == OF_AN_ENTRY and not isinstance(value, str | bytes) else 1
        each = int(each)
    except OverflowError:  # of a longer sequence Python cannot tell the length
        count, each = count * sys.maxsize, OF_AN_ENTRY
    except Exception:  # whatever a __len__ or a __getattr__ may raise
        return
    check_room(name, count, each)
