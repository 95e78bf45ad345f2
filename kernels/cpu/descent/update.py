"""update: one step of each rule of kernels/update_rules.py, as docs/arithmetic.md, section 8 says.

1. Each function fills new_w, new_slots and new_products, and returns whether all numbers that the
   page names stayed within the limit. Slots that an option does not use are copied.
2. sgd is inlined; the others are calls, since their divisions and roots cost more than a call, and
   inlining them costs time to compile.
3. Scalars of a step are float64 whatever the state, and are rounded once, where they meet it. The
   products stay float64.
"""

from __future__ import annotations

import math

from ... import update_rules
from ...update_rules import UPDATE_RULES
from ..simd.compiling import inlined, part
from ..simd.lanes import fma
from ..simd.scalars import never_inline

SGD, ADAM, ADAMW, RMSPROP, ADAGRAD, NADAM, ADADELTA, ADAMAX = range(8)
CODES = {
    "sgd": SGD,
    "adam": ADAM,
    "adamw": ADAMW,
    "rmsprop": RMSPROP,
    "adagrad": ADAGRAD,
    "nadam": NADAM,
    "adadelta": ADADELTA,
    "adamax": ADAMAX,
}  # what `update` can do
_BY_CODE = sorted(UPDATE_RULES.values(), key=lambda rule: rule.code)
# of each code: where a momentum that moves stands among the hyperparameters, −1: nowhere; and
# whether the first of its products is the power of a beta1 that moves
MOVING_AT = tuple([*rule.hyperparameters].index(rule.moving) if rule.moving else -1 for rule in _BY_CODE)
HAS_POWER = tuple(rule.power is not None for rule in _BY_CODE)
power_of = inlined(update_rules.power_of)


@part
def enter_momentum(rule, momentum, step, hyper, products):
    """Give a fit the momentum, or beta1, of its next step; a NaN leaves it as it is.

    hyper, products: its own, which are changed. step: updates made before.
    """
    if momentum == momentum and 0 <= rule < len(MOVING_AT) and MOVING_AT[rule] >= 0:
        hyper[MOVING_AT[rule]] = momentum
        if HAS_POWER[rule]:
            products[0] = power_of(momentum, step)


@inlined
def _lerp(a, b, weight, one):
    """a + weight · (b − a), from the nearer end; weight − 1 is exact there."""
    if weight < 0.5:
        return fma(weight, b - a, a)
    return fma(weight - one, b - a, b)


@inlined
def _update_sgd(w, slots, gradient, lr, hyper, n_decayed, step, new_w, new_slots, limit):
    """torch.optim.SGD. hyper: momentum, dampening, weight_decay, nesterov, maximize."""
    number = w.dtype.type
    momentum, undamped, decay = number(hyper[0]), number(1.0 - hyper[1]), number(hyper[2])
    nesterov, maximize = hyper[3] != 0.0, hyper[4] != 0.0
    rate = number(-lr)
    within = True
    for j in range(len(w)):
        direction = gradient[j]
        if maximize:
            direction = -direction
        if hyper[2] != 0.0 and j < n_decayed:
            direction = fma(decay, w[j], direction)
        if hyper[0] != 0.0:
            velocity = direction if step == 0 else fma(undamped, direction, slots[0, j] * momentum)
            new_slots[0, j] = velocity
            within = within and abs(velocity) <= limit
            direction = fma(momentum, velocity, direction) if nesterov else velocity
        else:
            new_slots[0, j] = slots[0, j]
        new_w[j] = fma(rate, direction, w[j])
        within = within and abs(rate * direction) <= limit and abs(new_w[j]) <= limit
    return within


@part
def _update_adam(w, slots, products, gradient, lr, hyper, n_decayed, decoupled, new_w, new_slots, new_products, limit):
    """torch.optim.Adam and AdamW. hyper: beta1, beta2, eps, weight_decay, amsgrad, maximize."""
    never_inline()
    number = w.dtype.type
    one = number(1.0)
    beta1, beta2 = hyper[0], hyper[1]
    share, keep_square, square_share = number(1.0 - beta1), number(beta2), number(1.0 - beta2)
    eps, decay, shrink = number(hyper[2]), number(hyper[3]), number(1.0 - lr * hyper[3])
    amsgrad, maximize = hyper[4] != 0.0, hyper[5] != 0.0
    new_products[0] = products[0] * beta1
    new_products[1] = products[1] * beta2
    rate = number(-(lr / (1.0 - new_products[0])))
    correction = number(math.sqrt(1.0 - new_products[1]))
    within = True
    for j in range(len(w)):
        direction, start = gradient[j], w[j]
        if maximize:
            direction = -direction
        if hyper[3] != 0.0 and j < n_decayed:
            if decoupled:
                start = start * shrink
            else:
                direction = fma(decay, start, direction)
        average = _lerp(slots[0, j], direction, share, one)
        square = fma(square_share * direction, direction, slots[1, j] * keep_square)
        new_slots[0, j], new_slots[1, j] = average, square
        largest = slots[2, j]
        if amsgrad:
            if square > largest or square != square:
                largest = square
            square = largest
        new_slots[2, j] = largest
        product = rate * average
        move = product / (math.sqrt(square) / correction + eps)
        new_w[j] = start + move
        within &= (abs(average) <= limit) & (abs(new_slots[1, j]) <= limit) & (abs(square) <= limit)
        within &= (abs(product) <= limit) & (abs(move) <= limit) & (abs(new_w[j]) <= limit)
    return within


