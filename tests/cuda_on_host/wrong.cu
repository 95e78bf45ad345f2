// wrong.cu: kernels that do what a kernel must not; the shim reports each. out (32,) or longer.
#include "arithmetic.cuh"

__global__ void fine(double* out) {
    double v = threadIdx.x;
    for (int distance = 16; distance > 0; distance >>= 1) v = v + __shfl_xor_sync(ALL_LANES, v, distance);
    typedef double Row[64];
    SHARED_MEMORY(Row, row);
    row[threadIdx.x] = v;
    __syncthreads();
    out[threadIdx.x] = row[blockDim.x - 1 - threadIdx.x] + blockIdx.x;
}

__global__ void two_barriers(double* out) {
    if (threadIdx.x < 32) {
        __syncthreads();
    } else {
        __syncthreads();
    }
    out[0] = 1;
}

__global__ void leaves_before_the_barrier(double* out) {
    if (threadIdx.x == 3) return;
    __syncthreads();
    out[0] = 1;
}

__global__ void a_lane_does_not_come(double* out) {
    if (threadIdx.x != 7) out[threadIdx.x] = __shfl_xor_sync(ALL_LANES, 1.0, 1);
}

__global__ void not_in_its_mask(double* out) { out[threadIdx.x] = __shfl_xor_sync(0xffffu, 1.0, 1); }

__global__ void reads_outside_the_mask(double* out) {
    if (threadIdx.x < 16) out[threadIdx.x] = __shfl_sync(0xffffu, 1.0, 20);
}

__global__ void two_shuffles(double* out) {
    if (threadIdx.x % 2) {
        out[threadIdx.x] = __shfl_sync(ALL_LANES, 1.0, 0);
    } else {
        out[threadIdx.x] = __shfl_sync(ALL_LANES, 2.0, 0);
    }
}

__global__ void reads_what_nobody_wrote(double* out) {
    typedef double Row[64];
    SHARED_MEMORY(Row, row);
    out[threadIdx.x] = row[threadIdx.x];
}
