// arithmetic.cuh: docs/arithmetic.md, sections 1 and 2, as device functions.
//
// 1. Compiled with --fmad=false -ftz=false -prec-div=true -prec-sqrt=true
//    (kernels/cuda/compiling.py): + − × ÷ are rounded once, as written, and nothing is contracted.
//    A fused multiply-add is always asked for by name: `fused`.
// 2. No header is included, so that NVRTC needs no toolkit. The same source runs on the host in the
//    tests.
#pragma once

#ifndef SHARED_MEMORY  // the tests give every block a fresh array
#define SHARED_MEMORY(type, name) __shared__ type name
#endif

constexpr int LANES = 32;
constexpr long long CHUNK = 4096;  // samples; part of the specification
constexpr unsigned ALL_LANES = 0xffffffffu;

__device__ __forceinline__ float fused(float a, float b, float c) { return __fmaf_rn(a, b, c); }
__device__ __forceinline__ double fused(double a, double b, double c) { return __fma_rn(a, b, c); }
__device__ __forceinline__ float root(float a) { return __fsqrt_rn(a); }
__device__ __forceinline__ double root(double a) { return __dsqrt_rn(a); }
__device__ __forceinline__ float size_of(float a) { return fabsf(a); }
__device__ __forceinline__ double size_of(double a) { return fabs(a); }
__device__ __forceinline__ bool is_finite(double a) { return a - a == 0.0; }
__device__ __forceinline__ double larger(double a, double b) { return b > a ? b : a; }  // a NaN in b is ignored
__device__ __forceinline__ double not_a_number() { return __longlong_as_double(0x7ff8000000000000LL); }
__device__ __forceinline__ double infinity() { return __longlong_as_double(0x7ff0000000000000LL); }

// 2^e; 0 below the smallest float64
__device__ __forceinline__ double pow2(long long e) {
    if (e >= 1024) return infinity();
    if (e >= -1022) return __longlong_as_double((e + 1023) << 52);
    return e >= -1074 ? __longlong_as_double(1LL << (e + 1074)) : 0.0;
}

// v · 2^e in two steps, so that no factor overflows
__device__ __forceinline__ double scale(double v, long long e) {
    const long long half = e >> 1;
    return (v * pow2(half)) * pow2(e - half);
}

// the k with 2^k ≤ m < 2^(k+1), m ≥ 0, from −1022 (also for m = 0) to 1023 (also for m = inf)
__device__ __forceinline__ long long exponent_of(double m) {
    const long long field = __double_as_longlong(m) >> 52;
    return field == 0 ? -1022 : field == 2047 ? 1023 : field - 1023;
}

// a / b, a ≥ 0 or −0, b > 0, rounded once, without a division: `reciprocal` is 1/b rounded to
// nearest (Markstein, 1990). Not so for an infinite a, which gives a NaN, nor for quotients near
// 2^−969, where the products lose bits.
__device__ __forceinline__ double quotient(double a, double b, double reciprocal) {
    double q = a * reciprocal;
    q = fused(fused(-q, b, a), reciprocal, q);
    return copysign(fused(fused(-q, b, a), reciprocal, q), a);
}

struct Pair {  // a double-double, or any sum and its error
    double hi, lo;
};

__device__ __forceinline__ Pair two_sum(double a, double b) {
    const double s = a + b, t = s - a;
    return {s, (a - (s - t)) + (b - t)};
}

__device__ __forceinline__ Pair fast_two_sum(double a, double b) {
    const double s = a + b;
    return {s, b - (s - a)};
}

__device__ __forceinline__ Pair dd_add(Pair a, Pair b) {
    Pair s = two_sum(a.hi, b.hi);
    const Pair t = two_sum(a.lo, b.lo);
    s = fast_two_sum(s.hi, s.lo + t.hi);
    return fast_two_sum(s.hi, s.lo + t.lo);
}

