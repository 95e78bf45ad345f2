// units.cu: the start of standardised fits in the units of their scaled features, and results in the
// caller's (docs/arithmetic.md, section 12).
#include "arithmetic.cuh"
#include "work.cuh"

// enter_standard: center and scale of the fits are those of their items; where `converts`, a start
// in the caller's units becomes one of the scaled features. A thread owns a fit.
// grid = ceil(m / 128), block = 128
template <typename T>
__global__ void __launch_bounds__(128) enter_standard(const __grid_constant__ Work work, int converts) {
    const long long fit = blockIdx.x * 128LL + threadIdx.x;
    if (fit >= work.n_fits) return;
    const long long item = listed(work.item, fit), d = work.n_features, D = work.n_parameters;
    double* w = work.w + fit * D;
    for (long long j = 0; j < d; ++j) {
        const double m = work.item_center[item * d + j], s = work.item_scale[item * d + j];
        work.center[fit * d + j] = m, work.scale[fit * d + j] = s;
        if (!converts) continue;
        if (work.intercept) w[d] = w[d] + w[j] * m;
        w[j] = w[j] * s;
    }
    if (!converts || work.phase[fit] != ON_SAMPLES) return;
    for (long long j = 0; j < D; ++j) w[j] = double(T(w[j]));  // `stream` has numbers of T
}

// leave_standard: results in the caller's units, from w of the scaled features, in place. A fit of
// which w is not finite in these units has diverged. A thread owns a row: of the history, or, the
// last of a fit, w.
// grid = ceil(m · (n_rows + 1) / 128), block = 128
template <typename T>
__global__ void __launch_bounds__(128) leave_standard(const __grid_constant__ Work work) {
    const long long number = blockIdx.x * 128LL + threadIdx.x, fit = number / (work.n_rows + 1), row = number % (work.n_rows + 1);
    if (fit >= work.n_fits || work.status[fit] == TOO_FEW_SAMPLES) return;
    const long long item = listed(work.item, fit), d = work.n_features, D = work.n_parameters;
    const bool is_result = row == work.n_rows;
    T* w = is_result ? static_cast<T*>(work.w_out) + fit * D : static_cast<T*>(work.history_w) + (fit * work.n_rows + row) * D;
    double b = work.intercept ? double(w[d]) : 0.0;
    bool finite = true;
    for (long long j = 0; j < d; ++j) {
        const double own = double(w[j]) / work.item_scale[item * d + j];
        b = b - own * work.item_center[item * d + j];
        w[j] = T(own);
        finite = finite && is_finite(double(w[j]));
    }
    if (work.intercept) {
        w[d] = T(b);
        finite = finite && is_finite(double(w[d]));
    }
    const signed char status = work.status[fit];
    if (is_result && !finite && (status == COMPLETED || status == CONVERGED)) work.status[fit] = DIVERGED;
}
