// work.cuh: what the kernels are given. One struct, passed by value, filled by
// kernels/cuda/data.py; header.py reads its fields here.
//
// 1. It lies in constant memory: reading a field costs nothing. Every field has 8 bytes, in the
//    order of this file; T is float or double. A pointer that is not needed is null.
// 2. m = n_fits, D = n_parameters, Z = D + 1 columns (the features, the intercept's ones, y), E =
//    Z(Z+1)/2 entries of the moments: (i, j) with i ≤ j is at j(j+1)/2 + i. planes = 1 for float32
//    data, 2 (hi, lo) for float64 data.
// 3. An item is a distinct set of X, y, weights and kept samples; fits that share them share their
//    moments. Places that count up, 0, 1, 2, …, are not stored: the pointer is null.
// 4. All numbers of samples, fits and places are 64-bit.
#pragma once

struct Work {
    long long n_fits;
    long long n_items;
    long long n_samples;  // n of the arrays; what is used of them is `used`
    long long n_features;
    long long n_parameters;
    long long intercept;  // 0 or 1
    long long n_decayed;  // parameters that weight decay acts on, the first ones
    long long n_chunks;  // of the longest item, as it was when the moments were allocated
    long long n_chosen;  // of `chosen`
    long long n_spans;  // ceil(n_samples / 4096)
    long long sums;  // 1: the gradient is of the sum, 0: of the mean
    long long epochs;
    long long every;  // epochs from one row of the history to the next; 0: no history
    long long n_rows;  // of the history
    long long n_rates;  // 1 or epochs; of mini-batches 1, epochs or steps
    long long size_of_batch;  // samples of a mini-batch; 0: each epoch is one step of all samples
    long long drop_last;  // 1: an epoch ends before a batch that is not full
    long long rate_per_step;  // 1: where lr has several rows, each is of a step of the call, not of an epoch
    long long n_batch_losses;  // epochs, or 0: nobody asks
    long long n_hyper;  // hyperparameters and derived values of the rule; 0: all fits have those of the first
    double tol;  // negative: no stopping
    // the data
    const void* X;  // (n_x, n_samples, n_features) T; null: there are only moments
    const void* y;  // (n_y, n_samples) T
    const void* weights;  // (n_w, n_samples) T; null: there are none
    int* kept;  // (n_k, n_samples): a row begins with the places of the kept samples
    const long long* item_x;  // (n_items,): item i has the data X[item_x[i]], y[item_y[i]], …; null: i
    const long long* item_y;  // (n_items,)
    const long long* item_weights;  // (n_items,)
    const long long* item_kept;  // (n_items,): −1: all samples are kept; null: of every item
    const long long* used;  // (n_items,): how many samples are kept; null: all
    const long long* chosen;  // (n_chosen,): the items that a launch is about; null: i
    const signed char* check_finite;  // (n_items,): whether `find_kept` tests X and y of an item; null: of none
    int* counts;  // (n_chosen, n_spans): how many samples of a span are kept
    signed char* faults;  // (n_chosen, n_spans), or (n_items,): FINE, NEGATIVE, NOT_FINITE or CANCELLED
    // of the weights, made by `weigh`; without weights W = n
    double* weight_sum;  // (n_items, 2): W, W′
    double* weight_total;  // (n_items,): W_T, a number of T
    double* weight_least;  // (n_items,): ω_min
    long long* weight_exponent;  // (n_items,): k_ω
    // the moments: chunk 0 of an item holds those of the whole item after `join`
    double* moments;  // (n_items, n_chunks, planes, E)
    long long* exponents;  // (n_items, n_chunks, Z); null for float32 data
    double* item_center;  // (n_items, d): of standardised fits, m; NaN: to be made. Null: features are as they are
    double* item_scale;  // (n_items, d): s
    double* matrix;  // (n_items, D, D): scratch of `largest_eigenvalues`
    double* eigenvalues;  // (n_items,): λ_max of XᵀX
    // the fits
    const long long* item;  // (m,); null: f
    double* center;  // (m, d): those of their items
    double* scale;  // (m, d)
    double* lr;  // (n_rates, m); of one row where `safe_rates` makes it
    const double* momenta;  // (n_rates, m): momentum or beta1; NaN: as in hyper; null: no fit's moves
    const double* hyper;  // (m, n_hyper), or one row
    double* w;  // (m, D)
    double* slots;  // (m, n_slots, D)
    double* products;  // (m, n_products)
    long long* steps;  // (m,)
    signed char* algorithm;  // (m,)
    signed char* status;  // (m,)
    void* w_out;  // (m, D) T
    void* loss;  // (m,) T
    long long* epochs_run;  // (m,)
    void* history_w;  // (m, n_rows, D) T
    void* history_loss;  // (m, n_rows) T
    void* batch_loss;  // (m, n_batch_losses) T
    long long* passes;  // (m,): epochs run, of mini-batches
    // how far a fit is from its minimum (section 10); null where nobody asks
    double* penalty;  // (m,): κ; null where all are 0
    double* least;  // (m,): F*; NaN: not known
    double* allowance;  // (m,): ρ; null without a tol
    signed char* doubtful;  // (m,): F* is not to be had from the moments
    int* some_are_doubtful;  // (1,): not 0 once one is
    double* initial_excess;  // (m,): e₀; NaN: epoch 0 is the start
    void* excess;  // (m,) T
    // where a fit stands between two launches
    signed char* phase;  // (m,): ON_MOMENTS, ON_SAMPLES (or beyond the limits, without samples) or FINISHED
    signed char* row_is_done;  // (m,): the row of this epoch was made from the moments
    signed char* nan_epochs;  // (m,): epochs in a row that began with every w NaN, 2 at most
    long long* epoch;  // (m,): of a fit ON_SAMPLES: the epoch that comes next; else 0
    long long* first_bad;  // (m,): the first row that is not finite; −1: none yet
    int* handed_over;  // (1,): not 0 once a fit went from ON_MOMENTS to ON_SAMPLES
    // scratch
    double* elimination;  // (planes · E, threads): of `least_values`
    double* scratch;  // (m, n_slots + 5, D): of `descend_any`; see there
    void* parts;  // (fits at hand, n_chunks, D + 1) T: sums of chunks, of `stream`
    void* lanes;  // (fits at hand, warps, D, 32) T: of `stream`
    const long long* at_hand;  // (fits at hand,): which fits `stream` or `minibatch` runs
    const int* order;  // (epochs of a launch, samples used): the order of the samples in each epoch; null: as they stand
};

