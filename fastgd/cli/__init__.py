"""The command line: `fastgd bench`, `demo`, `fit`, `info`, `sweep`, `verify`."""

from .commands import app, main

__all__ = ["app", "main"]
