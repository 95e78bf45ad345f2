"""Whether a GPU can be used: asked once, in one place.

`import cupy` works without a driver; its first call fails.
"""

from __future__ import annotations

import functools
import importlib.util


@functools.cache
def why_no_device() -> str | None:
    """None if CuPy and a GPU are here, else one sentence that says what is missing."""
    if importlib.util.find_spec("cupy") is None:
        return "CuPy is not installed: install fastgd[cuda13] (or fastgd[cuda12] for a CUDA 12 driver)"
    try:
        import cupy

        count = cupy.cuda.runtime.getDeviceCount()
    except Exception as error:  # CuPy raises its own errors for a missing driver, a missing library, a broken install
        return f"CuPy is installed but found no usable GPU: {error}"
    return None if count else "CuPy is installed but there is no GPU"


def device_name() -> str:
    """Name, memory and compute capability of GPU 0; call it only where there is one."""
    import cupy

    properties = cupy.cuda.runtime.getDeviceProperties(0)
    capability = f"{properties['major']}.{properties['minor']}"
    return f"{properties['name'].decode()}, {properties['totalGlobalMem'] / 2**30:.0f} GiB, compute capability {capability}"
