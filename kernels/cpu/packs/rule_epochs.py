"""Unchecked blocks of every rule but plain SGD: run_pack.py, 4, with what a rule remembers.

A step asks for its own limits in any case: that costs little beside its roots and divisions. What
is left out is the loss, its limit, and a next state beside the present one. The rows of w must not
pass the safe size, with which no loss passes its limit. Where all lanes have momentum, and nothing
else, the epochs are those of plain_epochs.py.
"""

from __future__ import annotations

from ..descent.update import SGD
from ..simd.addresses import further
from ..simd.compiling import inlined, part
from ..simd.lanes import ALL, LANES, absolute, fill, load, store, store_rounded
from ..simd.masks import as_bits, at_most, both
from ..simd.scalars import is_double
from .gradient import evaluate_pack, loss_of
from .plain_epochs import MOST_UNROLLED, momentum_epochs
from .rule_state import begin_step
from .state import EPOCHS, LARGEST, LARGEST_VELOCITY, MODERATE_W_SAFE, W_MOST, W_SAFE
from .update_lanes import Step, update_lanes


@inlined
def next_step(scratch):
    """A step whose new state lies beside the present one."""
    return Step(scratch.gradient, scratch.w, scratch.slots, scratch.next_w, scratch.next_slots, scratch.values, scratch.constants)


@inlined
def _step_in_place(scratch):
    return Step(scratch.gradient, scratch.w, scratch.slots, scratch.w, scratch.slots, scratch.values, scratch.constants)


@inlined
def _copy_rows(n_rows, source, target):
    for row in range(0, n_rows * LANES, LANES):
        store(target, row, load(source, row))


@inlined
def _save_state(size, options, scratch):
    of_slots = options.n_slots * size
    _copy_rows(size, scratch.w, scratch.before)
    _copy_rows(of_slots, scratch.slots, further(scratch.before, size * LANES))
    _copy_rows(options.n_products, scratch.products, further(scratch.before, (size + of_slots) * LANES))


@inlined
def restore_state(size, options, scratch):
    """What the pack remembered when the block began; slots and products plain SGD has none."""
    of_slots = options.n_slots * size
    _copy_rows(size, scratch.before, scratch.w)
    _copy_rows(of_slots, further(scratch.before, size * LANES), scratch.slots)
    _copy_rows(options.n_products, further(scratch.before, (size + of_slots) * LANES), scratch.products)


@inlined
def _are_below(size, most, scratch):
    """The mask of the lanes in which no |w| is above `most`, and none NaN."""
    within = at_most(absolute(load(scratch.w, 0)), most)
    for j in range(1, size):
        within = both(within, at_most(absolute(load(scratch.w, j * LANES)), most))
    return as_bits(within)


@part
def run_unchecked(rule, size, epoch, number, rate_step, stored, recorded, limits_known, shared, switches, options, scratch):
    """Make `number` epochs, from `epoch` on, and collect their rows where `recorded`.

    Returns the mask of the lanes that stayed within all limits: those of the others are undone by
    `restore_state`. rate_step: how many rows of rates an epoch is further on, 0 or 1. shared: as of
    `evaluate_pack`.
    """
    constants, rows = scratch.constants, scratch.rows
    losses = further(rows, EPOCHS * size * LANES)
    _save_state(size, options, scratch)
    most = load(constants, W_SAFE * LANES) if limits_known else fill(MODERATE_W_SAFE)
    store(constants, W_MOST * LANES, most)
    stayed = _are_below(size, most, scratch)
    doubled = is_double(rows)
    unrolled = not doubled and size <= MOST_UNROLLED and rule == SGD and not options.moves
    unrolled = unrolled and switches.momentum == ALL and switches.maximize == 0 and switches.decay == 0
    one_by_one = number
    if unrolled:  # the first step, which may be a fit's first, is not
        one_by_one = 1 if epoch == 0 else 0
    for e in range(one_by_one):
        value = evaluate_pack(size, doubled, shared, recorded, scratch)
        if recorded:
            store_rounded(losses, (stored + e) * LANES, loss_of(value, doubled, False, constants))
            for j in range(size):
                store_rounded(rows, ((stored + e) * size + j) * LANES, load(scratch.w, j * LANES))
        rate = further(scratch.rates, e * rate_step * LANES)
        begin_step(rule, epoch + e, rate, options.moves, scratch.products, scratch.products, scratch.values)
        stayed &= update_lanes(rule, size, options.limit, switches, _step_in_place(scratch))
    if unrolled and not doubled:
        store(constants, LARGEST * LANES, fill(0.0))
        store(constants, LARGEST_VELOCITY * LANES, fill(0.0))
        begin = stored + one_by_one
        momentum_epochs(
            scratch.grams, scratch.targets, scratch.w, constants, further(scratch.rates, one_by_one * rate_step * LANES), rate_step,
            further(rows, begin * size * LANES), further(losses, begin * LANES), size, number - one_by_one, recorded, scratch.slots,
            scratch.values,
        )  # fmt: skip
        within = both(
            at_most(load(constants, LARGEST * LANES), most),
            at_most(load(constants, LARGEST_VELOCITY * LANES), fill(options.limit)),
        )
        stayed &= as_bits(within) & _are_below(size, most, scratch)
    return stayed
