"""Forks of a process with threads: a fork waits for what no child can be made in the middle of.

1. A forked child has one thread, the one that forked. A lock that another thread held is locked in
   it for ever, and what that thread was making is half made in it. The locks of a call belong to
   that call, and children never meet them. But calls import and compile under locks of the process:
   Python's of each module, Numba's and LLVM's. And LAPACK, in NumPy's OpenBLAS, ends its threads at
   a fork: a call in another thread then waits for them for ever, in the parent too.
2. So `os.fork` waits until nobody does any of this, at most LONGEST, and keeps others from it until
   the child is made. After LONGEST the child gets new locks, and what was half made stays so.
3. A whole program can run inside of `import app`. So the wait is for imports of NEEDED alone.
4. A signal's handler that forks while its thread waits to fork does not wait. Two threads that
   fork, one with Numba's lock and one with LLVM's, wait for each other, LONGEST.
5. Where another program takes the place of the child at once (subprocess, the start method "spawn")
   Python calls none of this, and nothing waits.
6. Modules that do the same for their own locks must be there before: one that is imported during
   the wait would release a lock that it did not take.
"""

from __future__ import annotations

import _imp
import _thread
import concurrent.futures.thread  # noqa: F401  see 6
import functools
import logging  # noqa: F401  see 6
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from importlib import _bootstrap
from typing import Any, ParamSpec, TypeVar

LONGEST = 120.0  # seconds; a kernel takes at most 9 to compile on the core of announcing.py, and slow machines 10 times as long
STEP = 0.01  # seconds from one try to the next
NEEDED = sys.stdlib_module_names | {
    "cupy", "fastgd", "jinja2", "llvmlite", "matplotlib", "mpmath", "narwhals", "numba", "numpy", "rich", "torch",
}  # fmt: skip

_CO_GENERATOR = 0x20  # of the code of a generator
_OVER = object()

Given = ParamSpec("Given")
Made = TypeVar("Made")

_module_locks: dict[str, Any] = getattr(_bootstrap, "_module_locks", {})  # {module that is being imported: weak reference to its lock}
_gate = threading.RLock()  # a fork holds it: nobody may begin a call of LAPACK
_lapack: dict[int, Any] = {}  # {thread: the lock that it holds in calls of LAPACK}
_forking: dict[int, list[list[Callable[[], object]]]] = {}  # {thread: what lets go of the locks of each of its forks}
_handler: list[Any] = []  # what SIGINT calls otherwise, while the main thread forks
_pressed: list[int] = []  # SIGINTs meanwhile


def refuse_subinterpreter() -> None:
    """Raise where this is not the main interpreter: NumPy warns or fails there, Numba crashes."""
    try:
        if sys.version_info >= (3, 13):
            import _interpreters as interpreters
        else:
            import _xxsubinterpreters as interpreters  # type: ignore[import-not-found]
    except ImportError:  # there are none
        return
    if interpreters.get_current() != interpreters.get_main():
        raise ImportError(
            "fastgd runs in the main interpreter of a process, and this is a subinterpreter: NumPy and Numba keep their state for the "
            "whole process. Use threads or processes instead (with mod_wsgi: WSGIApplicationGroup %{GLOBAL})"
        )


def lapack_lock() -> Any:
    """The lock that a thread holds in calls of NumPy's LAPACK or BLAS: no child is made meanwhile.

    It is a lock of CPython, not a class with an `__enter__`: Ctrl-C could fall into that, and the
    thread would seem to be in LAPACK for ever.
    """
    me = threading.get_ident()
    lock = _lapack.get(me)
    if lock is None or not lock._is_owned():  # in a call already: a fork that holds the gate waits for this thread
        with _gate:
            lock = _lapack.setdefault(me, threading.RLock())
    return lock


def lapack(function: Callable[Given, Made]) -> Callable[Given, Made]:
    """Decorator: the function calls LAPACK or BLAS. A generator holds the lock while it runs."""
    if getattr(getattr(function, "__code__", None), "co_flags", 0) & _CO_GENERATOR:  # `inspect` takes long to import

        @functools.wraps(function)
        def each(*args: Given.args, **options: Given.kwargs) -> Any:
            made: Any = function(*args, **options)
            while True:
                with lapack_lock():
                    found = next(made, _OVER)
                if found is _OVER:
                    return
                yield found

        return each

    @functools.wraps(function)
    def call(*args: Given.args, **options: Given.kwargs) -> Made:
        with lapack_lock():
            return function(*args, **options)

    return call


