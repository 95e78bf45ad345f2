"""The CUDA backend without a GPU: the unmodified kernels, executed on the host. Importing this registers the backend `cuda-host`.

shim.h runs them, building.py compiles them with g++, device.py is the device that kernels/cuda/running.py is given.
"""