// total + (hi + lo) · factor, as in the inner loops of section 6
__device__ __forceinline__ Pair add_product(Pair total, Pair value, double factor) {
    const double p = value.hi * factor;
    double q = fused(value.hi, factor, -p);
    q = fused(value.lo, factor, q);
    const Pair s = two_sum(total.hi, p);
    return {s.hi, total.lo + (s.lo + q)};
}

// ---- what the lanes of float32 data (float64 sums) and of float64 data (double-double) have in common

__device__ __forceinline__ float added(float a, float b) { return a + b; }
__device__ __forceinline__ double added(double a, double b) { return a + b; }
__device__ __forceinline__ Pair added(Pair a, Pair b) { return dd_add(a, b); }

template <typename V>
__device__ __forceinline__ V from_lane_below(unsigned mask, V v, int distance, int group) {
    return __shfl_down_sync(mask, v, distance, group);
}
__device__ __forceinline__ Pair from_lane_below(unsigned mask, Pair v, int distance, int group) {
    return {__shfl_down_sync(mask, v.hi, distance, group), __shfl_down_sync(mask, v.lo, distance, group)};
}
__device__ __forceinline__ double from_partner(double v, int distance) { return __shfl_xor_sync(ALL_LANES, v, distance); }
__device__ __forceinline__ Pair from_partner(Pair v, int distance) {
    return {__shfl_xor_sync(ALL_LANES, v.hi, distance), __shfl_xor_sync(ALL_LANES, v.lo, distance)};
}

// The lanes of a group of 1, 2, 4, …, 32 neighbouring lanes within their warp, as a mask.
__device__ __forceinline__ unsigned mask_of_group(int group) {
    const int first = threadIdx.x & (LANES - 1) & ~(group - 1);
    return group == LANES ? ALL_LANES : ((1u << group) - 1u) << first;
}

// The butterfly over a group of lanes: lane 0 of the group gets the sum. Where a group is smaller
// than 32, the missing lanes would hold +0, which changes no sum but −0: such groups are for sums
// that cannot be −0, those of `compress`.
template <typename V>
__device__ __forceinline__ V sum_of_lanes(V v, unsigned mask, int group) {
    for (int distance = group >> 1; distance > 0; distance >>= 1) v = added(v, from_lane_below(mask, v, distance, group));
    return v;
}

// The butterflies of K sums at once, in about K exchanges and not 5 K: at every distance a lane
// keeps half of its sums and hands the other half to its partner. The additions are those of K
// butterflies. Afterwards slot m of a lane holds sum `place(m, lane)`.
template <int K, int DISTANCE = LANES / 2>
struct Fold {
    static constexpr int HALF = (K + 1) / 2;

    template <typename V, int ROOM>
    static __device__ __forceinline__ void run(V (&v)[ROOM], int lane) {
        const bool upper = (lane & DISTANCE) != 0;
#pragma unroll
        for (int m = 0; m < HALF; ++m) {
            const bool alone = 2 * m + 1 >= K;
            const V first = v[2 * m], second = v[alone ? 2 * m : 2 * m + 1];
            const V mine = upper ? second : first, theirs = from_partner(upper ? first : second, DISTANCE);
            v[m] = upper ? added(theirs, mine) : added(mine, theirs);
        }
        Fold<HALF, DISTANCE / 2>::run(v, lane);
    }

    // which sum; −1 where another lane holds the same
    static __device__ __forceinline__ int place(int m, int lane) {
        const int below = Fold<HALF, DISTANCE / 2>::place(m, lane);
        const int here = 2 * below + ((lane & DISTANCE) != 0);
        return below < 0 || here >= K ? -1 : here;
    }
    static constexpr int SLOTS = Fold<HALF, DISTANCE / 2>::SLOTS;  // sums that a lane holds at the end
};

template <int K>
struct Fold<K, 0> {
    template <typename V, int ROOM>
    static __device__ __forceinline__ void run(V (&)[ROOM], int) {}
    static __device__ __forceinline__ int place(int m, int) { return m; }
    static constexpr int SLOTS = K;
};
