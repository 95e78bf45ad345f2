// rules.cuh: one step of each rule of kernels/update_rules.py, as section 8 of
// docs/arithmetic.md says.
//
// 1. One struct per row of the table. S is the state's type: double on the moments, T on the
//    samples. `read` takes the hyperparameters of a fit (in the table's order, then the derived
//    values), `begin` computes what is needed once per step, `step` moves one parameter. `move` gives
//    it the momentum, or beta1, of a step before `begin`, in a rule that has one. decays: whether
//    weight decay acts on the parameter.
// 2. What stands in ⟨ ⟩ on that page is computed in float64 and rounded once to S: `S(…)`.
// 3. MAY_BE_PLAIN: whether a fit may have a rule whose step is new_w = fused(−lr, g, w) and nothing
//    else; `is_plain` says whether it has.
// 4. `step` fills new_w and new_slot (N_SLOTS values; those that an option leaves alone are copied)
//    and returns whether all that the page marks with ⚠, the new w and the slots that changed stayed
//    within the limit.
#pragma once
#include "arithmetic.cuh"
#include "work.cuh"

template <typename S>
__device__ __forceinline__ S lerp(S a, S b, S share) {
    const S difference = b - a;
    return share < S(0.5) ? fused(share, difference, a) : fused(share - S(1), difference, b);
}

template <typename S>
__device__ __forceinline__ bool within(S value, S limit) {
    return size_of(value) <= limit;
}

// beta^exponent, as `power_of` of kernels/update_rules.py
__device__ inline double power_of(double beta, long long exponent) {
    double result = 1.0;
    for (; exponent > 0; exponent >>= 1, beta = beta * beta)
        if (exponent & 1) result = result * beta;
    return result;
}

// Gives a rule the momentum of the next step of a fit, where it moves. row: of work.momenta; step:
// updates made before.
template <typename Update>
__device__ __forceinline__ void enter_momentum(const Work& work, Update& rule, long long row, long long fit, long long step,
                                               double* products) {
    if (!work.momenta) return;
    const double momentum = work.momenta[row * work.n_fits + fit];
    if (momentum == momentum) rule.move(momentum, step, products);
}

// sgd. hyper: momentum, dampening, weight_decay, nesterov, maximize
template <typename S>
struct Sgd {
    static constexpr int N_SLOTS = 1, N_PRODUCTS = 0;
    static constexpr bool MAY_BE_PLAIN = true;
    S momentum, undamped, decay, rate;
    bool has_momentum, has_decay, nesterov, maximize, first;

    __device__ __forceinline__ void read(const double* hyper) {
        momentum = S(hyper[0]), undamped = S(1.0 - hyper[1]), decay = S(hyper[2]);
        has_momentum = hyper[0] != 0.0, has_decay = hyper[2] != 0.0, nesterov = hyper[3] != 0.0, maximize = hyper[4] != 0.0;
    }
    __device__ __forceinline__ void move(double own, long long, double*) { momentum = S(own), has_momentum = own != 0.0; }
    __device__ __forceinline__ bool is_plain() const { return !(has_momentum || has_decay || maximize); }
    __device__ __forceinline__ void begin(double lr, long long step, const double*, double*) { rate = S(-lr), first = step == 0; }
    __device__ __forceinline__ bool step(S w, const S* slot, S g, bool decays, S limit, S& new_w, S* new_slot) const {
        bool good = true;
        if (maximize) g = -g;
        if (has_decay && decays) g = fused(decay, w, g);
        new_slot[0] = slot[0];
        if (has_momentum) {
            const S velocity = first ? g : fused(undamped, g, slot[0] * momentum);
            new_slot[0] = velocity;
            good = within(velocity, limit);
            g = nesterov ? fused(momentum, velocity, g) : velocity;
        }
        new_w = fused(rate, g, w);
        return good && within(rate * g, limit) && within(new_w, limit);
    }
};

