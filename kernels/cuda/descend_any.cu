// descend_any.cu: `descend` for any number of parameters. A group of lanes owns a fit; lane l has
// the rows l, l + group, … of G.
//
// The state lies in device memory (it is cached), the next state and what the lanes exchange in
// `scratch`. Sums over k and over j run in order: over k in the lane that has the row, over j in
// lane 0.
//
// Where there are no samples, no fit passes a limit: it goes on by its moments, and so do those that
// `descend` left at one.
#include "evaluate.cuh"
#include "rules.cuh"

// r and g of row j; of the loss, what does not depend on the rows before: for float32 data r_j −
// c_j, for float64 data its product with ŵ_j
__device__ __forceinline__ void evaluate_row(const Moments<float>& m, const double* w, long long j, double* gradient, double* high,
                                             double*) {
    const double c = m.target(j);
    double r = -c;
    for (long long k = 0; k < m.D; ++k) r = fused(m.gram(j, k), w[k], r);
    gradient[j] = m.factor * r;
    high[j] = r - c;
}

__device__ __forceinline__ void evaluate_row(const Moments<double>& m, const double* scaled, long long j, double* gradient, double* high,
                                             double* low) {
    const Pair c = m.target_pair(j), minus_c = {-c.hi, -c.lo};
    Pair r = minus_c;
    for (long long k = 0; k < m.D; ++k) r = add_product(r, m.gram_pair(j, k), scaled[k]);
    r = two_sum(r.hi, r.lo);
    const double p = r.hi * m.factor;
    double q = fused(r.hi, m.factor, -p);
    q = fused(r.lo, m.factor, q);
    q = fused(r.hi, m.low_factor, q);
    gradient[j] = scale(p + q, m.exponents[j] + m.exponent_y + m.exponent_g);
    const Pair term = dd_add(r, minus_c);
    high[j] = term.hi, low[j] = term.lo;
}

__device__ __forceinline__ double loss_of(const Moments<float>& m, const double* w, const double* high, const double*) {
    double loss = m.target(m.D);
    for (long long j = 0; j < m.D; ++j) loss = fused(w[j], high[j], loss);
    return m.mean(loss);
}

__device__ __forceinline__ double loss_of(const Moments<double>& m, const double* scaled, const double* high, const double* low) {
    Pair loss = m.target_pair(m.D);
    for (long long j = 0; j < m.D; ++j) loss = add_product(loss, {high[j], low[j]}, scaled[j]);
    return scale(m.mean(loss.hi + loss.lo), 2 * m.exponent_y);
}

