// least.cu: the least value F* of what a fit descends on, from its moments: LDLᵀ without exchanges;
// and how far above it the fit begins (docs/arithmetic.md, section 10).
//
// 1. A thread owns one fit after another. The matrix lies in `elimination`: entry after entry, and
//    of each those of all threads side by side; of float64 data first the hi, then the lo parts.
// 2. Where a column may or may not be a combination of those before it, F* is not to be had like
//    this: the fit is marked as doubtful, and the host finds F*. So are fits of more parameters, and
//    those that begin on the samples.
#include "evaluate.cuh"

// total − a · b
__device__ __forceinline__ double less_product(double total, double a, double b) { return fused(-a, b, total); }
__device__ __forceinline__ Pair less_product(Pair total, Pair a, Pair b) {
    const double p = a.hi * b.hi;
    double q = fused(a.hi, b.hi, -p);
    q = fused(a.lo, b.hi, q);
    q = fused(a.hi, b.lo, q);
    const Pair s = two_sum(total.hi, -p);
    return two_sum(s.hi, total.lo + (s.lo - q));
}

__device__ __forceinline__ double product_of(double a, double b) { return a * b; }
__device__ __forceinline__ Pair product_of(Pair a, Pair b) {
    const double p = a.hi * b.hi;
    double e = fused(a.hi, b.hi, -p);
    e = fused(a.lo, b.hi, e);
    e = fused(a.hi, b.lo, e);
    return fast_two_sum(p, e);
}

__device__ __forceinline__ double inverse_of(double t) { return 1.0 / t; }
__device__ __forceinline__ Pair inverse_of(Pair t) {
    const double q = 1.0 / t.hi;
    double e = fused(-q, t.hi, 1.0);
    e = fused(-q, t.lo, e);
    return fast_two_sum(q, q * e);
}

__device__ __forceinline__ double high(double v) { return v; }
__device__ __forceinline__ double high(Pair v) { return v.hi; }
__device__ __forceinline__ double whole(double v) { return v; }
__device__ __forceinline__ double whole(Pair v) { return v.hi + v.lo; }

// The matrix of the fit that a thread has at hand.
template <typename T>
struct Matrix {
    typedef typename Format<T>::Sum Sum;
    static constexpr long long MOST = 32;  // parameters; part of the specification
    double* first;  // the thread's place in entry 0
    long long threads, E;

    static __device__ __forceinline__ long long entry(long long i, long long j) { return j * (j + 1) / 2 + i; }
    __device__ __forceinline__ void load(long long at, double& to) const { to = first[at * threads]; }
    __device__ __forceinline__ void load(long long at, Pair& to) const { to = {first[at * threads], first[(E + at) * threads]}; }
    __device__ __forceinline__ Sum get(long long i, long long j) const {
        Sum value;
        load(entry(i, j), value);
        return value;
    }
    __device__ __forceinline__ double get_high(long long i, long long j) const { return first[entry(i, j) * threads]; }
    __device__ __forceinline__ void put_high(long long i, long long j, double value) const { first[entry(i, j) * threads] = value; }
    __device__ __forceinline__ void put(long long i, long long j, double value) const { put_high(i, j, value); }
    __device__ __forceinline__ void put(long long i, long long j, Pair value) const {
        put_high(i, j, value.hi), first[(E + entry(i, j)) * threads] = value.lo;
    }
};

// What coupled weight decay adds to the diagonal, λ.
template <typename T>
struct Decay {
    double half, hi, lo;
    long long shift, count;  // count: of parameters that it acts on

    __device__ __forceinline__ Decay(const Work& work, long long item, double half)
        : half(half), hi(half), lo(0.0), shift(0), count(work.n_decayed) {
        const double W = work.weight_sum[2 * item], W_low = work.weight_sum[2 * item + 1];
        if (work.sums) {
            shift = -work.weight_exponent[item];
        } else {
            hi = half * W, lo = fused(half, W_low, fused(half, W, -hi));
        }
    }
    __device__ __forceinline__ double diagonal(const Moments<float>& m, long long j) const {
        const double entry = m.gram(j, j);
        return entry != 0.0 && hi != 0.0 && j < count ? entry + hi : entry;
    }
    __device__ __forceinline__ Pair diagonal(const Moments<double>& m, long long j) const {
        const Pair entry = m.gram_pair(j, j);
        const long long e = shift - 2 * m.exponents[j];
        return entry.hi != 0.0 && half != 0.0 && j < count ? dd_add(entry, {scale(hi, e), scale(lo, e)}) : entry;
    }
};

// eliminates column after column; false where one is doubtful
template <typename T>
__device__ __forceinline__ bool eliminate(const Matrix<T>& E, const Moments<T>& moments, const Decay<T>& decay) {
    constexpr double REGULAR = Format<T>::PLANES == 1 ? 0x1p-40 : 0x1p-90, ALIASED = Format<T>::PLANES == 1 ? 0x1p-48 : 0x1p-98;
    const long long D = moments.D;
    for (long long k = 0; k < D; ++k) {
        const typename Format<T>::Sum t = E.get(k, k);
        const double a = high(decay.diagonal(moments, k));
        const bool regular = a != 0.0 && high(t) > REGULAR * a;
        if (!regular && !(moments.gram(k, k) == 0.0 || high(t) <= ALIASED * a)) return false;
        typename Format<T>::Sum r = {};
        if (regular) r = inverse_of(t);
        for (long long j = D; j > k; --j) {  // the last one first: the columns before it still need E_ki
            const typename Format<T>::Sum l = product_of(E.get(k, j), r);
            for (long long i = k + 1; i <= j; ++i) E.put(i, j, less_product(E.get(i, j), l, E.get(k, i)));
            E.put(k, j, l);
        }
    }
    return true;
}

