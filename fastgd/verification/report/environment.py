"""The versions of what a verdict was made with."""

from __future__ import annotations

import platform
import sys

__all__ = ["environment"]


def environment() -> dict[str, str]:
    """Return the versions of Python and of the loaded libraries, and the machine."""
    found = {name: getattr(sys.modules.get(name), "__version__", None) for name in ("fastgd", "numpy", "numba", "torch", "cupy")}
    versions = {name: str(version) for name, version in found.items() if version is not None}
    return {"python": platform.python_version(), "machine": f"{platform.system()} {platform.machine()}", **versions}
