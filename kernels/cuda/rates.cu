// rates.cu: learning rates of fits that were given none (docs/arithmetic.md, section 5).
#include "arithmetic.cuh"
#include "work.cuh"

// safe_rates: lr = 1 / (s λ_max + weight_decay) of every fit, 0 where that is 1/0, and at most the
// largest number of T. A thread owns a fit.
// decay: which hyperparameter is weight_decay; −1: there is none. grid = ceil(m / 128), block = 128
template <typename T>
__global__ void __launch_bounds__(128) safe_rates(const __grid_constant__ Work work, long long decay) {
    const long long fit = blockIdx.x * 128LL + threadIdx.x;
    if (fit >= work.n_fits) return;
    const long long item = listed(work.item, fit);
    const double scale_of = work.sums ? scale(2.0, work.weight_exponent[item]) : 2.0 / work.weight_sum[2 * item];
    const double own = scale_of * work.eigenvalues[item];
    const double curvature = own + (decay < 0 ? 0.0 : work.hyper[fit * work.n_hyper + decay]);
    const double most = sizeof(T) == 4 ? 0x1.fffffep127 : 0x1.fffffffffffffp1023, rate = 1.0 / curvature;
    work.lr[fit] = curvature == 0.0 ? 0.0 : rate > most ? most : rate;  // a NaN stays
}
