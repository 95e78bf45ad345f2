// descend.cu: all epochs of a fit from its moments (docs/arithmetic.md, sections 6, 8 and 10).
//
//     residual r = G w − c      loss = (yy + wᵀ(r − c)) / W      gradient = s r
//     w, slots ← rule(w, slots, gradient)
//
// 1. `descend` has the parameters at compile time: a thread owns a fit, its moments and its state
//    stand in registers for the whole launch. `descend_any` takes any number: a group of lanes owns
//    a fit, a lane has rows of G.
// 2. A launch runs the epochs first … stop − 1 of all fits that are still ON_MOMENTS; all of them
//    stand at the same epoch, so that a launch may be cut anywhere. A fit that passes a limit
//    becomes ON_SAMPLES, its state rounded to T, and `stream` goes on from `epoch`. Without samples
//    the state stays as it is, and `descend_any` goes on.
// 3. Rows of the history are collected in shared memory and written some at a time, so that a fit's
//    rows leave in whole sectors.
// 4. Plain SGD with few parameters runs unchecked blocks of epochs: the limits are tested for all
//    of them together, afterwards. Where one was passed, the block is run again as checked epochs.
//    The operations are the same, and so are the bits.
#include "evaluate.cuh"
#include "rules.cuh"

// rows of the history that a warp collects: shared memory holds 32 fits × ROWS × (D + 1) numbers
// per warp
template <typename T, int D>
struct Rows {
    static constexpr int ROWS = D <= 2 ? 16 / (int(sizeof(T)) / 4) : D <= 4 ? 8 : 32 / int(sizeof(T));
    T w[LANES][ROWS * D + 1];  // one more than needed, so that lanes fall into different banks
    T loss[LANES][ROWS + 1];
    double start[D][LANES];  // where a block of epochs began
    long long until[LANES];  // rows from here on are not for this warp to write
};

// writes rows row … row + count − 1 of the 32 fits from fit `first` on
template <typename T, int D>
__device__ __forceinline__ void flush(const Work& work, Rows<T, D>& rows, long long first, long long row, int count, int lane) {
    __syncwarp();
    for (int k = lane; k < LANES * count * D; k += LANES) {
        const int q = k / (count * D), place = k % (count * D);
        if (row + place / D >= rows.until[q]) continue;
        static_cast<T*>(work.history_w)[((first + q) * work.n_rows + row) * D + place] = rows.w[q][place];
    }
    for (int k = lane; k < LANES * count; k += LANES) {
        const int q = k / count, place = k % count;
        if (row + place >= rows.until[q]) continue;
        static_cast<T*>(work.history_loss)[(first + q) * work.n_rows + row + place] = rows.loss[q][place];
    }
    __syncwarp();
}

// flush of ROWS rows that are all for this warp to write: a lane keeps its place in the rows where
// that is possible
template <typename T, int D>
__device__ __forceinline__ void flush_whole(const Work& work, Rows<T, D>& rows, long long first, long long row, int lane) {
    constexpr int ROWS = Rows<T, D>::ROWS, WIDTH = ROWS * D;
    if constexpr (WIDTH > LANES && WIDTH % LANES != 0) {
        flush<T, D>(work, rows, first, row, ROWS, lane);
    } else {
        constexpr int TIMES = WIDTH > LANES ? WIDTH / LANES : 1, STEP = WIDTH > LANES ? 1 : LANES / WIDTH;
        __syncwarp();
        int q = WIDTH > LANES ? 0 : lane / WIDTH, place = lane % WIDTH;
        T* to = static_cast<T*>(work.history_w) + ((first + q) * work.n_rows + row) * D + place;
#pragma unroll 8
        for (; q < LANES; q += STEP, to += STEP * work.n_rows * D) {
#pragma unroll
            for (int u = 0; u < TIMES; ++u) to[u * LANES] = rows.w[q][place + u * LANES];
        }
        q = lane / ROWS, place = lane % ROWS;
        to = static_cast<T*>(work.history_loss) + (first + q) * work.n_rows + row + place;
#pragma unroll 8
        for (; q < LANES; q += LANES / ROWS, to += LANES / ROWS * work.n_rows) *to = rows.loss[q][place];
        __syncwarp();
    }
}