// fills e₀ of a fit of which it is not known, if its first row is made from the moments
template <typename T>
__device__ __forceinline__ void find_initial_excess(const Work& work, long long fit, const Moments<T>& moments) {
    const double known = work.initial_excess[fit], *w = work.w + fit * moments.D;
    if (known == known) return;
    const double loss = loss_at(moments, w);
    if (!work.X || moments.allow(w, moments.D, loss)) work.initial_excess[fit] = objective(work, fit, loss, w, moments.D) - work.least[fit];
}

// fills least, allowance and e₀ of a fit; false where it is doubtful
template <typename T>
__device__ __forceinline__ bool find_least(const Work& work, long long fit, long long item, const Matrix<T>& E, double half) {
    constexpr double ROUNDING = Format<T>::PLANES == 1 ? 0x1p-51 : 0x1p-100;
    Moments<T> moments;
    moments.read(work, item);
    const long long D = moments.D;
    const Decay<T> decay(work, item, half);
    for (long long e = 0; e < E.E * Format<T>::PLANES; ++e) E.first[e * E.threads] = moments.record[e];
    for (long long j = 0; j < D; ++j) E.put(j, j, decay.diagonal(moments, j));
    if (!eliminate(E, moments, decay)) return false;
    const double yy = moments.target(D), left = whole(E.get(D, D));
    const double least = scale((left < 0.0 ? 0.0 : left) / moments.W, 2 * moments.exponent_y);
    work.least[fit] = Format<T>::PLANES == 2 && yy == 0.0 ? 0.0 : least;
    find_initial_excess(work, fit, moments);
    if (work.tol < 0.0) return true;
    for (long long k = D - 1; k >= 0; --k) {  // w* takes the place of the last column
        double w = E.get_high(k, D);
        for (long long j = k + 1; j < D; ++j) w = fused(-E.get_high(k, j), E.get_high(j, D), w);
        E.put_high(k, D, w);
    }
    double terms = yy;  // Q
    for (long long j = 0; j < D; ++j) {
        const double w = E.get_high(j, D);
        terms = fused(w * w, high(decay.diagonal(moments, j)), terms);
    }
    const double slack = scale((double((D + 1) * (D + 1)) * ROUNDING * terms) / moments.W, 2 * moments.exponent_y);
    work.allowance[fit] = fused(0x1p-52, work.least[fit], slack);
    return true;
}

// least_values: fills penalty of all fits, least, e₀ and, with a tol, allowance of those whose moments
// tell them, and doubtful. grid = ceil(threads / 128), block = 128; threads: how many have a place in
// `elimination`
// which hyperparameters are decay: weight_decay; decoupled: the switch that says that it is no part of
// the objective; maximize: the one that says that there is no least value; −1: there is none
template <typename T>
__global__ void __launch_bounds__(128, 1)
    least_values(const __grid_constant__ Work work, long long threads, long long decay, long long decoupled, long long maximize) {
    const long long thread = blockIdx.x * 128LL + threadIdx.x, D = work.n_parameters;
    if (thread >= threads) return;
    const Matrix<T> E = {work.elimination + thread, threads, (D + 1) * (D + 2) / 2};
    for (long long fit = thread; fit < work.n_fits; fit += threads) {
        const long long item = listed(work.item, fit);
        const double* hyper = work.hyper + fit * work.n_hyper;
        const double half = decay < 0 || (decoupled >= 0 && hyper[decoupled] != 0.0) ? 0.0 : 0.5 * hyper[decay];
        if (work.penalty) work.penalty[fit] = work.sums ? half / scale(work.weight_sum[2 * item], work.weight_exponent[item]) : half;
        work.least[fit] = not_a_number();
        const signed char phase = work.phase[fit];
        const bool told = phase == FINISHED || (maximize >= 0 && hyper[maximize] != 0.0) ||
                          (phase == ON_MOMENTS && D <= Matrix<T>::MOST && find_least(work, fit, item, E, half));
        work.doubtful[fit] = !told;
        if (!told) atomicOr(work.some_are_doubtful, 1);
    }
}

// initial_excesses: e₀ of the fits on moments that were doubtful; `stream` finds that of the others. A
// thread owns a fit. grid = ceil(m / 128), block = 128
template <typename T>
__global__ void __launch_bounds__(128, 1) initial_excesses(const __grid_constant__ Work work) {
    const long long fit = blockIdx.x * 128LL + threadIdx.x;
    if (fit >= work.n_fits || work.phase[fit] != ON_MOMENTS || !work.doubtful[fit]) return;
    Moments<T> moments;
    moments.read(work, listed(work.item, fit));
    find_initial_excess(work, fit, moments);
}
