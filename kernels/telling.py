"""What kernels have to say while they are compiled: a line on stderr, or where a call wants it.

1. A call sets `LISTENER` for its threads (fastgd/running/pool.py): with `progress=False` nothing is
   said, and a progress bar names what is done. Outside of a call a line goes to stderr.
2. A line, not a warning: nothing is wrong, and a filter that makes errors of warnings must not stop
   a fit that compiles.
"""

from __future__ import annotations

import sys
from collections.abc import Hashable
from contextvars import ContextVar


class Listener:
    """Hears a line, and what is being done instead of fits from `begin` to `end`."""

    def say(self, line: str) -> bool:
        """Print a line on stderr, where there is one; returns whether it was printed."""
        if sys.stderr is None:  # as in a program without a console
            return False
        try:
            print(line, file=sys.stderr, flush=True)
        except (OSError, ValueError):  # a file on a full disk, a pipe that nobody reads, a closed stream
            return False
        return True

    def begin(self, note: str) -> None:
        """Compiling begins."""

    def end(self) -> None:
        """Compiling has ended."""

    def check(self) -> None:
        """Called while somebody waits, or now and then: raises where the work was cancelled."""


_OUTSIDE = Listener()
LISTENER: ContextVar[Listener] = ContextVar("LISTENER", default=_OUTSIDE)
_said: set[tuple[Hashable, ...]] = set()


def say_once(line: str, *about: Hashable) -> None:
    """Say a line, unless this process has said one about the same thing.

    What a quiet call does not print is still to be said: by the next call that is not quiet.
    """
    if about not in _said and LISTENER.get().say(line):
        _said.add(about)