constexpr signed char COMPLETED = 0, CONVERGED = 1, DIVERGED = 2, TOO_FEW_SAMPLES = 4;  // kernels/chunk.py
constexpr signed char STREAM = 0;
constexpr signed char ON_MOMENTS = 0, ON_SAMPLES = 1, FINISHED = 2;
// faults of an item; CANCELLED: its moments lost too many digits by numerical cancellation
constexpr signed char FINE = 0, NEGATIVE = 1, NOT_FINITE = 2, CANCELLED = 3;

template <typename T>
struct Format;
template <>
struct Format<float> {
    static constexpr int PLANES = 1;
    static constexpr double OMEGA = 0x1p120;  // Ω of section 6
    typedef double Sum;  // of products of two numbers
};
template <>
struct Format<double> {
    static constexpr int PLANES = 2;
    static constexpr double OMEGA = 0x1p1000;
    typedef Pair Sum;
};

// the exponent of column j; those of float32 data are 0, and not stored
template <typename T>
__device__ __forceinline__ long long exponent_at(const long long* exponents, long long j) {
    return Format<T>::PLANES == 2 ? exponents[j] : 0;
}

// places[k]; k where nothing is stored
__device__ __forceinline__ long long listed(const long long* places, long long k) { return places ? places[k] : k; }
__device__ __forceinline__ long long used_of(const Work& work, long long item) { return work.used ? work.used[item] : work.n_samples; }

