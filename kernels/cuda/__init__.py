"""The CUDA backend. So far it only knows whether there is a GPU (device.py); the kernels are to come."""
