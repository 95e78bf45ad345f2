"""The command `fastgd`."""

from .commands import app, main

__all__ = ["app", "main"]
