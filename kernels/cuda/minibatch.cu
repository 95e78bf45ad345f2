// minibatch.cu: epochs of mini-batches, all in T (docs/arithmetic.md, section 13).
//
//     for each batch B of an epoch:   gradient_j = Σ_B x_ij (s ω_i r_i)     w, slots ← rule(w, slots, gradient)
//     a row for each epoch:           w, and the loss of all samples at w
//
// 1. A block owns a fit. The samples of a batch are chunks of their own, which the warps take in
//    turn, as in stream.cu. All fits of a launch have the samples in one order.
// 2. The loss of a row comes from the moments where the fit has them, and w and the loss are within
//    the limits; one thread makes it. Else it comes from all samples.
// 3. A launch runs the rows and epochs first … stop-1; epoch `epochs` is the last row alone. When two
//    rows in a row have every w NaN, all that follows is NaN and is not computed.
#include "evaluate.cuh"
#include "rules.cuh"
#include "samples.cuh"

// the sums of these samples, into row 0 of parts, and their W_T; the whole block
template <typename T, typename Places>
__device__ __forceinline__ T sum_samples(const Work& work, long long item, Places places, const double* w, bool mean, T* lanes, T* parts) {
    const int lane = threadIdx.x % LANES, warp = threadIdx.x / LANES, n_warps = blockDim.x / LANES;
    const long long chunks = (places.count + CHUNK - 1) / CHUNK, size = work.n_parameters + 1;
    T total = T(places.count);
    if (work.weights) {
        for (long long chunk = warp; chunk < chunks; chunk += n_warps) {
            const T sum = weigh_chunk<T>(work, item, places, chunk * CHUNK, lane);
            if (lane == 0) parts[chunk] = sum;
        }
        __syncthreads();
        add_pairwise(parts, chunks, 1);
        __syncthreads();
        total = parts[0];
        __syncthreads();  // all have read it
    }
    const T factor = mean ? T(2) / total : T(2);
    for (long long chunk = warp; chunk < chunks; chunk += n_warps)
        sum_chunk(work, item, places, chunk * CHUNK, w, factor, lanes, parts + chunk * size, lane);
    __syncthreads();
    add_pairwise(parts, chunks, size);
    __syncthreads();
    return total;
}

