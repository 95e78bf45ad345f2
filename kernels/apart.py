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

import _thread
import atexit
import os
import signal
import sys
import weakref
from collections.abc import Callable
from contextvars import copy_context
from typing import Any

from .telling import LISTENER

WAIT = 0.05  # seconds between two looks at whether to go on waiting
LARGE = 2**23  # numbers: one pass of NumPy or torch over as many takes longer than starting a thread, by far

_left: list[Worker] = []  # whose values nobody waits for any more


class _Token:
    """What a running thread alone holds."""


class Worker:
    """One thread, and whether it has ended. Not a threading.Thread, for two reasons.

    1. `Thread.start` waits on an Event until the thread runs: for ever, in CPython 3.11, where the
       thread's first requests for memory fail. Here nobody waits for a thread to begin. However it
       ends, the token that only it holds is gone then.
    2. Event and its Condition are written in Python: Ctrl-C in the midst of `wait` can leave their
       lock held, and then the other thread waits for it in `set`, for ever. Here nothing is held.
    """

    def __init__(self) -> None:
        self._has_said_so = False
        self._wake = _thread.allocate_lock()
        self._wake.acquire()
        self._token = _Token()
        self._of_thread = weakref.ref(self._token)

    def start(self, function: Callable[..., object], *given: Any) -> bool:
        """function(*given) in a new thread, once; returns False where the system gives no more.

        It runs in a copy of the caller's context.
        """
        run = copy_context().run
        try:  # no variable holds the token, so it is gone if Ctrl-C falls between its removal and the thread
            _thread.start_new_thread(run, (self._work, function, given, vars(self).pop("_token")))
        except (RuntimeError, MemoryError):
            if not self.has_ended:  # the thread runs: a signal's handler raised this
                raise
            return False
        return True

    def _work(self, function: Callable[..., object], given: tuple[Any, ...], token: _Token) -> None:
        try:
            function(*given)
        finally:
            del token  # an error's traceback may keep this frame
            self._has_said_so = True
            self._wake.release()

    @property
    def has_ended(self) -> bool:
        """Whether the function has returned, or the thread is gone, or there never was one."""
        return self._has_said_so or "_token" in vars(self) or self._of_thread() is None

    def wait(self) -> bool:
        """Wait for WAIT at most; returns whether it has ended. For one thread."""
        if not self.has_ended:
            self._wake.acquire(timeout=WAIT)
        return self.has_ended


def run_apart(function: Callable[..., Any], *given: Any) -> Any:
    """function(*given), computed in another thread; it raises what that raises."""
    returned: list[Any] = []
    raised: list[BaseException] = []

    def work() -> None:
        try:
            returned.append(function(*given))
        except BaseException as error:  # handed to whoever waits
            raised.append(error)

    listener, worker = LISTENER.get(), Worker()
    try:
        if not worker.start(work):
            work()
        while not worker.wait():
            listener.check()
    except BaseException:
        _left[:] = [*(other for other in _left if not other.has_ended), worker]
        raise
    if raised:
        raise raised[0]
    if not returned:
        raise MemoryError("a thread of fastgd ended before its work was done: the system had no memory for it")
    return returned[0]


def run_apart_if(long: bool, function: Callable[..., Any], *given: Any) -> Any:
    """function(*given), in another thread if it takes long."""
    return run_apart(function, *given) if long else function(*given)


@atexit.register
def _wait_for_those_left() -> None:
    """See 3. Ctrl-C ends the program, as if it had not been caught."""
    dying = getattr(sys, "last_type", None) is KeyboardInterrupt and not hasattr(sys, "ps1")
    if dying or all(worker.has_ended for worker in _left):
        return
    LISTENER.get().say("fastgd: the program ends when a call of LAPACK or LLVM does that cannot be interrupted; Ctrl-C ends it at once")
    try:
        for worker in _left:
            while not worker.wait():
                pass
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
