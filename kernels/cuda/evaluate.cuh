// evaluate.cuh: what `descend` and `descend_any` take from the moments of an item
// (docs/arithmetic.md, section 6).
#pragma once
#include "arithmetic.cuh"
#include "work.cuh"

// The moments of one item: where they lie, and the numbers that do not change from epoch to epoch.
template <typename T>
struct Moments {
    static constexpr bool DOUBLED = Format<T>::PLANES == 2;
    const double* record;        // (planes, E)
    const long long* exponents;  // (Z,)
    long long D, E, exponent_y, exponent_g;  // exponent_g: κ
    double W, reciprocal, factor, low_factor;  // 1/W, s, s′
    double w_limit, loss_limit;
    bool usable;  // not: `stream` does everything

    __device__ __forceinline__ double gram(long long i, long long j) const {  // hi
        return i <= j ? record[j * (j + 1) / 2 + i] : record[i * (i + 1) / 2 + j];
    }
    __device__ __forceinline__ Pair gram_pair(long long i, long long j) const {
        const long long entry = i <= j ? j * (j + 1) / 2 + i : i * (i + 1) / 2 + j;
        return {record[entry], record[E + entry]};
    }
    __device__ __forceinline__ double target(long long j) const { return record[D * (D + 1) / 2 + j]; }
    __device__ __forceinline__ Pair target_pair(long long j) const { return {target(j), record[E + D * (D + 1) / 2 + j]}; }

    __device__ __forceinline__ void read(const Work& work, long long item) {
        D = work.n_parameters;
        const long long Z = D + 1;
        E = Z * (Z + 1) / 2;
        record = work.moments + item * work.n_chunks * (Format<T>::PLANES * E);
        exponents = work.exponents + item * work.n_chunks * Z;
        exponent_y = DOUBLED && target(D) != 0.0 ? exponents[D] : 0;  // y = 0 has no scale of its own
        const long long exponent_weights = work.weight_exponent[item];
        exponent_g = work.sums ? exponent_weights : 0;
        W = work.weight_sum[2 * item], reciprocal = 1.0 / W;
        factor = work.sums ? 2.0 : 2.0 / W;
        low_factor = work.sums ? 0.0 : fused(-factor, work.weight_sum[2 * item + 1], fused(-factor, W, 2.0)) / W;
        double most = 0.0;  // M
        for (long long j = 0; j < D; ++j)
            most = larger(most, scale(root(scale(gram(j, j), exponent_weights)), exponent_at<T>(exponents, j)));
        const double omega = Format<T>::OMEGA, low = work.weight_least[item] < 1.0 ? work.weight_least[item] : 1.0;
        const double sum = scale(W, exponent_weights);
        const double spread = (double(D) * most) / root(low), ratio = (omega * low) / (2.0 * most), level = omega * low;
        w_limit = omega / larger(1.0, spread);
        loss_limit = (level < ratio * ratio ? level : ratio * ratio) / sum;
        usable = sum <= omega;
    }
    // whether the row of an epoch with this w and loss is made from the moments
    __device__ __forceinline__ bool allow(const double* w, long long size, double loss) const {
        bool within = usable && loss <= loss_limit;
#pragma unroll
        for (long long j = 0; j < size; ++j) within = within && size_of(w[j]) <= w_limit;
        return within;
    }
    __device__ __forceinline__ double mean(double L) const { return (L < 0.0 ? 0.0 : L) / W; }
    // mean(L) of float32 data, without a division. The loss is rounded to float32, so that it does
    // not matter how one below 2^−900 is rounded here, nor does it beside what F is compared with;
    // an L that is not finite passes no limit, and neither does a NaN.
    __device__ __forceinline__ double quick_mean(double L) const { return quotient(L < 0.0 ? 0.0 : L, W, reciprocal); }
};

// the loss at w, any number of parameters; one thread
__device__ __forceinline__ double loss_at(const Moments<float>& m, const double* w) {
    double loss = m.target(m.D);
    for (long long j = 0; j < m.D; ++j) {
        const double c = m.target(j);
        double r = -c;
        for (long long k = 0; k < m.D; ++k) r = fused(m.gram(j, k), w[k], r);
        loss = fused(w[j], r - c, loss);
    }
    return m.mean(loss);
}

__device__ __forceinline__ double loss_at(const Moments<double>& m, const double* w) {
    Pair loss = m.target_pair(m.D);
    for (long long j = 0; j < m.D; ++j) {
        const Pair c = m.target_pair(j), minus_c = {-c.hi, -c.lo};
        Pair r = minus_c;
        for (long long k = 0; k < m.D; ++k) r = add_product(r, m.gram_pair(j, k), scale(w[k], m.exponents[k] - m.exponent_y));
        loss = add_product(loss, dd_add(two_sum(r.hi, r.lo), minus_c), scale(w[j], m.exponents[j] - m.exponent_y));
    }
    return scale(m.mean(loss.hi + loss.lo), 2 * m.exponent_y);
}
