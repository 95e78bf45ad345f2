"""What the fits of a pack remember and were given for their update rule, a row for each number.

1. Rows 0 … of `values` are the hyperparameters, in the order of the rule's row in
   kernels/update_rules.py, then its derived values. The rows after them are what the steps take:
   some are the same in all epochs (`_set_values`), the others are made anew in each (`begin_step`).
   Where momentum or beta1 moves, its row is of the step, and so is what follows from it.
2. The operations of `begin_step` are those of descent/update.py on scalars, in the same order.
3. Options differ between fits. A `Switches` tells which of them some fit has; where no fit has one,
   its operations are left out, and where some have, the lanes of the others choose the old number.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ...update_rules import UPDATE_RULES
from ..descent.update import ADAGRAD, ADAM, ADAMAX, ADAMW, HAS_POWER, MOVING_AT, NADAM, SGD, power_of
from ..simd.addresses import count_at, further
from ..simd.compiling import inlined, part
from ..simd.lanes import ALL, LANES, add, divide, fill, load, multiply, root, store, subtract
from ..simd.masks import at_most, below, both, choose
from ..simd.scalars import get, move, put
from .state import DECAY, EPOCHS

# Rows of `values` after the hyperparameters and derived values, of which no rule has more than 8.
SIGN = 8  # of the gradient: −1 where the objective is maximised
SHARE = 9  # 1 − the first rate of decay; of SGD 1 − dampening
TOWARDS = 10  # the weight of `_lerp` from the nearer end: SHARE where that is below ½, else SHARE − 1
SQUARE_SHARE = 11  # 1 − the second rate of decay
STEPS = 12  # made before the first epoch
# of the step:
FIRST = 13  # 1 where it is the fit's first
SHRINK = 14  # what w is multiplied by: 1 − lr · weight_decay where that is decoupled
RATE = 15  # −lr, with the rule's correction
CORRECTION = 16
RATE_OF_AVERAGE = 17  # of NAdam's second move
OWN_MOMENTUM = 18  # the hyperparameter that a momentum replaces, as it was given
POWER = 19  # the product of beta1 before the step
INVERSE = 20  # 1 / CORRECTION, of Adam and AdamW
N_VALUES = 21


_BY_CODE = sorted(UPDATE_RULES.values(), key=lambda rule: rule.code)


def _places(name: str) -> tuple[int, ...]:
    """Where each rule has a hyperparameter; where it has none, −1."""
    return tuple([*rule.hyperparameters].index(name) if name in rule.hyperparameters else -1 for rule in _BY_CODE)


_DECAY_AT, _MAXIMIZE_AT, _MOMENTUM_AT = _places("weight_decay"), _places("maximize"), _places("momentum")
_OWN_AT = tuple(map(max, _places("nesterov"), _places("amsgrad"), _places("centered")))
_ALWAYS_DECOUPLED, _DECOUPLED_AT = tuple(rule.decoupled is True for rule in _BY_CODE), _places("decoupled_weight_decay")
_DAMPENING_OF_SGD, _LR_DECAY_OF_ADAGRAD, _DECAY_OF_NADAM = 1, 0, 7


class Switches(NamedTuple):
    """Which options some fit of a pack has: each a mask, bit l for lane l."""

    maximize: Any
    decay: Any  # weight decay that is part of the gradient
    momentum: Any
    own: Any  # what only the rule has: nesterov, amsgrad, centered
    n_decayed: Any  # not a mask: parameters that weight decay acts on, the first ones


@inlined
def _value(at, lane, values):
    """Hyperparameter `at` of a lane; 0 where the rule has none."""
    return get(values, at * LANES + lane) if at >= 0 else 0.0


@part
def load_rule(rule, fits, count, size, options, results, scratch):
    """Fill slots, products, and the values that no step changes. Returns the Switches.

    Of a code that no rule has nothing is filled: `update_lanes` hands all its fits over.
    """
    values, constants, n_slots, n_products = scratch.values, scratch.constants, options.n_slots, options.n_products
    maximize, decay, momentum, own = 0, 0, 0, 0
    if not 0 <= rule < len(_DECAY_AT):  # a tuple's end is not checked
        return Switches(maximize, decay, momentum, own, options.n_decayed)
    decay_at, maximize_at, momentum_at, own_at = _DECAY_AT[rule], _MAXIMIZE_AT[rule], _MOMENTUM_AT[rule], _OWN_AT[rule]
    always_decoupled, decoupled_at = _ALWAYS_DECOUPLED[rule], _DECOUPLED_AT[rule]
    for lane in range(LANES):
        f = count_at(fits, lane if lane < count else 0)
        for k in range(n_slots * size):
            move(results.slots, f * n_slots * size + k, scratch.slots, k * LANES + lane)
        for k in range(n_products):
            move(results.products, f * n_products + k, scratch.products, k * LANES + lane)
        h = f * options.n_hyper if options.own_hyper else 0
        for k in range(options.n_hyper):
            move(options.hyper, h + k, values, k * LANES + lane)
        put(values, STEPS * LANES + lane, float(count_at(results.steps, f)))
        decoupled = always_decoupled or _value(decoupled_at, lane, values) != 0.0
        coupled = 0.0 if decoupled else _value(decay_at, lane, values)
        put(constants, DECAY * LANES + lane, coupled)
        negative = _value(maximize_at, lane, values) != 0.0
        put(values, SIGN * LANES + lane, -1.0 if negative else 1.0)
        maximize |= (1 if negative else 0) << lane
        decay |= (1 if coupled != 0.0 else 0) << lane
        momentum |= (1 if _value(momentum_at, lane, values) != 0.0 else 0) << lane
        own |= (1 if _value(own_at, lane, values) != 0.0 else 0) << lane
    if options.moves:
        momentum = ALL
        store(values, OWN_MOMENTUM * LANES, load(values, max(MOVING_AT[rule], 0) * LANES))
    _set_values(rule, values)
    return Switches(maximize, decay, momentum, own, options.n_decayed)


@inlined
def _set_values(rule, values):
    """Fill the rows that follow from the hyperparameters alone."""
    one = fill(1.0)
    share = subtract(one, load(values, (_DAMPENING_OF_SGD if rule == SGD else 0) * LANES))
    store(values, SHARE * LANES, share)
    store(values, TOWARDS * LANES, choose(below(share, fill(0.5)), share, subtract(share, one)))
    store(values, SQUARE_SHARE * LANES, subtract(one, load(values, LANES)))


@inlined
def _is_zero(value):
    return both(at_most(value, fill(0.0)), at_most(fill(0.0), value))


@part
def _enter_momenta(rule, epoch, momenta, products, values):
    """Give each lane the momentum, or beta1, of its step, and the product that comes before it.

    momenta: the address of a row; a NaN leaves its lane as it was given.
    """
    given = load(momenta, 0)
    moves = at_most(given, given)
    store(values, MOVING_AT[rule] * LANES, choose(moves, given, load(values, OWN_MOMENTUM * LANES)))
    _set_values(rule, values)
    if not HAS_POWER[rule]:
        return
    beta, exponent, power = math.nan, 0, math.nan
    for lane in range(LANES):
        own, steps = get(momenta, lane), np.int64(get(values, STEPS * LANES + lane)) + epoch
        if not (own == beta and steps == exponent):  # else that of the lane before
            beta, exponent = own, steps
            power = power_of(beta, exponent)
        put(values, POWER * LANES + lane, power)
    store(values, POWER * LANES, choose(moves, load(values, POWER * LANES), load(products, 0)))


@inlined
def _power_before(moves, products, values):
    """The product of beta1 before the step."""
    before = load(products, 0)
    if moves:
        before = load(values, POWER * LANES)
    return before


@part
def begin_step(rule, epoch, rate, moves, products, next_products, values):
    """Fill the rows of the step, and the products after it.

    rate: the address of −lr. moves: whether there is a momentum, EPOCHS rows further on. products
    and next_products: addresses, which may be the same.
    """
    if moves and 0 <= rule < len(MOVING_AT) and MOVING_AT[rule] >= 0:
        _enter_momenta(rule, epoch, further(rate, EPOCHS * LANES), products, values)
    one, zero, rate = fill(1.0), fill(0.0), load(rate, 0)
    steps = add(load(values, STEPS * LANES), fill(float(epoch)))
    store(values, FIRST * LANES, choose(_is_zero(steps), one, zero))
    if rule in (ADAM, ADAMW):
        if rule == ADAMW:
            store(values, SHRINK * LANES, add(one, multiply(rate, load(values, _DECAY_AT[ADAMW] * LANES))))
        first, second = (
            multiply(_power_before(moves, products, values), load(values, 0)),
            multiply(load(products, LANES), load(values, LANES)),
        )
        store(next_products, 0, first)
        store(next_products, LANES, second)
        rate = divide(rate, subtract(one, first))
        correction = root(subtract(one, second))
        store(values, CORRECTION * LANES, correction)
        store(values, INVERSE * LANES, divide(one, correction))
    elif rule == ADAMAX:
        first = multiply(_power_before(moves, products, values), load(values, 0))
        store(next_products, 0, first)
        rate = divide(rate, subtract(one, first))
    elif rule == NADAM:
        shrink = add(one, multiply(rate, load(values, _DECAY_AT[NADAM] * LANES)))
        store(values, SHRINK * LANES, choose(_is_zero(load(values, _DECOUPLED_AT[NADAM] * LANES)), one, shrink))
        beta1, decay, half = load(values, 0), load(values, _DECAY_OF_NADAM * LANES), fill(0.5)
        square_product = multiply(load(products, 0), load(values, LANES))
        decay_product = multiply(load(products, 2 * LANES), decay)
        mu = multiply(beta1, subtract(one, multiply(half, decay_product)))
        next_mu = multiply(beta1, subtract(one, multiply(half, multiply(decay_product, decay))))
        mu_product = multiply(load(products, LANES), mu)
        store(next_products, 0, square_product)
        store(next_products, LANES, mu_product)
        store(next_products, 2 * LANES, decay_product)
        store(values, CORRECTION * LANES, subtract(one, square_product))
        of_average = divide(multiply(rate, next_mu), subtract(one, multiply(mu_product, next_mu)))
        store(values, RATE_OF_AVERAGE * LANES, of_average)
        rate = divide(multiply(rate, subtract(one, mu)), subtract(one, mu_product))
    elif rule == ADAGRAD:
        rate = divide(rate, add(one, multiply(steps, load(values, _LR_DECAY_OF_ADAGRAD * LANES))))
    store(values, RATE * LANES, rate)
