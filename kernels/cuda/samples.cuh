// samples.cuh: sums over samples of an item, in T (docs/arithmetic.md, sections 2 and 7).
#pragma once
#include "arithmetic.cuh"
#include "work.cuh"

// Which samples of an item are summed: all of them, or those of a mini-batch.
struct All {
    long long count;
    __device__ __forceinline__ long long number(long long i) const { return i; }
};
struct Batch {
    long long count, first;
    const int* order;  // null: as they stand
    __device__ __forceinline__ long long number(long long i) const { return order ? order[first + i] : first + i; }
};

// feature k of a sample as the descent sees it
template <typename T, bool STANDARD>
__device__ __forceinline__ T feature(const T* x, const double* center, const double* scales, long long k) {
    return STANDARD ? (x[k] - T(center[k])) / T(scales[k]) : x[k];
}

// the sums of one chunk of some samples of an item, from their number `first` on; one warp
template <typename T, bool STANDARD, typename Places>
__device__ __forceinline__ void sum_chunk_of(const Work& work, long long item, Places places, long long first, const double* w, T factor,
                                             T* lanes, T* sums, int lane) {
    const long long d = work.n_features, D = work.n_parameters;
    const long long stop = first + CHUNK < places.count ? first + CHUNK : places.count;
    const T *X = X_of<T>(work, item), *y = y_of<T>(work, item), *weights = weights_of<T>(work, item);
    const double *center = work.item_center + item * d, *scales = work.item_scale + item * d;
    const int* kept = kept_row_of(work, item);
    T squares = T(0);
    for (long long j = 0; j < D; ++j) lanes[j * LANES + lane] = T(0);
    for (long long i = first + lane; i < stop; i += LANES) {
        const long long place = place_of(kept, places.number(i));
        const T* x = X + place * d;
        T r = -y[place];
        for (long long k = 0; k < d; ++k) r = fused(feature<T, STANDARD>(x, center, scales, k), T(w[k]), r);
        if (work.intercept) r = r + T(w[d]);
        const T v = weights ? weights[place] * r : r;
        squares = fused(v, r, squares);
        const T share = factor * v;
        for (long long j = 0; j < d; ++j)
            lanes[j * LANES + lane] = fused(feature<T, STANDARD>(x, center, scales, j), share, lanes[j * LANES + lane]);
        if (work.intercept) lanes[d * LANES + lane] = lanes[d * LANES + lane] + share;
    }
    __syncwarp();
    for (long long j = 0; j < D; ++j) {
        const T sum = sum_of_lanes(lanes[j * LANES + lane], ALL_LANES, LANES);
        if (lane == 0) sums[j] = sum;
    }
    squares = sum_of_lanes(squares, ALL_LANES, LANES);
    if (lane == 0) sums[D] = squares;
}

template <typename T, typename Places>
__device__ __forceinline__ void sum_chunk(const Work& work, long long item, Places places, long long first, const double* w, T factor,
                                          T* lanes, T* sums, int lane) {
    if (work.item_center)
        sum_chunk_of<T, true>(work, item, places, first, w, factor, lanes, sums, lane);
    else
        sum_chunk_of<T, false>(work, item, places, first, w, factor, lanes, sums, lane);
}

// the sum of the weights of one chunk of some samples of an item; one warp
template <typename T, typename Places>
__device__ __forceinline__ T weigh_chunk(const Work& work, long long item, Places places, long long first, int lane) {
    const long long stop = first + CHUNK < places.count ? first + CHUNK : places.count;
    const T* weights = weights_of<T>(work, item);
    const int* kept = kept_row_of(work, item);
    T sum = T(0);
    for (long long i = first + lane; i < stop; i += LANES) sum = sum + weights[place_of(kept, places.number(i))];
    return sum_of_lanes(sum, ALL_LANES, LANES);
}

// the sums of all chunks, (chunks, size), into row 0: neighbour with neighbour; the whole block
template <typename T>
__device__ __forceinline__ void add_pairwise(T* parts, long long chunks, long long size) {
    for (long long j = threadIdx.x; j < size; j += blockDim.x) {
        for (long long step = 1; step < chunks; step *= 2) {
            for (long long left = 0; left + step < chunks; left += 2 * step) {
                parts[left * size + j] = parts[left * size + j] + parts[(left + step) * size + j];
            }
        }
    }
}
