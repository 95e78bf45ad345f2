// shim_cuda.h: the words of CUDA C++ that the kernels use, in terms of shim.h.
#pragma once

#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __grid_constant__
#define threadIdx (shim::current->thread)
#define blockIdx (shim::current->block)
#define blockDim shim::block_size

// The address of a static: one per call in the source. A template has one per instantiation.
#define SHIM_SITE ([]() -> shim::Site { static char site; return &site; }())

#define SHARED_MEMORY(type, name) type& name = shim::shared_memory<type>(SHIM_SITE)
#define __syncthreads() ((void)shim::meet_block(SHIM_SITE, true))
#define __syncthreads_and(vote) shim::meet_block(SHIM_SITE, (vote) != 0)
#define __syncwarp(...) ((void)shim::ballot(shim::mask_or_all(__VA_ARGS__), false, SHIM_SITE))
#define __any_sync(mask, vote) (shim::ballot(mask, (vote) != 0, SHIM_SITE) != 0)
#define __ballot_sync(mask, vote) shim::ballot(mask, (vote) != 0, SHIM_SITE)
#define __popc(bits) __builtin_popcount(bits)
#define __all_sync(mask, vote) (shim::ballot(mask, (vote) != 0, SHIM_SITE) == (unsigned)(mask))
#define __shfl_sync(...) shim::shuffle(shim::FROM, SHIM_SITE, __VA_ARGS__)
#define __shfl_down_sync(...) shim::shuffle(shim::DOWN, SHIM_SITE, __VA_ARGS__)
#define __shfl_xor_sync(...) shim::shuffle(shim::XOR, SHIM_SITE, __VA_ARGS__)

// The host is compiled with -ffp-contract=off: each of these is rounded once.
static inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
static inline double __fma_rn(double a, double b, double c) { return fma(a, b, c); }
static inline float __fsqrt_rn(float a) { return sqrtf(a); }
static inline double __dsqrt_rn(double a) { return sqrt(a); }
static inline int atomicOr(int* place, int bits) { return __atomic_fetch_or(place, bits, __ATOMIC_RELAXED); }
static inline double __longlong_as_double(long long bits) {
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}
static inline long long __double_as_longlong(double value) {
    long long bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}
