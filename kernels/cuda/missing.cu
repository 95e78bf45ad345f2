// missing.cu: which samples of an item are kept, and whether its data are finite
// (docs/arithmetic.md, section 2).
//
// 1. A sample of weight 0 is left out; with `omit` also one with a weight that is not finite; where
//    `check_finite` says so also one with an X or y that is not. The places of the kept samples are
//    written in order.
// 2. First they are counted, span by span; the counts say where a span begins in the list. A span
//    has 4,096 samples.
#include "arithmetic.cuh"
#include "work.cuh"

// find_kept: a warp owns a span of a chosen item. write = 0: fills `counts` and `faults`; else
// fills `kept` by the counts.
// grid = ceil(n_chosen · n_spans / 4), block = 128
template <typename T>
__global__ void __launch_bounds__(128) find_kept(const __grid_constant__ Work work, int omit, int write) {
    const int lane = threadIdx.x % LANES;
    const long long unit = blockIdx.x * 4LL + threadIdx.x / LANES, number = unit / work.n_spans, span = unit % work.n_spans;
    if (number >= work.n_chosen) return;  // the whole warp
    const long long item = listed(work.chosen, number), n = work.n_samples, d = work.n_features;
    const T *X = X_of<T>(work, item), *y = y_of<T>(work, item), *weights = weights_of<T>(work, item);
    const bool checks = work.check_finite && work.check_finite[item];
    long long before = 0;  // kept samples in the spans before
    if (write) {
        for (long long k = lane; k < span; k += LANES) before += work.counts[number * work.n_spans + k];
        for (int distance = LANES / 2; distance > 0; distance >>= 1) before += __shfl_xor_sync(ALL_LANES, before, distance);
    }
    int* row = write ? work.kept + work.item_kept[item] * n : nullptr;
    bool negative = false, not_finite = false;
    long long count = 0;
    for (long long begin = span * CHUNK; begin < n && begin < (span + 1) * CHUNK; begin += LANES) {
        const long long i = begin + lane;
        bool stays = i < n;
        if (stays && weights) {
            const double weight = double(weights[i]);
            const bool finite = is_finite(weight);
            negative = negative || (finite && weight < 0.0);
            not_finite = not_finite || !(finite || omit);
            stays = weight != 0.0 && (finite || !omit);
        }
        if (stays && checks) {
            stays = is_finite(double(y[i]));
            for (long long j = 0; stays && j < d; ++j) stays = is_finite(double(X[i * d + j]));
        }
        const unsigned staying = __ballot_sync(ALL_LANES, stays);
        if (write && stays) row[before + count + __popc(staying & ((1u << lane) - 1u))] = int(i);
        count += __popc(staying);
    }
    negative = __any_sync(ALL_LANES, negative), not_finite = __any_sync(ALL_LANES, not_finite);
    if (write || lane != 0) return;
    work.counts[unit] = int(count);
    work.faults[unit] = negative ? NEGATIVE : not_finite ? NOT_FINITE : FINE;
}

// find_invalid: whether the moments of an item are finite, and with them its data. A thread owns an
// item.
// grid = ceil(n_items / 128), block = 128
template <typename T>
__global__ void __launch_bounds__(128) find_invalid(const __grid_constant__ Work work) {
    const long long item = blockIdx.x * 128LL + threadIdx.x;
    if (item >= work.n_items) return;
    const long long Z = work.n_parameters + 1;
    const double* record = work.moments + item * work.n_chunks * (Format<T>::PLANES * (Z * (Z + 1) / 2));
    bool finite = true;
    for (long long j = 0; j < Z; ++j) finite = finite && is_finite(record[j * (j + 1) / 2 + j]);
    work.faults[item] = finite ? FINE : NOT_FINITE;
}