// minibatch: grid = fits at hand, block = 32 · warps, warps ≤ 8. n_parts: chunks that `parts` has
// room for, of each fit
template <typename T, template <typename> class Rule>
__global__ void __launch_bounds__(256, 1) minibatch(const __grid_constant__ Work work, long long first, long long stop, long long n_parts) {
    typedef Rule<T> Update;
    constexpr int N_SLOTS = Update::N_SLOTS, N_PRODUCTS = Update::N_PRODUCTS;
    const long long fit = work.at_hand[blockIdx.x], item = listed(work.item, fit), D = work.n_parameters, used = used_of(work, item);
    const int warp = threadIdx.x / LANES, n_warps = blockDim.x / LANES;
    const long long n_steps = work.drop_last ? used / work.size_of_batch : (used + work.size_of_batch - 1) / work.size_of_batch;
    T* lanes = static_cast<T*>(work.lanes) + (blockIdx.x * (long long)n_warps + warp) * D * LANES;
    T* parts = static_cast<T*>(work.parts) + blockIdx.x * n_parts * (D + 1);
    double* w = work.w + fit * D;  // numbers of T
    double* slots = work.slots + fit * N_SLOTS * D;
    T* history_w = static_cast<T*>(work.history_w) + fit * work.n_rows * D;
    T* history_loss = static_cast<T*>(work.history_loss) + fit * work.n_rows;
    T* batch_loss = static_cast<T*>(work.batch_loss) + fit * work.n_batch_losses;
    SHARED_MEMORY(double, loss_of_moments);
    double products[N_PRODUCTS + 1], next_products[N_PRODUCTS + 1];
#pragma unroll
    for (int p = 0; p < N_PRODUCTS; ++p) products[p] = work.products[fit * N_PRODUCTS + p];
    Update rule;
    rule.read(work.hyper + fit * work.n_hyper);
    double initial_excess = work.least ? work.initial_excess[fit] : 0.0, target = target_of(work, fit);
    long long first_bad = work.first_bad[fit], nan_rows = work.nan_epochs[fit];
    const long long first_step = work.steps[fit], last = work.status[fit] == CONVERGED ? 0 : work.epochs;
    const bool on_moments = work.algorithm[fit] != STREAM;
    bool ends = false, converged = false;
    long long t = first;
    double exact_loss = 0.0;
    if (first == 0)  // a scaled start is not rounded yet
        for (long long j = threadIdx.x; j < D; j += blockDim.x) w[j] = double(T(w[j]));
    __syncthreads();  // all have read where the fit stands
    for (; t < stop; ++t) {
        if (threadIdx.x == 0) {
            loss_of_moments = not_a_number();
            if (on_moments) {
                Moments<T> moments;
                moments.read(work, item);
                const double loss = loss_at(moments, w);
                if (moments.allow(w, D, loss)) loss_of_moments = loss;
            }
        }
        __syncthreads();
        exact_loss = loss_of_moments;
        if (exact_loss != exact_loss) {
            const T total = sum_samples<T>(work, item, All{used}, w, true, lanes, parts);
            exact_loss = double(parts[D] / total);
        }
        bool all_finite = true, all_nan = true;
        for (long long j = threadIdx.x; j < D; j += blockDim.x) {
            all_finite = all_finite && is_finite(w[j]);
            all_nan = all_nan && w[j] != w[j];
        }
        all_finite = __syncthreads_and(all_finite);
        all_nan = __syncthreads_and(all_nan);
        if (first_bad < 0 && !(is_finite(double(T(exact_loss))) && all_finite)) first_bad = t;
        nan_rows = all_nan ? nan_rows + 1 : 0;
        if (t == 0 && initial_excess != initial_excess) {
            initial_excess = objective(work, fit, exact_loss, w, D) - work.least[fit];
            target = target_of(work, fit, initial_excess);
        }
        converged = t >= 1 && first_bad < 0 && meets(target, work, fit, exact_loss, w, D);
        ends = converged || t == last || nan_rows >= 2;
        if (work.every > 0 && (ends || t % work.every == 0)) {
            const long long row = rows_before(work, t);  // a fit that ends fills the rows that follow
            const long long end = ends ? work.n_rows : row + 1;
            for (long long k = threadIdx.x; k < (end - row) * D; k += blockDim.x) history_w[row * D + k] = T(w[k % D]);
            for (long long k = row + threadIdx.x; k < end; k += blockDim.x) history_loss[k] = T(exact_loss);
        }
        if (ends) break;
        const int* order = work.order ? work.order + (t - first) * used : nullptr;
        double sum_of_losses = 0.0, sum_of_weights = 0.0;
        for (long long batch = 0; batch < n_steps; ++batch) {
            const long long begin = batch * work.size_of_batch, left = used - begin, done = t * n_steps + batch;
            const Batch places = {left < work.size_of_batch ? left : work.size_of_batch, begin, order};
            const T total = sum_samples<T>(work, item, places, w, work.sums == 0, lanes, parts);
            sum_of_losses = sum_of_losses + double(total) * double(parts[D] / total);
            sum_of_weights = sum_of_weights + double(total);
            const long long row_of_rates = work.n_rates == 1 ? 0 : work.rate_per_step ? done : t;
            enter_momentum(work, rule, row_of_rates, fit, first_step + done, products);
            rule.begin(work.lr[row_of_rates * work.n_fits + fit], first_step + done, products, next_products);
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
            __syncthreads();  // the new w stands, and `parts` has been read
        }
        if (work.n_batch_losses > 0 && threadIdx.x == 0) batch_loss[t] = T(sum_of_losses / sum_of_weights);
    }
    if (ends) {
        for (long long j = threadIdx.x; j < D; j += blockDim.x) static_cast<T*>(work.w_out)[fit * D + j] = T(w[j]);
        for (long long k = t + threadIdx.x; k < work.n_batch_losses; k += blockDim.x) batch_loss[k] = T(not_a_number());
    }
    if (threadIdx.x != 0) return;
#pragma unroll
    for (int p = 0; p < N_PRODUCTS; ++p) {  // the products of steps that were not computed are not known; nor do they matter
        work.products[fit * N_PRODUCTS + p] = ends && nan_rows > 0 ? not_a_number() : products[p];
    }
    work.nan_epochs[fit] = (signed char)(nan_rows);
    work.first_bad[fit] = first_bad;
    if (work.least) work.initial_excess[fit] = initial_excess;
    if (!ends) return;
    static_cast<T*>(work.loss)[fit] = T(exact_loss);
    write_excess<T>(work, fit, exact_loss, w, D);
    write_outcome(work, fit, converged, t, first_bad, n_steps);
}