template <typename T>
__device__ __forceinline__ const T* X_of(const Work& work, long long item) {
    return static_cast<const T*>(work.X) + listed(work.item_x, item) * work.n_samples * work.n_features;
}
template <typename T>
__device__ __forceinline__ const T* y_of(const Work& work, long long item) {
    return static_cast<const T*>(work.y) + listed(work.item_y, item) * work.n_samples;
}
template <typename T>
__device__ __forceinline__ const T* weights_of(const Work& work, long long item) {  // null: there are none
    return work.weights ? static_cast<const T*>(work.weights) + listed(work.item_weights, item) * work.n_samples : nullptr;
}

// the place of sample number i of an item
__device__ __forceinline__ long long place_of(const int* kept_row, long long i) { return kept_row ? kept_row[i] : i; }
__device__ __forceinline__ const int* kept_row_of(const Work& work, long long item) {
    const long long row = work.item_kept ? work.item_kept[item] : -1;
    return row < 0 ? nullptr : work.kept + row * work.n_samples;
}

// Which epochs have a row in the history: 0, every, 2·every, … and the last. Epochs are asked for
// in order: a division costs more than an epoch of a small fit.
struct RowClock {
    long long every, last, next;

    __device__ __forceinline__ RowClock(const Work& work, long long first_epoch) : every(work.every), last(work.epochs) {
        next = every > 0 ? (first_epoch + every - 1) / every * every : -1;
    }
    __device__ __forceinline__ bool strikes(long long t) {
        const bool now = every > 0 && (t == next || t == last);
        if (t == next) next += every;
        return now;
    }
};

// how many rows the epochs before t have, t ≤ epochs
__device__ __forceinline__ long long rows_before(const Work& work, long long t) {
    return work.every > 0 ? (t + work.every - 1) / work.every : 0;
}

// F of section 10, where least is there
__device__ __forceinline__ double objective(const Work& work, long long fit, double loss, const double* w, long long D) {
    const double penalty = work.penalty ? work.penalty[fit] : 0.0;
    if (penalty == 0.0) return loss;
    double squares = 0.0;
#pragma unroll
    for (long long j = 0; j < D; ++j) squares = j < work.n_decayed ? fused(w[j], w[j], squares) : squares;
    return fused(penalty, squares, loss);
}

// the F at which a fit has converged, if it is no larger; NaN: at none
__device__ __forceinline__ double target_of(const Work& work, long long fit, double initial_excess) {
    if (!(work.tol >= 0.0 && is_finite(initial_excess))) return not_a_number();
    return work.least[fit] + larger(work.tol * initial_excess, work.allowance[fit]);
}
__device__ __forceinline__ double target_of(const Work& work, long long fit) {
    return work.least ? target_of(work, fit, work.initial_excess[fit]) : not_a_number();
}
__device__ __forceinline__ bool meets(double target, const Work& work, long long fit, double loss, const double* w, long long D) {
    return target == target && objective(work, fit, loss, w, D) <= target;
}

// writes excess_loss of a fit that ends with this loss and w, where it is asked for
template <typename T>
__device__ __forceinline__ void write_excess(const Work& work, long long fit, double loss, const double* w, long long D) {
    if (!work.least) return;
    const double excess = objective(work, fit, loss, w, D) - work.least[fit];
    static_cast<T*>(work.excess)[fit] = T(excess < 0.0 ? 0.0 : excess);  // a NaN stays
}

// writes status, steps and epochs of a fit that ends; converged: in this call
__device__ __forceinline__ void write_outcome(const Work& work, long long fit, bool converged, long long t, long long first_bad,
                                              long long steps_per_epoch = 1) {
    const bool stayed = work.status[fit] == CONVERGED;  // it had converged in an earlier call
    signed char outcome = converged ? CONVERGED : work.status[fit];
    const long long passed = converged ? t : stayed ? 0 : work.epochs;
    work.steps[fit] += passed * steps_per_epoch;
    if (work.passes) work.passes[fit] += passed;
    long long ran = outcome == CONVERGED ? t : work.epochs;
    if (first_bad >= 0) {
        ran = first_bad;
        outcome = outcome == COMPLETED ? DIVERGED : outcome;
    }
    work.epochs_run[fit] = ran;
    work.status[fit] = outcome;
    work.phase[fit] = FINISHED;
}