// adam, adamw. hyper: beta1, beta2, eps, weight_decay, amsgrad, maximize
template <typename S, bool DECOUPLED>
struct AdamFamily {
    static constexpr int N_SLOTS = 3, N_PRODUCTS = 2;
    static constexpr bool MAY_BE_PLAIN = false;
    double beta1, beta2, penalty;
    S share, keep_square, square_share, eps, decay, shrink, rate, correction;
    bool amsgrad, maximize, has_decay;

    __device__ __forceinline__ void read(const double* hyper) {
        beta1 = hyper[0], beta2 = hyper[1], penalty = hyper[3];
        share = S(1.0 - beta1), keep_square = S(beta2), square_share = S(1.0 - beta2), eps = S(hyper[2]), decay = S(penalty);
        has_decay = penalty != 0.0, amsgrad = hyper[4] != 0.0, maximize = hyper[5] != 0.0;
    }
    __device__ __forceinline__ void move(double own, long long step, double* products) {
        beta1 = own, share = S(1.0 - own), products[0] = power_of(own, step);
    }
    __device__ __forceinline__ void begin(double lr, long long, const double* products, double* next) {
        next[0] = products[0] * beta1, next[1] = products[1] * beta2;
        rate = S(-(lr / (1.0 - next[0]))), correction = S(root(1.0 - next[1])), shrink = S(1.0 - lr * penalty);
    }
    __device__ __forceinline__ bool step(S w, const S* slot, S g, bool decays, S limit, S& new_w, S* new_slot) const {
        if (maximize) g = -g;
        if (has_decay && DECOUPLED) w = w * shrink;
        if (has_decay && decays && !DECOUPLED) g = fused(decay, w, g);
        const S average = lerp(slot[0], g, share);
        const S square = fused(square_share * g, g, slot[1] * keep_square);
        S largest = slot[2], height = square;
        if (amsgrad) {
            if (square > largest || square != square) largest = square;
            height = largest;
        }
        new_slot[0] = average, new_slot[1] = square, new_slot[2] = largest;
        const S product = rate * average, move = product / (root(height) / correction + eps);
        new_w = w + move;
        return within(average, limit) && within(square, limit) && within(height, limit) && within(product, limit) && within(move, limit) &&
               within(new_w, limit);
    }
};
template <typename S>
struct Adam : AdamFamily<S, false> {};
template <typename S>
struct Adamw : AdamFamily<S, true> {};

// rmsprop. hyper: alpha, eps, weight_decay, momentum, centered, maximize
template <typename S>
struct Rmsprop {
    static constexpr int N_SLOTS = 3, N_PRODUCTS = 0;
    static constexpr bool MAY_BE_PLAIN = false;
    S keep, share, eps, decay, momentum, rate;
    bool has_decay, has_momentum, centered, maximize;

    __device__ __forceinline__ void read(const double* hyper) {
        keep = S(hyper[0]), share = S(1.0 - hyper[0]), eps = S(hyper[1]), decay = S(hyper[2]), momentum = S(hyper[3]);
        has_decay = hyper[2] != 0.0, has_momentum = hyper[3] > 0.0, centered = hyper[4] != 0.0, maximize = hyper[5] != 0.0;
    }
    __device__ __forceinline__ void move(double own, long long, double*) { momentum = S(own), has_momentum = own > 0.0; }
    __device__ __forceinline__ void begin(double lr, long long, const double*, double*) { rate = S(-lr); }
    __device__ __forceinline__ bool step(S w, const S* slot, S g, bool decays, S limit, S& new_w, S* new_slot) const {
        bool good = true;
        if (maximize) g = -g;
        if (has_decay && decays) g = fused(decay, w, g);
        const S square = fused(share * g, g, slot[0] * keep);
        S variance = square, average = slot[1], buffer = slot[2], product, move;
        if (centered) {
            average = lerp(slot[1], g, share);
            variance = fused(-average, average, square);
            good = within(average, limit) && within(variance, limit);
        }
        const S height = root(variance) + eps;
        if (has_momentum) {
            buffer = buffer * momentum + g / height;
            product = rate * buffer, move = product;
            new_w = fused(rate, buffer, w);
            good = good && within(buffer, limit);
        } else {
            product = rate * g, move = product / height;
            new_w = w + move;
        }
        new_slot[0] = square, new_slot[1] = average, new_slot[2] = buffer;
        return good && within(square, limit) && within(product, limit) && within(move, limit) && within(new_w, limit);
    }
};

