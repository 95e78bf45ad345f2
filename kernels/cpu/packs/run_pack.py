"""run_pack: all epochs of one pack, fit l in lane l of every vector (docs/arithmetic.md, 6, 8, 10).

1. The chain of operations of one fit waits for itself; 32 of them do not. Every operation is that
   of descent/evaluate.py and update.py in the same order, so the bits are the same. What differs
   between fits (options, limits, who has stopped) is a mask, not a branch.
2. A pack runs until all its epochs are done. A lane that has converged is frozen: its row, computed
   again, is the same row. A lane that would pass a limit is handed over with the state before the
   update, and fit_by_fit.py goes on with its samples.
3. Of float32 data L / W is rounded once without a division: with the reciprocal y of W rounded to
   nearest, q = L·y, twice q ← fma(fma(−q, W, L), y, q) (Markstein, 1990); near 2^-969 that is not
   so, but such a float32 loss is 0.
4. Plain SGD runs in *unchecked blocks* of epochs: nothing is tested on the way, only the largest
   |w| is noted. If it stayed below `w_safe` no epoch can have passed a limit; otherwise w is
   restored and the block is run again as *checked epochs*, one by one. An epoch of one parameter
   takes 0.15 ns a fit that way, 1.7 ns checked (benchmarks/NOTES.md, Special paths).
"""

from __future__ import annotations

from ...chunk import CONVERGED
from ..simd.addresses import count_at, further
from ..simd.compiling import inlined, part
from ..simd.lanes import ALL, LANES, absolute, fill, fma, load, multiply, negate, store, store_rounded
from ..simd.masks import as_bits, at_most, below, both, choose, from_bits
from ..simd.scalars import get, is_double, move, never_inline, put, raised
from .gradient import evaluate_pack, loss_of
from .measuring import begin_measuring, end_measuring, objective_of_lanes
from .plain_epochs import MOST_UNROLLED, MOST_UNROLLED_DOUBLED, plain_epochs, plain_epochs_doubled
from .results import hand_over_doubtful, hand_over_lanes, keep_losses, staged_results, write_ends, write_past_cache, write_rows
from .rule_epochs import next_step, restore_state, run_unchecked
from .rule_state import begin_step, load_rule
from .state import (
    EPOCHS,
    GOAL,
    LARGEST,
    LOSS_LIMIT,
    MODERATE_W_SAFE,
    OBJECTIVE,
    STOPPED,
    W_LIMIT,
    W_MOST,
    W_SAFE,
    are_neighbours,
    is_moderate,
    load_pack,
    load_pack_from_samples,
    set_limits,
)
from .update_lanes import update_lanes

POLL = 64  # epochs between two reads of the cancel flag
RUN, CANCELLED, NOT_FINITE = range(3)  # what became of a pack


@inlined
def _converged_before(fits, count, new, results, constants):
    """The mask of the lanes that stay where they are. new: all fits begin, so there are none."""
    converged = 0
    for lane in range(0 if new else LANES):
        if count_at(results.status, count_at(fits, lane if lane < count else 0)) == CONVERGED:
            converged |= 1 << lane
            put(constants, STOPPED * LANES + lane, 0.0)
    return converged


@inlined
def _update(size, limit, scratch):
    """One step of plain SGD in every lane, into next_w.

    Returns the mask of the lanes in which all numbers stayed within the limit.
    """
    rate, most = load(scratch.rates, 0), fill(limit)
    within = from_bits(ALL)
    for j in range(size):
        direction = load(scratch.gradient, j * LANES)
        new = fma(rate, direction, load(scratch.w, j * LANES))
        within = both(within, both(at_most(absolute(multiply(rate, direction)), most), at_most(absolute(new), most)))
        store(scratch.next_w, j * LANES, new)
    return as_bits(within)


@inlined
def _take_over(going, n_rows, next_rows, rows):
    """Take over the next state in the lanes that go on."""
    for row in range(0, n_rows * LANES, LANES):
        store(rows, row, choose(going, load(next_rows, row), load(rows, row)))