def _locks() -> list[Any]:
    """The locks of Numba and of LLVM, as far as these are imported."""
    numba, llvm = sys.modules.get("numba.core.compiler_lock"), sys.modules.get("llvmlite.binding.ffi")
    try:
        return [*([numba.global_compiler_lock._lock] if numba else []), *([llvm.lib._lock._lock] if llvm else [])]
    except AttributeError:  # they are being imported, or have become others
        return []


def _others_import() -> bool:
    """Whether another thread is in the middle of importing a module of NEEDED.

    If this one is too, a thread that forks in its import is not waited for: it waits for this one.
    """
    me = threading.get_ident()
    locks = [(name.partition(".")[0], reference()) for name, reference in list(_module_locks.items())]
    owners = {getattr(lock, "owner", None) for name, lock in locks if name in NEEDED} - {None}
    return bool(owners - {me} - (set(_forking) if me in owners else set()))


def _take(lock: Any, held: list[Callable[[], object]]) -> bool:
    """Take a lock, if it becomes free within a moment."""
    taken = lock.acquire(timeout=STEP)
    if taken:
        held.append(lock.release)
    return taken


def _hold(held: list[Callable[[], object]], goes_on: Callable[[], bool]) -> bool:
    """Take all locks, or none; returns whether they are taken.

    held: gets what lets go of them. goes_on: whether to wait for LAPACK any longer.
    """
    if not _take(_gate, held):
        return False
    for lock in _lapack.values():
        while not _take(lock, held):
            if not goes_on():
                return _let_go(held)
    if not all(_take(lock, held) for lock in _locks()):
        return _let_go(held)
    _imp.acquire_lock()  # from here on no other thread begins or ends an import
    held.append(_imp.release_lock)
    return not _others_import() or _let_go(held)


def _let_go(held: list[Callable[[], object]]) -> bool:
    """Let go of all locks; returns False."""
    while held:
        held.pop()()
    return False


def before() -> None:
    """Wait until a child can be made, and hold the locks. Ctrl-C ends the wait.

    An exception in a function that Python calls at a fork is printed, and the fork goes on. So
    SIGINT raises none until the child is made: it is remembered, and sent again.
    """
    me, last = threading.get_ident(), time.monotonic() + LONGEST
    main = me == threading.main_thread().ident
    held: list[Callable[[], object]] = []
    forks = _forking.setdefault(me, [])
    forks.append(held)
    if len(forks) > 1:  # a signal's handler, in the midst of the wait below
        return
    if main and callable(handler := signal.getsignal(signal.SIGINT)):
        _handler.append(handler)
        signal.signal(signal.SIGINT, lambda *_: _pressed.append(1))

    def goes_on() -> bool:
        return time.monotonic() < last and not (main and _pressed)

    while not _hold(held, goes_on) and goes_on():
        time.sleep(STEP)


def in_parent() -> None:
    """Let go of the locks."""
    me = threading.get_ident()
    forks = _forking.get(me) or [[]]
    _let_go(forks.pop())
    if forks:
        return
    _forking.pop(me, None)
    if me == threading.main_thread().ident and _handler:
        signal.signal(signal.SIGINT, _handler.pop())
        if _pressed:
            _pressed.clear()
            _thread.start_new_thread(_press_again, (me,))


def _press_again(thread: int) -> None:
    """Send SIGINT to a thread when `os.fork` has returned there."""
    time.sleep(STEP)
    signal.pthread_kill(thread, signal.SIGINT)


def in_child() -> None:
    """Let go of the locks; if they were not held, make them new."""
    me = threading.get_ident()
    forks = _forking.get(me) or [[]]
    were_held = bool(forks[-1])
    for held in forks:
        _let_go(held)
    if not were_held:
        for lock in (_gate, *_lapack.values(), *_locks()):
            if not lock._is_owned():  # by this thread, which may be in a call of LAPACK
                lock._at_fork_reinit()
    forks.pop()
    _forking.clear()
    if forks:
        _forking[me] = forks
    if _handler:
        signal.signal(signal.SIGINT, _handler.pop())
    _pressed.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=before, after_in_parent=in_parent, after_in_child=in_child)
