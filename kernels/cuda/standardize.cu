// standardize.cu: the moments of the features (x − m) / s, on which standardised fits descend, from
// those of x (docs/arithmetic.md, section 12). They are made in place.
#include "arithmetic.cuh"
#include "work.cuh"

template <typename T>
struct Standard;  // limits of the section
template <>
struct Standard<float> {
    static constexpr double CONSTANT = 0x1p-46, HELD = 0x1p28, LARGEST = 0x1.fffffep127;
};
template <>
struct Standard<double> {
    static constexpr double CONSTANT = 0x1p-96, HELD = 0x1p50, LARGEST = 0x1.fffffffffffffp1023;
};

// total − v · m
__device__ __forceinline__ double less(double total, double v, double m) { return fused(-m, v, total); }
__device__ __forceinline__ Pair less(Pair total, Pair v, double m) {
    const double p = v.hi * m;
    double q = fused(v.hi, m, -p);
    q = fused(v.lo, m, q);
    const Pair s = two_sum(total.hi, -p);
    return two_sum(s.hi, total.lo + (s.lo - q));
}

__device__ __forceinline__ double over(double a, double b) { return a / b; }
__device__ __forceinline__ Pair over(Pair a, Pair b) {
    const double q = a.hi / b.hi, p = q * b.hi;
    double x = fused(q, b.hi, -p);
    x = fused(q, b.lo, x);
    return fast_two_sum(q, (((a.hi - p) - x) + a.lo) / b.hi);
}
__device__ __forceinline__ Pair over(Pair a, double b) { return over(a, Pair{b, 0.0}); }

__device__ __forceinline__ double high_of(double v) { return v; }
__device__ __forceinline__ double high_of(Pair v) { return v.hi; }

// The moments of one item, its m and its s. A column that is constant has −s until the end.
template <typename T>
struct Features {
    typedef typename Format<T>::Sum Sum;
    double *record, *center, *scales;
    long long* exponents;
    long long d, y, E;  // y: the column of the targets; before it, with an intercept, the ones: d
    bool intercept;

    static __device__ __forceinline__ long long entry(long long i, long long j) { return j * (j + 1) / 2 + i; }
    __device__ __forceinline__ void load(long long at, double& to) const { to = record[at]; }
    __device__ __forceinline__ void load(long long at, Pair& to) const { to = {record[at], record[E + at]}; }
    __device__ __forceinline__ Sum get(long long i, long long j) const {
        Sum value;
        load(entry(i, j), value);
        return value;
    }
    __device__ __forceinline__ void put(long long i, long long j, double value) const { record[entry(i, j)] = value; }
    __device__ __forceinline__ void put(long long i, long long j, Pair value) const {
        record[entry(i, j)] = value.hi, record[E + entry(i, j)] = value.lo;
    }
    __device__ __forceinline__ long long exponent(long long j) const { return exponent_at<T>(exponents, j); }
    __device__ __forceinline__ double middle(long long j) const { return scale(center[j], -exponent(j)); }
    __device__ __forceinline__ double unit(long long j) const { return scale(scales[j], -exponent(j)); }
    __device__ __forceinline__ bool is_constant(long long j) const { return scales[j] < 0.0; }
    __device__ __forceinline__ Sum shift(long long j) const { return less(get(j, d), get(d, d), middle(j)); }
    // moment (i, j) of the centred features
    __device__ __forceinline__ Sum centred(long long i, long long j) const {
        return intercept ? less(less(get(i, j), get(j, d), middle(i)), shift(i), middle(j)) : get(i, j);
    }
};

// standardize: fills center and scale of an item where they are NaN, changes its moments, and sets
// `faults` to CANCELLED where too much of them is lost. A group of lanes owns an item, a lane has
// columns.
// grid = ceil(n_items · group / 128), block = 128, group = a power of two up to 32
template <typename T>
__global__ void __launch_bounds__(128, 1) standardize(const __grid_constant__ Work work, int group) {
    const unsigned mask = mask_of_group(group);
    const int lane = threadIdx.x & (group - 1);
    const long long item = (blockIdx.x * 128LL + threadIdx.x) / group;
    if (item >= work.n_items) return;  // the whole group
    const long long d = work.n_features, D = work.n_parameters, Z = D + 1, E = Z * (Z + 1) / 2;
    Features<T> f = {work.moments + item * work.n_chunks * (Format<T>::PLANES * E),
                     work.item_center + item * d,
                     work.item_scale + item * d,
                     work.exponents + item * work.n_chunks * Z,
                     d,
                     D,
                     E,
                     work.intercept != 0};
    const double W = work.weight_sum[2 * item], least = work.weight_least[item];
    const long long exponent_weights = work.weight_exponent[item];
    const bool is_made = f.scales[0] != f.scales[0];
    bool finite = used_of(work, item) > 0;
    for (long long j = 0; j < d; ++j) finite = finite && is_finite(high_of(f.get(j, j)));
    __syncwarp(mask);  // all have read s
    for (long long j = lane; j < d && is_made; j += group) {
        double mean = 0.0;
        if (f.intercept) mean = double(T(scale(high_of(over(f.get(j, d), f.get(d, d))), f.exponent(j))));
        f.center[j] = finite ? mean : not_a_number();
    }
    __syncwarp(mask);
    bool good = true;
    for (long long j = lane; j < d; j += group) {
        const double before = high_of(f.get(j, j)), square = high_of(f.centred(j, j));
        const bool constant = finite && !(square > Standard<T>::CONSTANT * before);
        if (is_made) {
            double spread = before;
            if (f.intercept) {
                const double t = high_of(f.shift(j));
                spread = fused(-t, t / high_of(f.get(d, d)), square);
            }
            const double found = scale(root(spread / W), f.exponent(j));
            const double rounded = double(T(found > Standard<T>::LARGEST ? Standard<T>::LARGEST : found));
            f.scales[j] = !finite ? not_a_number() : constant || rounded == 0.0 ? 1.0 : rounded;
        }
        if (constant) {
            f.scales[j] = -f.scales[j];
        } else {
            const double most = scale(root(scale(square, exponent_weights)), f.exponent(j));
            good = good && Standard<T>::HELD * square >= before && most <= Format<T>::OMEGA * root(least < 1.0 ? least : 1.0);
        }
    }
    good = __all_sync(mask, good);
    for (long long j = lane; j < d; j += group) {
        for (long long i = 0; i <= j; ++i) {
            typename Format<T>::Sum value = {};
            if (!f.is_constant(i) && !f.is_constant(j)) value = over(over(f.centred(i, j), f.unit(i)), f.unit(j));
            f.put(i, j, value);
        }
    }
    __syncwarp(mask);  // all have read the sums of the columns and their exponents
    for (long long j = lane; j < d; j += group) {
        typename Format<T>::Sum of_ones = {}, of_target = {};
        if (!f.is_constant(j)) {
            if (f.intercept) of_ones = over(f.shift(j), f.unit(j));
            of_target = over(f.intercept ? less(f.get(j, f.y), f.get(d, f.y), f.middle(j)) : f.get(j, f.y), f.unit(j));
        }
        if (f.intercept) f.put(j, d, of_ones);
        f.put(j, f.y, of_target);
        f.scales[j] = size_of(f.scales[j]);
        if (Format<T>::PLANES == 2) f.exponents[j] = 0;
    }
    if (lane == 0) work.faults[item] = good ? FINE : CANCELLED;
}