// the gradient and the loss at w, float32 data: all in float64
template <int D>
__device__ __forceinline__ double evaluate(const double* G, const Moments<float>& moments, const double* w, double* gradient) {
    const double* c = G + D * (D + 1) / 2;
    double loss = c[D];
#pragma unroll
    for (int j = 0; j < D; ++j) {
        double r = -c[j];
#pragma unroll
        for (int k = 0; k < D; ++k) r = fused(j <= k ? G[k * (k + 1) / 2 + j] : G[j * (j + 1) / 2 + k], w[k], r);
        gradient[j] = moments.factor * r;
        loss = fused(w[j], r - c[j], loss);
    }
    return moments.quick_mean(loss);
}

// the gradient and the loss at w, float64 data: in double-double, scaled
template <int D>
__device__ __forceinline__ double evaluate(const Pair* G, const Moments<double>& moments, const double* w, double* gradient) {
    const Pair* c = G + D * (D + 1) / 2;
    double scaled[D];
#pragma unroll
    for (int k = 0; k < D; ++k) scaled[k] = scale(w[k], moments.exponents[k] - moments.exponent_y);
    Pair loss = c[D];
#pragma unroll
    for (int j = 0; j < D; ++j) {
        Pair r = {-c[j].hi, -c[j].lo};
#pragma unroll
        for (int k = 0; k < D; ++k) r = add_product(r, j <= k ? G[k * (k + 1) / 2 + j] : G[j * (j + 1) / 2 + k], scaled[k]);
        r = two_sum(r.hi, r.lo);
        const double p = r.hi * moments.factor;
        double q = fused(r.hi, moments.factor, -p);
        q = fused(r.lo, moments.factor, q);
        q = fused(r.hi, moments.low_factor, q);
        gradient[j] = scale(p + q, moments.exponents[j] + moments.exponent_y + moments.exponent_g);
        loss = add_product(loss, dd_add(r, {-c[j].hi, -c[j].lo}), scaled[j]);
    }
    return scale(moments.mean(loss.hi + loss.lo), 2 * moments.exponent_y);
}

__device__ __forceinline__ void take(const double* record, long long, long long entry, double& to) { to = record[entry]; }
__device__ __forceinline__ void take(const double* record, long long E, long long entry, Pair& to) {
    to = {record[entry], record[E + entry]};
}

