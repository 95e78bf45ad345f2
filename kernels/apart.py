"""Work that nothing can interrupt, in a thread of its own: whoever waits for it may leave.

1. A call of LAPACK or of LLVM takes seconds, or minutes where the data are large. Python looks at
   signals only between such calls, and only in the main thread. So they run in another thread,
   which changes nothing: it returns a value. Whoever waits leaves on Ctrl-C, or where the work has
   been cancelled (`Listener.check`). The thread ends when its call does; the value is dropped.
2. A process could be killed, but it would need a copy of the data first, and to fork beside threads
   is not safe.
3. A program that ends meanwhile waits for such calls, and says so: OpenBLAS may hang where the
   system takes it down while it works. It does not where the program ends by Ctrl-C itself, which
   is death by a signal: nothing is taken down.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextvars import copy_context
from typing import Any

from .telling import LISTENER

WAIT = 0.05  # seconds between two looks at whether to go on waiting
LARGE = 2**23  # numbers: one pass of NumPy or torch over as many takes longer than starting a thread, by far

_left: list[threading.Thread] = []  # whose values nobody waits for any more


class Ended:
    """Tells one thread that another has ended: a threading.Event, made of one lock of CPython.

    Event and its Condition are written in Python: Ctrl-C in the midst of `wait` can leave their
    lock held, and then the other thread waits for it in `set`, for ever. Here nothing is held.
    """

    def __init__(self) -> None:
        self._is_set = False
        self._wake = threading.Lock()
        self._wake.acquire()

    def set(self) -> None:
        """Say so; once."""
        self._is_set = True
        self._wake.release()

    def is_set(self) -> bool:
        """Whether it has been said."""
        return self._is_set

    def wait(self, seconds: float = -1) -> bool:
        """Wait until it is said, or for some seconds; return whether it was. For one thread."""
        if not self._is_set:
            self._wake.acquire(timeout=seconds)
        return self._is_set


def has_begun(thread: threading.Thread) -> bool:
    """Start a thread; returns False where the system gives no more threads.

    `Thread.start` waits for the thread on an Event: see `Ended`. Ctrl-C in it can come out as a
    RuntimeError of its lock, as the system's refusal does.
    """
    try:
        thread.start()
    except RuntimeError as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise error.__context__ from None
        return False
    return True


def run_apart(function: Callable[..., Any], *given: Any) -> Any:
    """function(*given), computed in another thread; it raises what that raises."""
    returned: list[Any] = []
    raised: list[BaseException] = []
    finished = Ended()

    def work() -> None:
        try:
            returned.append(function(*given))
        except BaseException as error:  # handed to whoever waits
            raised.append(error)
        finally:
            finished.set()

    listener = LISTENER.get()
    thread = threading.Thread(target=copy_context().run, args=(work,), name="fastgd-apart", daemon=True)
    try:
        if not has_begun(thread):
            work()
        while not finished.wait(WAIT):
            listener.check()
    except BaseException:
        _left[:] = [*(other for other in _left if other.is_alive()), thread]
        raise
    if raised:
        raise raised[0]
    return returned[0]


def run_apart_if(long: bool, function: Callable[..., Any], *given: Any) -> Any:
    """function(*given), in another thread if it takes long."""
    return run_apart(function, *given) if long else function(*given)


@atexit.register
def _wait_for_those_left() -> None:
    """See 3. Ctrl-C ends the program, as if it had not been caught."""
    dying = getattr(sys, "last_type", None) is KeyboardInterrupt and not hasattr(sys, "ps1")
    if dying or not any(thread.is_alive() for thread in _left):
        return
    LISTENER.get().say("fastgd: the program ends when a call of LAPACK or LLVM does that cannot be interrupted; Ctrl-C ends it at once")
    try:
        for thread in _left:
            if thread.is_alive():
                thread.join()
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
