// quotients.cu: the kernels' division by a reciprocal, alone; for tests/kernels/cuda/test_arithmetic.py.
#include "arithmetic.cuh"

__global__ void quotients(const double* a, const double* b, double* out, long long count) {
    for (long long k = 0; k < count; ++k) out[k] = quotient(a[k], b[k], 1.0 / b[k]);
}
