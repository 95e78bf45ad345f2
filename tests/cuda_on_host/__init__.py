"""The CUDA backend without a GPU: the unmodified kernels, executed on the host. Importing this
registers the backend `cuda-host`.

shim.h runs them, building.py compiles them with g++, device.py is the device that
kernels/cuda/part.py is given.
"""

from __future__ import annotations

from dataclasses import replace

from fastgd.kernels.cuda import DEVICES
from fastgd.planning.backends import BACKENDS, FOR_TESTS
from tests.cuda_on_host.device import HostDevice

DEVICES["cuda-host"] = HostDevice
FOR_TESTS["cuda-host"] = replace(BACKENDS["cuda"], name="cuda-host", why_unavailable=lambda: None)

__all__ = ["DEVICES", "HostDevice"]
