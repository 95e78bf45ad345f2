"""descend_packs and descend_rule_packs: fits on moments, 32 at a time.

A fit that cannot run in a pack, or not to its end, is handed over to descent/fit_by_fit.py. Fits of
a single feature need no records: their packs can take the moments from the samples.
"""

from __future__ import annotations

import numpy as np

from ..descent.fit_by_fit import NOT_RUN
from ..descent.limits import LIMIT_FLOAT32, LIMIT_FLOAT64
from ..moments.samples import sources_of
from ..moments.single_feature import SCRATCH, Series, make_series
from ..simd.addresses import address, keep_alive
from ..simd.arrays import new_empty, new_zeros
from ..simd.compiling import kernel
from ..simd.lanes import LANES
from ..simd.scalars import fence, is_double
from .least import addresses_of_least, make_least_scratch
from .plain_epochs import MOST_UNROLLED, MOST_UNROLLED_DOUBLED
from .results import hand_over
from .rule_state import N_VALUES
from .run_pack import CANCELLED, NOT_FINITE, RUN, run_pack
from .state import SMALLEST_PACK, Options, Records, Results, SampleSource, addresses_of, can_join_a_pack, make_scratch

LEAST_STAGED = 2**21  # bytes of a history that is beyond the cache: see results.py, 2
MOST_STAGED = 2**20  # bytes of one pack's history, which must stay in the cache


def _descending(plain: bool):
    """A function for a kernel; plain is a constant in it, by which Numba leaves out one half."""

    def descend(
        from_samples, least_needed, data, index, n_used, d, intercept, n_decayed, reduction_sum,
        rule, lr, momenta, hyper, epochs, tol, every, gram, gram_index, target, target_index, exponents, weighing,
        w, slots, products, steps, algorithm, status,
        w_out, loss_out, epochs_run, history_w, history_loss, penalty, least, allowance, initial_excess, excess,
        handed_over, handed_over_losses, noted, noted_grams, cancel, progress,
    ):  # fmt: skip
        """Run those fits of a chunk that can run in packs; plain: of plain SGD.

        Arguments as in fit_by_fit.descend. from_samples: the moments are made from the samples of
        one feature (is_single_feature), not read. Returns how many fits are handed over.
        handed_over[k] is the fit, its epoch (or NOT_RUN), and whether that epoch's row of the
        history is done; handed_over_losses[k] the loss of that epoch. Where the excess is asked
        for, κ and F* of fits that are handed over after they began are written too, with a tol
        those of all, and ρ. least_needed: fits whose F* is doubtful are handed over before their
        first epoch (from samples they are not). noted (k,) int64, noted_grams (k, D(D+1)/2): of
        these fits the Gram matrices are written there, from samples. Returns −1 where some sample
        is not finite: then the state is not what it was.
        """
        size, n_fits, n_rows = w.shape[1], len(n_used), history_loss.shape[1]
        doubled = is_double(data[0])
        n_handed_over, n_noted = new_zeros(1, np.int64), new_zeros(1, np.int64)
        n_slots, n_products, n_values = 0, 0, 0
        if not plain:
            n_slots, n_products, n_values = slots.shape[1], products.shape[1], N_VALUES
        scratch, sums = make_scratch(size, n_slots, n_products, n_values, doubled, data[0].dtype), new_zeros(SCRATCH, np.float64)
        least_scratch = make_least_scratch(size if len(excess) > 0 else 0, doubled)
        fits, count = new_zeros(LANES, np.int64), 0  # of the pack that is being filled
        smallest = SMALLEST_PACK[min(size, len(SMALLEST_PACK) - 1)]
        if plain:
            smallest = 1 if tol < 0.0 and size <= (MOST_UNROLLED_DOUBLED if doubled else MOST_UNROLLED) else smallest
        smallest = 1 if from_samples else smallest  # fit_by_fit.py needs records
        records = Records(
            address(gram), address(gram_index), address(target), address(target_index), address(exponents), address(weighing),
        )  # fmt: skip
        sources, longest = sources_of(data, index), 0
        for f in range(n_fits if from_samples else 0):
            longest = max(longest, n_used[f])
        x_series, y_series, row = make_series(sources, longest, data[0].dtype, False)
        source = SampleSource(
            from_samples, sources, address(n_used), intercept, address(sums), Series(address(x_series), address(y_series), row, False),
            addresses_of_least(least_scratch), address(noted), len(noted), address(noted_grams), address(n_noted),
        )  # fmt: skip
        options = Options(
            n_slots, n_products, address(lr), lr.shape[0], lr.shape[1], address(momenta), len(momenta) > 0, address(hyper), hyper.shape[1],
            len(hyper) > 1, n_decayed, reduction_sum,
            LIMIT_FLOAT64 if doubled else LIMIT_FLOAT32, epochs, tol, every, len(excess) > 0,
            least_needed and not from_samples,
        )  # fmt: skip
        results = Results(
            address(w), address(slots), address(products), address(steps), address(algorithm), address(status), address(w_out),
            address(loss_out), address(epochs_run), address(history_w), address(history_loss), address(penalty), address(least),
            address(allowance), address(initial_excess), address(excess), address(handed_over), address(handed_over_losses),
            address(n_handed_over),
        )  # fmt: skip
        to_fits, to_scratch, flag, counter = address(fits), addresses_of(scratch), address(cancel), address(progress)
        of_pack, of_chunk = LANES * n_rows * (size + 1), n_fits * n_rows * (size + 1)  # numbers of the history
        is_staged = of_pack * w_out.itemsize <= MOST_STAGED and of_chunk * w_out.itemsize >= LEAST_STAGED
        staged = new_empty(of_pack if is_staged else 0, data[0].dtype)
        staging = address(staged), is_staged
        outcome = CANCELLED
        for f in range(n_fits):
            if can_join_a_pack(algorithm[f], status[f]):
                fits[count] = f
                count += 1
            else:
                hand_over(f, NOT_RUN, 0, results)
            last = f == n_fits - 1
            if count == LANES or (last and count >= smallest):
                if plain:
                    outcome = run_pack(
                        None, True, to_fits, count, size, records, source, options, n_rows, results, staging, to_scratch, flag, counter
                    )
                else:
                    outcome = run_pack(
                        rule, None, to_fits, count, size, records, source, options, n_rows, results, staging, to_scratch, flag, counter
                    )
                if outcome != RUN:
                    break
                count = 0
            elif last:
                for k in range(count):
                    hand_over(fits[k], NOT_RUN, 0, results)
        keep_alive((data, index, n_used, lr, momenta, hyper, gram, gram_index, target, target_index, exponents, weighing))
        keep_alive((w, slots, products, steps, algorithm, status))
        if is_staged:
            fence()
        keep_alive((w_out, loss_out, epochs_run, history_w, history_loss, handed_over, handed_over_losses, n_handed_over))
        keep_alive((penalty, least, allowance, initial_excess, excess))
        keep_alive((noted, noted_grams, n_noted))
        keep_alive((fits, scratch, sums, x_series, y_series, least_scratch, staged, cancel, progress))
        return -1 if outcome == NOT_FINITE else n_handed_over[0]

    descend.__name__ = "descend_packs" if plain else "descend_rule_packs"
    return descend


descend_packs = kernel(_descending(plain=True))
descend_rule_packs = kernel(_descending(plain=False))  # of all other rules, and of SGD with momentum, decay, maximize or momenta
