"""The same functions by several hands: `cpu` (Numba), `reference` (torch autograd, readable NumPy), `cuda` (CUDA C++)."""

if __name__ == "kernels":
    raise ImportError("this package is called fastgd.kernels: run `python -P`, or leave the repository's root folder")