@part
def _update_rmsprop(w, slots, gradient, lr, hyper, n_decayed, new_w, new_slots, limit):
    """torch.optim.RMSprop. hyper: alpha, eps, weight_decay, momentum, centered, maximize."""
    never_inline()
    number = w.dtype.type
    one = number(1.0)
    keep, share, eps = number(hyper[0]), number(1.0 - hyper[0]), number(hyper[1])
    decay, momentum = number(hyper[2]), number(hyper[3])
    centered, maximize = hyper[4] != 0.0, hyper[5] != 0.0
    rate = number(-lr)
    within = True
    for j in range(len(w)):
        direction, average, buffer = gradient[j], slots[1, j], slots[2, j]
        if maximize:
            direction = -direction
        if hyper[2] != 0.0 and j < n_decayed:
            direction = fma(decay, w[j], direction)
        square = fma(share * direction, direction, slots[0, j] * keep)
        variance = square
        if centered:
            average = _lerp(average, direction, share, one)
            variance = fma(-average, average, square)
            within &= (abs(average) <= limit) & (abs(variance) <= limit)
        root = math.sqrt(variance) + eps
        if hyper[3] > 0.0:
            buffer = buffer * momentum + direction / root
            product = rate * buffer
            move = product
            new_w[j] = fma(rate, buffer, w[j])
            within &= abs(buffer) <= limit
        else:
            product = rate * direction
            move = product / root
            new_w[j] = w[j] + move
        new_slots[0, j], new_slots[1, j], new_slots[2, j] = square, average, buffer
        within &= (abs(square) <= limit) & (abs(product) <= limit) & (abs(move) <= limit) & (abs(new_w[j]) <= limit)
    return within


@part
def _update_adagrad(w, slots, gradient, lr, hyper, n_decayed, step, new_w, new_slots, limit):
    """torch.optim.Adagrad.

    hyper: lr_decay, weight_decay, initial_accumulator_value, eps, maximize.
    """
    never_inline()
    number = w.dtype.type
    decay, start, eps = number(hyper[1]), number(hyper[2]), number(hyper[3])
    maximize = hyper[4] != 0.0
    rate = number(-(lr / (1.0 + float(step) * hyper[0])))
    within = True
    for j in range(len(w)):
        direction = gradient[j]
        if maximize:
            direction = -direction
        if hyper[1] != 0.0 and j < n_decayed:
            direction = fma(decay, w[j], direction)
        total = fma(direction, direction, start if step == 0 else slots[0, j])
        new_slots[0, j] = total
        product = rate * direction
        move = product / (math.sqrt(total) + eps)
        new_w[j] = w[j] + move
        within &= (abs(total) <= limit) & (abs(product) <= limit) & (abs(move) <= limit) & (abs(new_w[j]) <= limit)
    return within


@part
def _update_nadam(w, slots, products, gradient, lr, hyper, n_decayed, new_w, new_slots, new_products, limit):
    """torch.optim.NAdam.

    hyper: beta1, beta2, eps, weight_decay, momentum_decay, decoupled_weight_decay, maximize;
    derived: decay.
    """
    never_inline()
    number = w.dtype.type
    one = number(1.0)
    beta1, beta2, decay = hyper[0], hyper[1], hyper[7]
    share, keep_square, square_share = number(1.0 - beta1), number(beta2), number(1.0 - beta2)
    eps, penalty, shrink = number(hyper[2]), number(hyper[3]), number(1.0 - lr * hyper[3])
    decoupled, maximize = hyper[5] != 0.0, hyper[6] != 0.0
    decay_product = products[2] * decay
    mu = beta1 * (1.0 - 0.5 * decay_product)
    next_mu = beta1 * (1.0 - 0.5 * (decay_product * decay))
    mu_product = products[1] * mu
    new_products[0], new_products[1], new_products[2] = products[0] * beta2, mu_product, decay_product
    correction = number(1.0 - new_products[0])
    of_gradient = number(-lr * (1.0 - mu) / (1.0 - mu_product))
    of_average = number(-lr * next_mu / (1.0 - mu_product * next_mu))
    within = True
    for j in range(len(w)):
        direction, start = gradient[j], w[j]
        if maximize:
            direction = -direction
        if hyper[3] != 0.0 and j < n_decayed:
            if decoupled:
                start = start * shrink
            else:
                direction = fma(penalty, start, direction)
        average = _lerp(slots[0, j], direction, share, one)
        square = fma(square_share * direction, direction, slots[1, j] * keep_square)
        new_slots[0, j], new_slots[1, j] = average, square
        corrected = square / correction
        root = math.sqrt(corrected) + eps
        product, other_product = of_gradient * direction, of_average * average
        move, other_move = product / root, other_product / root
        new_w[j] = (start + move) + other_move
        within &= (abs(average) <= limit) & (abs(square) <= limit) & (abs(corrected) <= limit)
        within &= (abs(product) <= limit) & (abs(other_product) <= limit)
        within &= (abs(move) <= limit) & (abs(other_move) <= limit) & (abs(new_w[j]) <= limit)
    return within


