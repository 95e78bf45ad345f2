"""Stand-ins for arrays of libraries that are not among the test requirements."""

from __future__ import annotations


class Device:
    """A device as JAX names it."""

    def __init__(self, platform):
        self.platform = platform


def fake(module, **attributes):
    """An object whose class says that it is an array of `module`."""
    return type("ndarray", (), {"__module__": module, **attributes})()