// descend: a thread owns a fit. grid = ceil(m / 128), block = 128
template <typename T, int D, template <typename> class Rule>
__global__ void __launch_bounds__(128, 1) descend(const __grid_constant__ Work work, long long first_epoch, long long stop_epoch) {
    typedef Rule<double> Update;
    constexpr bool UNCHECKED_BLOCKS = Update::MAY_BE_PLAIN && D <= (sizeof(T) == 4 ? 8 : 2);
    constexpr int ENTRIES = (D + 1) * (D + 2) / 2, N_SLOTS = Update::N_SLOTS, N_PRODUCTS = Update::N_PRODUCTS, ROWS = Rows<T, D>::ROWS;
    typedef Rows<T, D> Shared[4];
    SHARED_MEMORY(Shared, shared);
    const int lane = threadIdx.x % LANES;
    const long long fit = blockIdx.x * 128LL + threadIdx.x, first_fit = fit - lane;
    if (first_fit >= work.n_fits) return;  // the whole warp
    Rows<T, D>& rows = shared[threadIdx.x / LANES];
    const double limit = Format<T>::OMEGA;
    const bool exists = fit < work.n_fits && work.status[fit] != TOO_FEW_SAMPLES;
    bool running = exists && work.phase[fit] == ON_MOMENTS;
    const bool records = exists && work.phase[fit] != ON_SAMPLES && work.algorithm[fit] != STREAM;  // a finished fit repeats its last row
    double w[D], slots[D][N_SLOTS], products[N_PRODUCTS + 1], gradient[D];
    typename Format<T>::Sum G[ENTRIES];
    Moments<T> moments;
    Update rule;
    double target = not_a_number();
    bool may_converge = true, holds = false;  // every row was finite so far; it had converged in an earlier call
    long long first_step = 0;
    T loss = records && !running ? static_cast<const T*>(work.loss)[fit] : T(0);
#pragma unroll
    for (int j = 0; j < D; ++j) w[j] = records && !running ? double(static_cast<const T*>(work.w_out)[fit * D + j]) : 0.0;
    const bool began = running;
    if (running) {
        moments.read(work, listed(work.item, fit));
#pragma unroll
        for (int e = 0; e < ENTRIES; ++e) take(moments.record, moments.E, e, G[e]);
#pragma unroll
        for (int j = 0; j < D; ++j) {
            w[j] = work.w[fit * D + j];
#pragma unroll
            for (int s = 0; s < N_SLOTS; ++s) slots[j][s] = work.slots[(fit * N_SLOTS + s) * D + j];
        }
#pragma unroll
        for (int p = 0; p < N_PRODUCTS; ++p) products[p] = work.products[fit * N_PRODUCTS + p];
        rule.read(work.hyper + fit * work.n_hyper);
        may_converge = work.first_bad[fit] < 0, first_step = work.steps[fit], holds = work.status[fit] == CONVERGED;
        target = target_of(work, fit);
    }
    rows.until[lane] = records ? work.n_rows : 0;
    __syncwarp();
    RowClock clock(work, first_epoch);
    long long row = rows_before(work, first_epoch);  // the first one collected
    int collected = 0;
    const double tol = work.tol;
    const double* rates = work.lr + fit;
    const long long to_next_rate = work.n_rates > 1 ? work.n_fits : 0;
    double rate = running && to_next_rate == 0 ? rates[0] : 0.0;
    long long checked_until = first_epoch;  // epochs before this one are checked
    for (long long t = first_epoch; t < stop_epoch; ++t) {
        if constexpr (UNCHECKED_BLOCKS) {
            const long long end = stop_epoch < clock.last ? stop_epoch : clock.last;  // the last epoch has a row and no update
            if (t >= checked_until && tol < 0.0 && to_next_rate == 0 && clock.every <= 1 && collected == 0 && end - t >= ROWS) {
                bool fine = running ? moments.usable && !holds && rule.is_plain() : rows.until[lane] <= row;
                if (__all_sync(ALL_LANES, fine)) {
#pragma unroll
                    for (int j = 0; j < D; ++j) rows.start[j][lane] = w[j];
                    T last_loss = T(0);
                    if (running) {
#pragma unroll(D <= 2 && sizeof(T) == 4 ? 8 : 1)
                        for (int u = 0; u < ROWS; ++u) {
                            const double exact_loss = evaluate<D>(G, moments, w, gradient);
                            fine = fine && exact_loss <= moments.loss_limit;
                            last_loss = T(exact_loss);
                            if (clock.every == 1) rows.loss[lane][u] = last_loss;
#pragma unroll
                            for (int j = 0; j < D; ++j) {
                                if (clock.every == 1) rows.w[lane][u * D + j] = T(w[j]);
                                fine = fine && size_of(w[j]) <= moments.w_limit && within(-rate * gradient[j], limit);
                                w[j] = fused(-rate, gradient[j], w[j]);
                                fine = fine && within(w[j], limit);
                            }
                        }
                    }
                    if (__all_sync(ALL_LANES, fine)) {
                        loss = running ? last_loss : loss;
                        if (clock.every == 1) {
                            const bool whole = rows.until[lane] >= row + ROWS;
                            if (__all_sync(ALL_LANES, whole)) {
                                flush_whole<T, D>(work, rows, first_fit, row, lane);
                            } else {
                                flush<T, D>(work, rows, first_fit, row, ROWS, lane);
                            }
                            row += ROWS, clock.next += ROWS;
                        }
                        t += ROWS - 1;
                        continue;
                    }
#pragma unroll
                    for (int j = 0; j < D; ++j) w[j] = rows.start[j][lane];
                    checked_until = t + ROWS;
                }
            }
        }
        bool stays = true, updates = false, good = true;  // stays: on the moments
        if (running) {
            const double exact_loss = evaluate<D>(G, moments, w, gradient);
            stays = moments.allow(w, D, exact_loss);
            if (stays) {
                loss = T(exact_loss);
                const bool converged = t >= 1 && may_converge && meets(target, work, fit, exact_loss, w, D);
                updates = !converged && t != (holds ? 0 : clock.last);
                if (!updates) {
                    running = false;
                    static_cast<T*>(work.loss)[fit] = loss;
#pragma unroll
                    for (int j = 0; j < D; ++j) static_cast<T*>(work.w_out)[fit * D + j] = T(w[j]);
                    write_excess<T>(work, fit, exact_loss, w, D);
                    write_outcome(work, fit, converged, t, work.first_bad[fit]);
                }
            }
        }
        if (clock.strikes(t)) {
            rows.loss[lane][collected] = loss;
#pragma unroll
            for (int j = 0; j < D; ++j) rows.w[lane][collected * D + j] = T(w[j]);
            ++collected;
        }
        if (updates) {
            double new_w[D], new_slots[D][N_SLOTS], new_products[N_PRODUCTS + 1];
            if (to_next_rate) rate = rates[t * to_next_rate];
            rule.begin(rate, first_step + t, products, new_products);
#pragma unroll
            for (int j = 0; j < D; ++j) good = rule.step(w[j], slots[j], gradient[j], true, limit, new_w[j], new_slots[j]) && good;
            if (good) {
#pragma unroll
                for (int j = 0; j < D; ++j) {
                    w[j] = new_w[j];
#pragma unroll
                    for (int s = 0; s < N_SLOTS; ++s) slots[j][s] = new_slots[j][s];
                }
#pragma unroll
                for (int p = 0; p < N_PRODUCTS; ++p) products[p] = new_products[p];
            }
        }
        if (running && !(stays && good)) {  // others go on: with the row of this epoch, or with its update
            running = false;
            if (work.every > 0) rows.until[lane] = rows_before(work, stays ? t + 1 : t);
            atomicOr(work.handed_over, 1);
            work.phase[fit] = ON_SAMPLES;
            work.epoch[fit] = t, work.row_is_done[fit] = stays;
            static_cast<T*>(work.loss)[fit] = loss;
            if (work.X) {
                work.algorithm[fit] = STREAM;
#pragma unroll
                for (int j = 0; j < D; ++j) {
                    w[j] = double(T(w[j]));
#pragma unroll
                    for (int s = 0; s < N_SLOTS; ++s) slots[j][s] = double(T(slots[j][s]));
                }
            }
        }
        if (collected == ROWS) {
            flush<T, D>(work, rows, first_fit, row, ROWS, lane);  // a number known at compile time: no divisions
            row += ROWS, collected = 0;
        }
        if (clock.every == 0 && !__any_sync(ALL_LANES, running)) break;
    }
    if (collected > 0) flush<T, D>(work, rows, first_fit, row, collected, lane);
    if (!began) return;
#pragma unroll
    for (int j = 0; j < D; ++j) {
        work.w[fit * D + j] = w[j];
#pragma unroll
        for (int s = 0; s < N_SLOTS; ++s) work.slots[(fit * N_SLOTS + s) * D + j] = slots[j][s];
    }
#pragma unroll
    for (int p = 0; p < N_PRODUCTS; ++p) work.products[fit * N_PRODUCTS + p] = products[p];
}