// descend_any: grid = ceil(m · group / 128), block = 128, group = a power of two up to 32.
// scratch (m, N_SLOTS + 5, D): next slots, next w, gradient, ŵ, and two of the loss
template <typename T, template <typename> class Rule>
__global__ void __launch_bounds__(128, 1)
    descend_any(const __grid_constant__ Work work, long long first_epoch, long long stop_epoch, int group) {
    typedef Rule<double> Update;
    constexpr int N_SLOTS = Update::N_SLOTS, N_PRODUCTS = Update::N_PRODUCTS;
    const unsigned mask = mask_of_group(group);
    const int lane = threadIdx.x & (group - 1);
    const long long fit = (blockIdx.x * 128LL + threadIdx.x) / group, D = work.n_parameters;
    const bool has_samples = work.X;
    if (fit >= work.n_fits) return;  // the whole group
    if (work.phase[fit] == FINISHED || (has_samples && work.phase[fit] == ON_SAMPLES)) return;  // the rows of a finished fit are there
    Moments<T> moments;
    moments.read(work, listed(work.item, fit));
    double* w = work.w + fit * D;
    double* slots = work.slots + fit * N_SLOTS * D;
    double* next_slots = work.scratch + fit * (N_SLOTS + 5) * D;
    double* next_w = next_slots + N_SLOTS * D;
    double *gradient = next_w + D, *scaled = gradient + D, *high = scaled + D, *low = high + D;
    T* history_w = static_cast<T*>(work.history_w) + fit * work.n_rows * D;
    T* history_loss = static_cast<T*>(work.history_loss) + fit * work.n_rows;
    double products[N_PRODUCTS + 1], next_products[N_PRODUCTS + 1];
#pragma unroll
    for (int p = 0; p < N_PRODUCTS; ++p) products[p] = work.products[fit * N_PRODUCTS + p];
    Update rule;
    rule.read(work.hyper + fit * work.n_hyper);
    const double target = target_of(work, fit);
    const double limit = Format<T>::OMEGA;
    const long long first_step = work.steps[fit], last = work.status[fit] == CONVERGED ? 0 : work.epochs;
    const long long begin = first_epoch < work.epoch[fit] ? work.epoch[fit] : first_epoch;
    long long first_bad = work.first_bad[fit];
    int nan_epochs = work.nan_epochs[fit];
    RowClock clock(work, begin);
    __syncwarp(mask);  // all have read where the fit stands
    for (long long t = begin; t < stop_epoch; ++t) {
        bool stays = moments.usable;
        for (long long j = lane; j < D; j += group) {
            stays = stays && size_of(w[j]) <= moments.w_limit;
            if (moments.DOUBLED) scaled[j] = scale(w[j], moments.exponents[j] - moments.exponent_y);
        }
        __syncwarp(mask);
        const double* factors = moments.DOUBLED ? scaled : w;
        for (long long j = lane; j < D; j += group) evaluate_row(moments, factors, j, gradient, high, low);
        __syncwarp(mask);
        double exact_loss = lane == 0 ? loss_of(moments, factors, high, low) : 0.0;
        exact_loss = __shfl_sync(mask, exact_loss, 0, group);
        stays = !has_samples || (__all_sync(mask, stays) && exact_loss <= moments.loss_limit);
        bool good = true;
        if (stays) {
            const T loss = T(exact_loss);
            if (!has_samples) {
                bool finite = is_finite(double(loss)), is_nan = true;
#pragma unroll 1
                for (long long j = lane; j < D; j += group) {
                    finite = finite && is_finite(double(T(w[j])));
                    is_nan = is_nan && w[j] != w[j];
                }
                if (!__all_sync(mask, finite) && first_bad < 0) first_bad = t;
                nan_epochs = __all_sync(mask, is_nan) ? nan_epochs + 1 : 0;
            }
            const bool converged = t >= 1 && first_bad < 0 && meets(target, work, fit, exact_loss, w, D);
            const bool ends = converged || t == last || nan_epochs >= 2;
            const bool has_row = clock.strikes(t);
            if (has_row || (ends && work.every > 0)) {
                const long long row = rows_before(work, t);  // a fit that ends fills the rows that follow
                const long long stop = ends ? work.n_rows : row + 1;
                for (long long k = lane; k < (stop - row) * D; k += group) history_w[row * D + k] = T(w[k % D]);
                for (long long k = row + lane; k < stop; k += group) history_loss[k] = loss;
            }
            if (lane == 0 && (ends || t + 1 == stop_epoch)) static_cast<T*>(work.loss)[fit] = loss;
            if (ends) {
                for (long long j = lane; j < D; j += group) static_cast<T*>(work.w_out)[fit * D + j] = T(w[j]);
                if (lane == 0) {
                    write_excess<T>(work, fit, exact_loss, w, D);
                    write_outcome(work, fit, converged, t, first_bad);
#pragma unroll
                    for (int p = 0; p < N_PRODUCTS; ++p)
                        work.products[fit * N_PRODUCTS + p] = nan_epochs > 0 ? not_a_number() : products[p];
                }
                return;  // the whole group
            }
            enter_momentum(work, rule, work.n_rates > 1 ? t : 0, fit, first_step + t, products);
            rule.begin(work.lr[(work.n_rates > 1 ? t : 0) * work.n_fits + fit], first_step + t, products, next_products);
            for (long long j = lane; j < D; j += group) {
                double slot[N_SLOTS], new_slot[N_SLOTS];
#pragma unroll
                for (int s = 0; s < N_SLOTS; ++s) slot[s] = slots[s * D + j];
                good = rule.step(w[j], slot, gradient[j], j < work.n_decayed, limit, next_w[j], new_slot) && good;
#pragma unroll
                for (int s = 0; s < N_SLOTS; ++s) next_slots[s * D + j] = new_slot[s];
            }
            good = !has_samples || __all_sync(mask, good);
            if (!good && lane == 0) static_cast<T*>(work.loss)[fit] = loss;
        }
        const bool hands_over = !stays || !good;  // `stream` goes on: with the row of this epoch, or with its update
        for (long long j = lane; j < D; j += group) {
            w[j] = hands_over ? double(T(w[j])) : next_w[j];
            for (int s = 0; s < N_SLOTS; ++s) slots[s * D + j] = hands_over ? double(T(slots[s * D + j])) : next_slots[s * D + j];
        }
        __syncwarp(mask);
        if (hands_over) {
            if (lane == 0) {
                atomicOr(work.handed_over, 1);
                work.phase[fit] = ON_SAMPLES, work.algorithm[fit] = STREAM;
                work.epoch[fit] = t, work.row_is_done[fit] = stays;
            }
            break;
        }
#pragma unroll
        for (int p = 0; p < N_PRODUCTS; ++p) products[p] = next_products[p];
    }
    if (lane != 0) return;
#pragma unroll
    for (int p = 0; p < N_PRODUCTS; ++p) work.products[fit * N_PRODUCTS + p] = products[p];
    if (!has_samples) work.first_bad[fit] = first_bad, work.nan_epochs[fit] = (signed char)(nan_epochs);
}
