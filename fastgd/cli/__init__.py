"""The command line: `fastgd demo`, `fastgd info`, `fastgd verify`."""

from .commands import app, main

__all__ = ["app", "main"]
