"""32 lanes as one value inside Numba functions, and how these functions are compiled."""