// adagrad. hyper: lr_decay, weight_decay, initial_accumulator_value, eps, maximize
template <typename S>
struct Adagrad {
    static constexpr int N_SLOTS = 1, N_PRODUCTS = 0;
    static constexpr bool MAY_BE_PLAIN = false;
    double lr_decay;
    S decay, start, eps, rate;
    bool has_decay, maximize, first;

    __device__ __forceinline__ void read(const double* hyper) {
        lr_decay = hyper[0], decay = S(hyper[1]), start = S(hyper[2]), eps = S(hyper[3]);
        has_decay = hyper[1] != 0.0, maximize = hyper[4] != 0.0;
    }
    __device__ __forceinline__ void move(double, long long, double*) {}
    __device__ __forceinline__ void begin(double lr, long long step, const double*, double*) {
        rate = S(-(lr / (1.0 + double(step) * lr_decay))), first = step == 0;
    }
    __device__ __forceinline__ bool step(S w, const S* slot, S g, bool decays, S limit, S& new_w, S* new_slot) const {
        if (maximize) g = -g;
        if (has_decay && decays) g = fused(decay, w, g);
        const S total = fused(g, g, first ? start : slot[0]);
        new_slot[0] = total;
        const S product = rate * g, move = product / (root(total) + eps);
        new_w = w + move;
        return within(total, limit) && within(product, limit) && within(move, limit) && within(new_w, limit);
    }
};

// nadam. hyper: beta1, beta2, eps, weight_decay, momentum_decay, decoupled_weight_decay, maximize; derived: decay
template <typename S>
struct Nadam {
    static constexpr int N_SLOTS = 2, N_PRODUCTS = 3;
    static constexpr bool MAY_BE_PLAIN = false;
    double beta1, beta2, shift, penalty;
    S share, keep_square, square_share, eps, decay, shrink, correction, of_gradient, of_average;
    bool has_decay, decoupled, maximize;

    __device__ __forceinline__ void read(const double* hyper) {
        beta1 = hyper[0], beta2 = hyper[1], penalty = hyper[3], shift = hyper[7];
        share = S(1.0 - beta1), keep_square = S(beta2), square_share = S(1.0 - beta2), eps = S(hyper[2]), decay = S(penalty);
        has_decay = penalty != 0.0, decoupled = hyper[5] != 0.0, maximize = hyper[6] != 0.0;
    }
    __device__ __forceinline__ void move(double own, long long, double*) { beta1 = own, share = S(1.0 - own); }
    __device__ __forceinline__ void begin(double lr, long long, const double* products, double* next) {
        next[0] = products[0] * beta2, next[2] = products[2] * shift;
        const double mu = beta1 * (1.0 - 0.5 * next[2]), next_mu = beta1 * (1.0 - 0.5 * (next[2] * shift));
        next[1] = products[1] * mu;
        correction = S(1.0 - next[0]), shrink = S(1.0 - lr * penalty);
        of_gradient = S((-lr) * (1.0 - mu) / (1.0 - next[1]));
        of_average = S((-lr) * next_mu / (1.0 - next[1] * next_mu));
    }
    __device__ __forceinline__ bool step(S w, const S* slot, S g, bool decays, S limit, S& new_w, S* new_slot) const {
        if (maximize) g = -g;
        if (has_decay && decoupled) w = w * shrink;
        if (has_decay && decays && !decoupled) g = fused(decay, w, g);
        const S average = lerp(slot[0], g, share);
        const S square = fused(square_share * g, g, slot[1] * keep_square);
        new_slot[0] = average, new_slot[1] = square;
        const S corrected = square / correction, height = root(corrected) + eps;
        const S product = of_gradient * g, other_product = of_average * average;
        const S move = product / height, other_move = other_product / height;
        new_w = (w + move) + other_move;
        return within(average, limit) && within(square, limit) && within(corrected, limit) && within(product, limit) &&
               within(other_product, limit) && within(move, limit) && within(other_move, limit) && within(new_w, limit);
    }
};