@part
def _update_adadelta(w, slots, gradient, lr, hyper, n_decayed, new_w, new_slots, limit):
    """torch.optim.Adadelta. hyper: rho, eps, weight_decay, maximize."""
    never_inline()
    number = w.dtype.type
    keep, share, eps, decay = number(hyper[0]), number(1.0 - hyper[0]), number(hyper[1]), number(hyper[2])
    maximize = hyper[3] != 0.0
    rate = number(-lr)
    within = True
    for j in range(len(w)):
        direction = gradient[j]
        if maximize:
            direction = -direction
        if hyper[2] != 0.0 and j < n_decayed:
            direction = fma(decay, w[j], direction)
        square = fma(share * direction, direction, slots[0, j] * keep)
        ratio = math.sqrt(slots[1, j] + eps) / math.sqrt(square + eps)
        move = ratio * direction
        moves = fma(share * move, move, slots[1, j] * keep)
        new_slots[0, j], new_slots[1, j] = square, moves
        new_w[j] = fma(rate, move, w[j])
        within &= (abs(square) <= limit) & (abs(ratio) <= limit) & (abs(move) <= limit) & (abs(moves) <= limit)
        within &= (abs(rate * move) <= limit) & (abs(new_w[j]) <= limit)
    return within


@part
def _update_adamax(w, slots, products, gradient, lr, hyper, n_decayed, new_w, new_slots, new_products, limit):
    """torch.optim.Adamax. hyper: beta1, beta2, eps, weight_decay, maximize."""
    never_inline()
    number = w.dtype.type
    one = number(1.0)
    share, keep, eps, decay = number(1.0 - hyper[0]), number(hyper[1]), number(hyper[2]), number(hyper[3])
    maximize = hyper[4] != 0.0
    new_products[0] = products[0] * hyper[0]
    rate = number(-(lr / (1.0 - new_products[0])))
    within = True
    for j in range(len(w)):
        direction = gradient[j]
        if maximize:
            direction = -direction
        if hyper[3] != 0.0 and j < n_decayed:
            direction = fma(decay, w[j], direction)
        average = _lerp(slots[0, j], direction, share, one)
        size, now = slots[1, j] * keep, abs(direction) + eps
        if not (size > now or size != size):
            size = now
        new_slots[0, j], new_slots[1, j] = average, size
        product = rate * average
        move = product / size
        new_w[j] = w[j] + move
        within &= (abs(average) <= limit) & (abs(size) <= limit)
        within &= (abs(product) <= limit) & (abs(move) <= limit) & (abs(new_w[j]) <= limit)
    return within


@inlined
def update(rule, w, slots, products, gradient, lr, hyper, n_decayed, step, new_w, new_slots, new_products, limit):
    """One step of the rule with this code. An unknown code gives NaN: no fit stands still.

    n_decayed: how many parameters weight decay acts on, the first ones.
    """
    if rule == SGD:
        return _update_sgd(w, slots, gradient, lr, hyper, n_decayed, step, new_w, new_slots, limit)
    if rule in (ADAM, ADAMW):
        return _update_adam(w, slots, products, gradient, lr, hyper, n_decayed, rule == ADAMW, new_w, new_slots, new_products, limit)
    if rule == RMSPROP:
        return _update_rmsprop(w, slots, gradient, lr, hyper, n_decayed, new_w, new_slots, limit)
    if rule == ADAGRAD:
        return _update_adagrad(w, slots, gradient, lr, hyper, n_decayed, step, new_w, new_slots, limit)
    if rule == NADAM:
        return _update_nadam(w, slots, products, gradient, lr, hyper, n_decayed, new_w, new_slots, new_products, limit)
    if rule == ADADELTA:
        return _update_adadelta(w, slots, gradient, lr, hyper, n_decayed, new_w, new_slots, limit)
    if rule == ADAMAX:
        return _update_adamax(w, slots, products, gradient, lr, hyper, n_decayed, new_w, new_slots, new_products, limit)
    for j in range(len(w)):
        new_w[j] = math.nan
    return False
