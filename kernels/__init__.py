"""The kernels: `cpu` (Numba), `cuda` (CUDA C++), `reference` (torch autograd, readable NumPy)."""

if __name__ == "kernels":
    raise ImportError("this package is called fastgd.kernels: run `python -P`, or leave the repository's root folder")
