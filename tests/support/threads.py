"""Threads that fastgd starts: it does so without `threading`, which does not list them."""

from __future__ import annotations

import gc
import time

from fastgd.kernels.apart import Worker, _Token


def own_threads() -> int:
    """How many run: each holds a token, as does a Worker whose thread was not started yet."""
    there = gc.get_objects()
    tokens = sum(type(one) is _Token for one in there)
    return tokens - sum("_token" in vars(one) for one in there if type(one) is Worker)


def own_threads_left(seconds: float = 1.0) -> int:
    """How many are left; those that have done their work may take a moment to end."""
    last = time.monotonic() + seconds
    while own_threads() and time.monotonic() < last:
        time.sleep(0.001)
    return own_threads()
