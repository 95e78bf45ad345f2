"""The kernels, written by several hands that give the same bits or stay within the error bound.

`cpu` (Numba), `reference` (torch autograd, readable NumPy), `cuda` (CUDA C++).
"""

if __name__ == "kernels":
    raise ImportError("this package is called fastgd.kernels: run `python -P`, or leave the repository's root folder")
