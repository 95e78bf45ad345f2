"""Threads that fastgd starts: it does so without `threading`, which does not list them."""

from __future__ import annotations

import _thread
import threading
import time


def own_threads() -> int:
    """How many threads run that `threading.Thread` did not start, the main thread aside."""
    started = [one for one in threading.enumerate() if not isinstance(one, threading._DummyThread) and one is not threading.main_thread()]
    return _thread._count() - sum(one.is_alive() for one in started)


def own_threads_left(seconds: float = 1.0) -> int:
    """How many are left; those that have done their work may take a moment to end."""
    last = time.monotonic() + seconds
    while own_threads() and time.monotonic() < last:
        time.sleep(0.001)
    return own_threads()