@part
def _set_rates(fits, count, options, epoch, number, rates):
    """Write −lr of `number` epochs, from `epoch` on; of one epoch where lr is the same in all.

    Returns how many rows further on the rate of the next epoch stands: 1 or 0.
    """
    never_inline()
    varies = options.n_rates > 1
    together = are_neighbours(fits, count)
    for e in range(number if varies else 1):
        begin = (epoch + e if varies else 0) * options.n_fits
        if together:
            store(rates, e * LANES, negate(load(options.lr, begin + count_at(fits, 0))))
            continue
        for lane in range(LANES):
            put(rates, e * LANES + lane, -get(options.lr, begin + count_at(fits, lane if lane < count else 0)))
    return 1 if varies else 0


@part
def _set_momenta(fits, count, options, epoch, number, rates):
    """Write the momenta of `number` epochs, from `epoch` on, EPOCHS rows after their rates."""
    never_inline()
    rows, varies = further(rates, EPOCHS * LANES), options.n_rates > 1
    for e in range(number if varies else 1):
        begin = (epoch + e if varies else 0) * options.n_fits
        for lane in range(LANES):
            move(options.momenta, begin + count_at(fits, lane if lane < count else 0), rows, e * LANES + lane)


@inlined
def _begin_block(size, scratch):
    """Save w, and begin the largest |w| with its size: plain SGD."""
    largest = fill(0.0)
    for j in range(size):
        w = load(scratch.w, j * LANES)
        store(scratch.before, j * LANES, w)
        length = absolute(w)
        largest = choose(at_most(length, largest), largest, length)  # a NaN is the largest
    store(scratch.constants, LARGEST * LANES, largest)


@inlined
def _stayed_below(w_safe, size, active, scratch):
    """Whether |w| stayed below w_safe in the active lanes since the block began; not with NaN."""
    fine = at_most(load(scratch.constants, LARGEST * LANES), w_safe)
    for j in range(size):
        fine = both(fine, at_most(absolute(load(scratch.w, j * LANES)), w_safe))
    return (active & ~as_bits(fine)) == 0


@inlined
def _stayed_below_w_safe(size, active, scratch):
    return _stayed_below(load(scratch.constants, W_SAFE * LANES), size, active, scratch)


@inlined
def _stayed_moderate(size, active, scratch):
    return _stayed_below(fill(MODERATE_W_SAFE), size, active, scratch)


@part
def _run_unchecked(size, number, rate_step, stored, recorded, shared, scratch):
    """An unchecked block of `number` epochs of plain SGD."""
    constants, rates, rows = scratch.constants, scratch.rates, scratch.rows
    losses, doubled = further(rows, EPOCHS * size * LANES), is_double(rows)
    if not doubled and size <= MOST_UNROLLED:
        plain_epochs(
            scratch.grams, scratch.targets, scratch.w, constants, rates, rate_step, further(rows, stored * size * LANES),
            further(losses, stored * LANES), size, number, recorded,
        )  # fmt: skip
        return
    if doubled and not recorded and size <= MOST_UNROLLED_DOUBLED:
        plain_epochs_doubled(
            scratch.grams, scratch.low_grams, scratch.targets, scratch.low_targets, scratch.scales, scratch.w, constants, rates,
            rate_step, size, number,
        )  # fmt: skip
        return
    most = load(constants, LARGEST * LANES)
    for e in range(number):
        value = evaluate_pack(size, doubled, shared, recorded, scratch)
        if recorded:
            store_rounded(losses, (stored + e) * LANES, loss_of(value, doubled, False, constants))
        rate = load(rates, e * rate_step * LANES)
        for j in range(size):
            w = load(scratch.w, j * LANES)
            if recorded:
                store_rounded(rows, ((stored + e) * size + j) * LANES, w)
            new = fma(rate, load(scratch.gradient, j * LANES), w)
            store(scratch.w, j * LANES, new)
            length = absolute(new)
            most = choose(below(most, length), length, most)
    store(constants, LARGEST * LANES, most)


