// stream.cu: epochs of a fit from its samples, all in T (docs/arithmetic.md, sections 7, 8 and 10).
//
//     r_i = x_i · w − y_i      loss = Σ ω_i r_i² / W      gradient_j = Σ x_ij (s ω_i r_i)
//     w, slots ← rule(w, slots, gradient)
//
// 1. A block owns a fit, its warps take the chunks in turn; residual, loss and gradient come from
//    one pass over the rows. The sums of a lane lie in `lanes`, in the order of parameters; the
//    sums of a chunk in `parts`, added pairwise as `join` does.
// 2. A fit goes on from its own epoch for a limited number of epochs per launch. Where its moments made
//    the row of that epoch, only the update comes from the samples. When two epochs in a row began
//    with every w NaN, all that follows is NaN and is not computed.
#include "rules.cuh"
#include "samples.cuh"

// stream: grid = fits at hand, block = 32 · warps, warps ≤ 8
template <typename T, template <typename> class Rule>
__global__ void __launch_bounds__(256, 1) stream(const __grid_constant__ Work work, long long most_epochs) {
    typedef Rule<T> Update;
    constexpr int N_SLOTS = Update::N_SLOTS, N_PRODUCTS = Update::N_PRODUCTS;
    const long long fit = work.at_hand[blockIdx.x], item = listed(work.item, fit), D = work.n_parameters;
    const int lane = threadIdx.x % LANES, warp = threadIdx.x / LANES, n_warps = blockDim.x / LANES;
    const long long chunks = (used_of(work, item) + CHUNK - 1) / CHUNK;
    T* lanes = static_cast<T*>(work.lanes) + (blockIdx.x * (long long)n_warps + warp) * D * LANES;
    T* parts = static_cast<T*>(work.parts) + blockIdx.x * work.n_chunks * (D + 1);
    double* w = work.w + fit * D;  // numbers of T
    double* slots = work.slots + fit * N_SLOTS * D;
    T* history_w = static_cast<T*>(work.history_w) + fit * work.n_rows * D;
    T* history_loss = static_cast<T*>(work.history_loss) + fit * work.n_rows;
    const T total = T(work.weight_total[item]), factor = work.sums ? T(2) : T(2) / total;
    double products[N_PRODUCTS + 1], next_products[N_PRODUCTS + 1];
#pragma unroll
    for (int p = 0; p < N_PRODUCTS; ++p) products[p] = work.products[fit * N_PRODUCTS + p];
    Update rule;
    rule.read(work.hyper + fit * work.n_hyper);
    T loss = static_cast<T*>(work.loss)[fit];  // read where the row of this epoch is done
    double initial_excess = work.least ? work.initial_excess[fit] : 0.0, target = target_of(work, fit);
    long long t = work.epoch[fit], first_bad = work.first_bad[fit], nan_epochs = work.nan_epochs[fit];
    const long long first_step = work.steps[fit], last = work.status[fit] == CONVERGED ? 0 : work.epochs;
    bool row_is_done = work.row_is_done[fit], ends = false, converged = false;
    RowClock clock(work, t);
    __syncthreads();  // all have read where the fit stands
    for (long long count = 0; count < most_epochs; ++count) {
        for (long long chunk = warp; chunk < chunks; chunk += n_warps) {
            T* sums = parts + chunk * (D + 1);
            sum_chunk(work, item, All{used_of(work, item)}, chunk * CHUNK, w, factor, lanes, sums, lane);
        }
        bool all_finite = true, all_nan = true;
        for (long long j = threadIdx.x; j < D; j += blockDim.x) {
            all_finite = all_finite && is_finite(w[j]);
            all_nan = all_nan && w[j] != w[j];
        }
        all_finite = __syncthreads_and(all_finite);
        all_nan = __syncthreads_and(all_nan);
        add_pairwise(parts, chunks, D + 1);
        __syncthreads();
        if (!row_is_done) loss = parts[D] / total;
        if (first_bad < 0 && !(is_finite(double(loss)) && all_finite)) first_bad = t;
        nan_epochs = all_nan ? nan_epochs + 1 : 0;
        if (t == 0 && initial_excess != initial_excess) {
            initial_excess = objective(work, fit, double(loss), w, D) - work.least[fit];
            target = target_of(work, fit, initial_excess);
        }
        converged = t >= 1 && first_bad < 0 && !row_is_done && meets(target, work, fit, double(loss), w, D);
        ends = converged || t == last || nan_epochs >= 2;
        const bool has_row = clock.strikes(t);
        if (work.every > 0 && ((has_row && !row_is_done) || ends)) {
            const long long row = rows_before(work, t);  // a fit that ends fills the rows that follow
            const long long stop = ends ? work.n_rows : row + 1;
            for (long long k = threadIdx.x; k < (stop - row) * D; k += blockDim.x) history_w[row * D + k] = T(w[k % D]);
            for (long long k = row + threadIdx.x; k < stop; k += blockDim.x) history_loss[k] = loss;
        }
        if (ends) break;
        enter_momentum(work, rule, work.n_rates > 1 ? t : 0, fit, first_step + t, products);
        rule.begin(work.lr[(work.n_rates > 1 ? t : 0) * work.n_fits + fit], first_step + t, products, next_products);
        __syncthreads();  // the history has been written from w
        for (long long j = threadIdx.x; j < D; j += blockDim.x) {
            T slot[N_SLOTS], new_slot[N_SLOTS], new_w;
#pragma unroll
            for (int s = 0; s < N_SLOTS; ++s) slot[s] = T(slots[s * D + j]);
            rule.step(T(w[j]), slot, parts[j], j < work.n_decayed, T(infinity()), new_w, new_slot);
            w[j] = double(new_w);
#pragma unroll
            for (int s = 0; s < N_SLOTS; ++s) slots[s * D + j] = double(new_slot[s]);
        }
#pragma unroll
        for (int p = 0; p < N_PRODUCTS; ++p) products[p] = next_products[p];
        row_is_done = false;
        ++t;
        __syncthreads();  // the new w stands, and `parts` has been read
    }
    if (ends) {
        for (long long j = threadIdx.x; j < D; j += blockDim.x) static_cast<T*>(work.w_out)[fit * D + j] = T(w[j]);
    }
    if (threadIdx.x != 0) return;
#pragma unroll
    for (int p = 0; p < N_PRODUCTS; ++p) {  // the products of epochs that were not computed are not known; nor do they matter
        work.products[fit * N_PRODUCTS + p] = ends && nan_epochs > 0 ? not_a_number() : products[p];
    }
    static_cast<T*>(work.loss)[fit] = loss;
    work.epoch[fit] = t, work.row_is_done[fit] = row_is_done;
    work.nan_epochs[fit] = (signed char)(nan_epochs);
    work.first_bad[fit] = first_bad;
    if (work.least) work.initial_excess[fit] = initial_excess;
    if (ends) write_excess<T>(work, fit, double(loss), w, D);
    if (ends) write_outcome(work, fit, converged, t, first_bad);
}