// adadelta. hyper: rho, eps, weight_decay, maximize
template <typename S>
struct Adadelta {
    static constexpr int N_SLOTS = 2, N_PRODUCTS = 0;
    static constexpr bool MAY_BE_PLAIN = false;
    S keep, share, eps, decay, rate;
    bool has_decay, maximize;

    __device__ __forceinline__ void read(const double* hyper) {
        keep = S(hyper[0]), share = S(1.0 - hyper[0]), eps = S(hyper[1]), decay = S(hyper[2]);
        has_decay = hyper[2] != 0.0, maximize = hyper[3] != 0.0;
    }
    __device__ __forceinline__ void move(double, long long, double*) {}
    __device__ __forceinline__ void begin(double lr, long long, const double*, double*) { rate = S(-lr); }
    __device__ __forceinline__ bool step(S w, const S* slot, S g, bool decays, S limit, S& new_w, S* new_slot) const {
        if (maximize) g = -g;
        if (has_decay && decays) g = fused(decay, w, g);
        const S square = fused(share * g, g, slot[0] * keep);
        const S ratio = root(slot[1] + eps) / root(square + eps), move = ratio * g;
        const S moves = fused(share * move, move, slot[1] * keep);
        new_slot[0] = square, new_slot[1] = moves;
        new_w = fused(rate, move, w);
        return within(square, limit) && within(ratio, limit) && within(move, limit) && within(moves, limit) && within(rate * move, limit) &&
               within(new_w, limit);
    }
};

// adamax. hyper: beta1, beta2, eps, weight_decay, maximize
template <typename S>
struct Adamax {
    static constexpr int N_SLOTS = 2, N_PRODUCTS = 1;
    static constexpr bool MAY_BE_PLAIN = false;
    double beta1;
    S share, keep, eps, decay, rate;
    bool has_decay, maximize;

    __device__ __forceinline__ void read(const double* hyper) {
        beta1 = hyper[0], share = S(1.0 - hyper[0]), keep = S(hyper[1]), eps = S(hyper[2]), decay = S(hyper[3]);
        has_decay = hyper[3] != 0.0, maximize = hyper[4] != 0.0;
    }
    __device__ __forceinline__ void move(double own, long long step, double* products) {
        beta1 = own, share = S(1.0 - own), products[0] = power_of(own, step);
    }
    __device__ __forceinline__ void begin(double lr, long long, const double* products, double* next) {
        next[0] = products[0] * beta1;
        rate = S(-(lr / (1.0 - next[0])));
    }
    __device__ __forceinline__ bool step(S w, const S* slot, S g, bool decays, S limit, S& new_w, S* new_slot) const {
        if (maximize) g = -g;
        if (has_decay && decays) g = fused(decay, w, g);
        const S average = lerp(slot[0], g, share), before = slot[1] * keep, now = size_of(g) + eps;
        const S size = before > now || before != before ? before : now;
        new_slot[0] = average, new_slot[1] = size;
        const S product = rate * average, move = product / size;
        new_w = w + move;
        return within(average, limit) && within(size, limit) && within(product, limit) && within(move, limit) && within(new_w, limit);
    }
};