@inlined
def _freeze_converged(epoch, going, constants):
    """The mask of the lanes of `going` whose objective has reached its goal, which stop here."""
    reached = going & as_bits(at_most(load(constants, OBJECTIVE * LANES), load(constants, GOAL * LANES)))
    if reached:
        for lane in range(LANES):
            if reached >> lane & 1:
                put(constants, STOPPED * LANES + lane, float(epoch))
    return reached


@part
def run_pack(rule, plain, fits, count, size, records, source, options, n_rows, results, staging, scratch, cancel, progress):
    """Run all epochs of fits[:count]: RUN, CANCELLED, or NOT_FINITE: then nothing was written.

    Of rule, its code, and plain one is None: Numba leaves out the other's branches. fits, cancel,
    progress are addresses; records (Records), source (SampleSource), options
    (Options), results (Results) and scratch (PackScratch) are described in state.py, staging in
    results.staged_results. n_rows: rows of the history of a fit.
    """
    epochs, tol, every, lr_varies = options.epochs, options.tol, options.every, options.n_rates > 1
    to_history_w, to_history_loss, first = results.history_w, results.history_loss, count_at(fits, 0)
    results, is_staged = staged_results(fits, count, size, n_rows, results, staging)
    history_w, history_loss = results.history_w, results.history_loss
    doubled = is_double(scratch.rows)
    constants, rates, rows = scratch.constants, scratch.rates, scratch.rows
    shared = False
    if not doubled and source.wanted:  # of float32 data alone (runs_single_feature)
        if not load_pack_from_samples(fits, count, size, options, source, results.w, scratch):
            return NOT_FINITE
    else:
        shared = load_pack(fits, count, size, records, options, results.w, scratch)
    losses = further(rows, EPOCHS * size * LANES)
    active = (1 << count) - 1  # lanes of fits that have not been handed over
    store(constants, STOPPED * LANES, fill(float(epochs)))
    frozen = _converged_before(fits, count, source.wanted, results, constants)
    maximizing, may_be_unchecked = 0, tol < 0.0 and frozen == 0
    if rule is not None:
        switches = load_rule(rule, fits, count, size, options, results, scratch)
        maximizing = switches.maximize
    measured = options.measured
    if measured:
        loss = loss_of(evaluate_pack(size, doubled, shared, True, scratch), doubled, True, constants)
        doubtful = begin_measuring(rule, fits, count, size, maximizing, loss, options, records, source, results, scratch)
        if options.least_needed and doubtful & active:
            hand_over_doubtful(fits, doubtful & active, results, constants)
            active &= ~doubtful
            if active == 0:
                return RUN
    unchecked = may_be_unchecked
    limits_known = not (unchecked and epochs > 0 and is_moderate(size, doubled, scratch))
    if limits_known:
        set_limits(size, doubled, options.limit, scratch)
        unchecked = unchecked and not doubled
    checked_until = 0  # epochs before this one are run one by one
    stored, row, told, epoch, polled = 0, 0, 0, 0, 0
    _set_rates(fits, count, options, 0, 1, rates)
    if rule is not None and options.moves:
        _set_momenta(fits, count, options, 0, 1, rates)
    while True:
        if epoch >= polled:
            polled = epoch + POLL
            if raised(cancel):
                return CANCELLED
            put(progress, 0, count_at(progress, 0) + (epoch - told) * count)
            told = epoch
        recorded = every > 0 and (epoch % every == 0 or epoch == epochs)
        if unchecked and epoch < epochs and epoch >= checked_until:
            number = min(EPOCHS - stored if recorded else EPOCHS if lr_varies else POLL, epochs - epoch)
            if every > 1:
                number = 1 if recorded else min(number, every - epoch % every)
            rate_step = _set_rates(fits, count, options, epoch, number, rates) if lr_varies else 0
            if rule is not None and lr_varies and options.moves:
                _set_momenta(fits, count, options, epoch, number, rates)
            is_valid = False
            if plain is not None:
                _begin_block(size, scratch)
                _run_unchecked(size, number, rate_step, stored, recorded, shared, scratch)
                if not limits_known and not _stayed_moderate(size, active, scratch):
                    set_limits(size, doubled, options.limit, scratch)
                    limits_known, unchecked = True, not doubled
                is_valid = not limits_known or (unchecked and _stayed_below_w_safe(size, active, scratch))
            if rule is not None:
                stayed = run_unchecked(
                    rule, size, epoch, number, rate_step, stored, recorded, limits_known, shared, switches, options, scratch
                )
                is_valid = (active & ~stayed) == 0
                if not (limits_known or is_valid):
                    set_limits(size, doubled, options.limit, scratch)
                    limits_known, unchecked = True, not doubled
            if is_valid:
                epoch += number
                stored += number if recorded else 0
                if stored == EPOCHS:
                    write_rows(fits, count, size, rows, row, stored, n_rows, history_w, history_loss)
                    row += stored
                    stored = 0
                continue
            checked_until = epoch + number
            restore_state(size, options, scratch)
        value = evaluate_pack(size, doubled, shared, True, scratch)
        exactly = measured and (tol >= 0.0 or epoch == epochs or (active & ~frozen) == 0)
        loss = loss_of(value, doubled, exactly, constants)
        if exactly:
            store(constants, OBJECTIVE * LANES, objective_of_lanes(rule, options.n_decayed, loss, scratch))
        leaving = 0
        if limits_known:  # else this is the last epoch, and all w before it stayed moderate
            within = at_most(loss, load(constants, LOSS_LIMIT * LANES))
            for j in range(size):
                within = both(within, at_most(absolute(load(scratch.w, j * LANES)), load(constants, W_LIMIT * LANES)))
            leaving = active & ~as_bits(within)
        if leaving:
            hand_over_lanes(fits, leaving, epoch, 0, size, options, scratch, results)
            active &= ~leaving
            if active == 0:
                break
        of_epoch = stored * LANES
        store_rounded(losses, of_epoch, loss)
        if tol >= 0.0 and epoch >= 1:
            frozen |= _freeze_converged(epoch, active & ~frozen, constants)
        ended = epoch == epochs or (active & ~frozen) == 0
        if recorded:
            for j in range(size):
                store_rounded(rows, (stored * size + j) * LANES, load(scratch.w, j * LANES))
            stored += 1
            if stored == EPOCHS:
                write_rows(fits, count, size, rows, row, stored, n_rows, history_w, history_loss)
                row += stored
                stored = 0
        if ended:
            keep_losses(losses, of_epoch, constants)
            break
        if lr_varies:
            _set_rates(fits, count, options, epoch, 1, rates)
            if rule is not None and options.moves:
                _set_momenta(fits, count, options, epoch, 1, rates)
        within_limit = 0
        if plain is not None:
            within_limit = _update(size, options.limit, scratch)
        if rule is not None:
            begin_step(rule, epoch, rates, options.moves, scratch.products, scratch.next_products, scratch.values)
            store(constants, W_MOST * LANES, fill(options.limit))
            within_limit = update_lanes(rule, size, options.limit, switches, next_step(scratch))
        leaving = active & ~frozen & ~within_limit
        if leaving:
            keep_losses(losses, of_epoch, constants)
            hand_over_lanes(fits, leaving, epoch, 1, size, options, scratch, results)
            active &= ~leaving
        going = from_bits(active & ~frozen)
        _take_over(going, size, scratch.next_w, scratch.w)
        if rule is not None:
            _take_over(going, options.n_slots * size, scratch.next_slots, scratch.slots)
            _take_over(going, options.n_products, scratch.next_products, scratch.products)
        epoch += 1
        if active == 0:
            break
    if stored:
        write_rows(fits, count, size, rows, row, stored, n_rows, history_w, history_loss)
        row += stored
    if measured:
        end_measuring(fits, count, active, constants, results)
    done = write_ends(fits, count, size, active, frozen, options, row, n_rows, scratch, results)
    if is_staged:
        write_past_cache(staging[0], further(to_history_w, first * n_rows * size), LANES * n_rows * size)
        write_past_cache(further(staging[0], LANES * n_rows * size), further(to_history_loss, first * n_rows), LANES * n_rows)
    put(progress, 0, count_at(progress, 0) + done - told * count)
    return RUN
