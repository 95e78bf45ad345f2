"""Forks of a process with threads: a fork waits for what no child can be made in the middle of.

1. A forked child has one thread, the one that forked. A lock that another thread held is locked in
   it for ever, and what that thread was making is half made in it. The locks of a call belong to
   that call, and children never meet them. But calls import and compile under locks of the process:
   Python's of each module, Numba's and LLVM's. And LAPACK, in NumPy's OpenBLAS, ends its threads at
   a fork: a call in another thread then waits for them for ever, in the parent too.
2. So `os.fork` waits until nobody does any of this, at most LONGEST, and keeps others from it until
   the child is made. After LONGEST the child gets new locks, and what was half made stays so.
3. A whole program can run inside of `import app`. So the wait is for imports of NEEDED alone.
4. Where another program takes the place of the child at once (subprocess, the start method "spawn")
   Python calls none of this, and nothing waits.
5. Modules that do the same for their own locks must be there before: one that is imported during
   the wait would release a lock that it did not take.
"""

from __future__ import annotations

import _imp
import concurrent.futures.thread  # noqa: F401  see 5
import logging  # noqa: F401  see 5
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ContextDecorator
from importlib import _bootstrap
from typing import Any

LONGEST = 120.0  # seconds; a kernel takes at most 9 to compile on the core of announcing.py, and slow machines 10 times as long
STEP = 0.01  # seconds from one try to the next
NEEDED = sys.stdlib_module_names | {
    "cupy", "fastgd", "jinja2", "llvmlite", "matplotlib", "mpmath", "narwhals", "numba", "numpy", "rich", "torch",
}  # fmt: skip

_module_locks: dict[str, Any] = getattr(_bootstrap, "_module_locks", {})  # {module that is being imported: weak reference to its lock}
_gate = threading.Lock()  # a fork holds it: nobody may begin a call of LAPACK
_inside: list[int] = []  # threads in calls of LAPACK
_held: dict[int, list[Callable[[], object]]] = {}  # {thread that forks: what lets go of the locks that it holds}
_interrupted: set[int] = set()  # threads that forked at once because of Ctrl-C


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


class _Lapack(ContextDecorator):
    """While it is open the thread is in a call of NumPy's LAPACK or BLAS; no child is made then."""

    def __enter__(self) -> None:
        me = threading.get_ident()
        if me in _inside:  # a fork that holds the gate waits for this thread
            _inside.append(me)
        else:
            with _gate:
                _inside.append(me)

    def __exit__(self, *error: object) -> None:
        _inside.remove(threading.get_ident())


lapack = _Lapack()


def _locks() -> list[Any]:
    """The locks of Numba and of LLVM, as far as these are imported."""
    numba, llvm = sys.modules.get("numba.core.compiler_lock"), sys.modules.get("llvmlite.binding.ffi")
    try:
        return [*([numba.global_compiler_lock._lock] if numba else []), *([llvm.lib._lock._lock] if llvm else [])]
    except AttributeError:  # they are being imported, or have become others
        return []


def _others_import() -> bool:
    """Whether another thread is in the middle of importing a module of NEEDED."""
    own = (None, threading.get_ident())
    locks = [(name.partition(".")[0], reference()) for name, reference in list(_module_locks.items())]
    return any(name in NEEDED and getattr(lock, "owner", None) not in own for name, lock in locks)


def _hold(held: list[Callable[[], object]], last: float) -> bool:
    """Take all locks, or none; held: what lets go of them. last: when to give up."""
    for lock in (_gate, *_locks()):
        if not lock.acquire(timeout=STEP):
            _let_go(held)
            return False
        held.append(lock.release)
        while lock is _gate and set(_inside) - {threading.get_ident()} and time.monotonic() < last:
            time.sleep(STEP / 10)
    _imp.acquire_lock()  # from here on no other thread begins or ends an import
    held.append(_imp.release_lock)
    if _others_import():
        _let_go(held)
    return bool(held)


def _let_go(held: list[Callable[[], object]]) -> None:
    while held:
        held.pop()()


def before() -> None:
    """Wait until a child can be made, and hold the locks."""
    me, last = threading.get_ident(), time.monotonic() + LONGEST
    held = _held[me] = []
    try:
        while not _hold(held, last) and time.monotonic() < last:
            time.sleep(STEP)
    except KeyboardInterrupt:  # Python would print it and go on
        _let_go(held)
        _interrupted.add(me)


def in_parent() -> None:
    """Let go of the locks."""
    me = threading.get_ident()
    _let_go(_held.pop(me, []))
    if me in _interrupted:
        _interrupted.remove(me)
        threading.Timer(STEP, signal.pthread_kill, (me, signal.SIGINT)).start()  # when `os.fork` has returned


def in_child() -> None:
    """Let go of the locks; if they were not held, make them new."""
    held = _held.pop(threading.get_ident(), [])
    if not held:
        for lock in (_gate, *_locks()):
            lock._at_fork_reinit()
    _let_go(held)
    _inside[:] = [one for one in _inside if one == threading.get_ident()]
    _held.clear()
    _interrupted.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=before, after_in_parent=in_parent, after_in_child=in_child)
