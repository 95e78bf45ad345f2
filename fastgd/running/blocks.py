"""Descending in blocks of epochs: after each the validation losses tell which fits have ended.

1. A block is a descent of some epochs from the state where the last one ended, which has the bits
   of one descent (`fit` with a state). So nothing depends on the length of blocks: it follows from
   the epochs that fits have left, and from what fits into `block_bytes`.
2. A fit that ends within a block descends from the block's begin once more, to its last epoch; with
   restore_best at the very end, from the begin of the block of its best epoch. Fits with different
   numbers of such epochs go together in steps of 1, 2, 4, … epochs.
3. A block has as many epochs as no fit can run out of patience in, a quarter of what was run, or
   16, whichever is most. So a fit that runs out of patience after t epochs takes part in at most
   1.25 t + 16 of them, and in a block's length more to go back to its last. Of mini-batches, whose
   epochs read all samples, a block is shorter where 16 epochs take longer than Python does between
   two blocks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ..kernels.chunk import COMPLETED, CONVERGED, DIVERGED, INVALID_DATA, STANDARD, STOPPED_EARLY, TOO_FEW_SAMPLES, Chunk, n_rows
from ..planning.job import FitJob
from ..planning.minibatches import rates_per_epoch
from .chunks import counted, rates_of_fits
from .least_values import forget_least_values
from .pool import Control
from .validating import Losses, Validator

SHORTEST = 16  # epochs of a block; the last one may be shorter
NUMBERS = 2**22  # that mini-batches read in some ms, where the Python of a block takes 0.5 ms
SHARE = 4  # a longer block has a quarter of the epochs that were run before it

_SAMPLES = ("x_index", "y_index", "weight_index", "kept_index")
_LEAST = ("penalty", "least", "allowance")  # of the first part: a fit that passed a limit goes on by its samples, without moments
_STATE = ("w", "slots", "products", "steps", "algorithm")

# descend(part, places, counter): runs all epochs of a part of a chunk, of the fits at these places;
# its results are in the caller's units
Descend = Callable[[Chunk, Any, np.ndarray], None]


def descend_chunk(
    job: FitJob, chunk: Chunk, first: int, validator: Validator | None, descend: Descend, control: Control, counter: np.ndarray
) -> None:
    """Run the epochs of a chunk that begins with fit `first`; with validation data in blocks."""
    if validator is None:
        descend(chunk, slice(None), counter)
        return
    descent = _Descent(job, chunk, first, validator.of_fits(first, first + len(chunk.w)), descend)
    descent.begin(counter)
    while len(descent.going) and not control.cancel[0]:
        descent.run_block(counter)
    if not control.cancel[0]:
        descent.finish()


def _state_of(chunk: Chunk) -> list[np.ndarray]:
    """The arrays, one row for each fit, that a descent goes on from."""
    return [getattr(chunk, name) for name in _STATE] + ([] if chunk.batches is None else [chunk.batches.passes])


class _Descent:
    """The fits of a chunk, of which those at the places `going` have not ended."""

    def __init__(self, job: FitJob, chunk: Chunk, first: int, losses: Losses, descend: Descend) -> None:
        assert job.stopping is not None
        self.job, self.chunk, self.first, self.losses, self.descend = job, chunk, first, losses, descend
        self.stopping, self.done, m = job.stopping, 0, len(chunk.w)
        own = slice(first, first + m)
        arrays = job.buffers.arrays
        forget_least_values(chunk, slice(None))
        self.val_loss, self.best_epoch, self.history = (arrays[name][own] for name in ("val_loss", "best_epoch", "history_val_loss"))
        self.best, self.waited = np.full(m, np.inf), np.zeros(m, np.int64)
        self.status, self.epochs, self.last = chunk.status.copy(), np.full(m, job.epochs), np.full(m, job.epochs)
        self.n_samples = chunk.n_used.copy()  # as parts are given them: a GPU leaves samples out for itself
        self.row_epochs = np.append(np.arange(0, job.epochs, job.every), job.epochs) if job.every else np.empty(0, np.int64)
        read = 0 if job.batches is None else job.problem.n_samples * job.problem.n_parameters
        self.shortest = max(1, min(SHORTEST, NUMBERS // max(1, read)))
        self.rates_per_epoch = rates_per_epoch(job.batches, job.problem.n_samples)
        self.going = np.flatnonzero(chunk.status != TOO_FEW_SAMPLES)
        # the states from which the best epochs are reached
        self.kept = [array.copy() for array in _state_of(chunk)] if self.stopping.restore_best else []
        self.kept_epoch = np.zeros(m, np.int64)
        self.best_epoch[:], self.val_loss[:], self.history[:], chunk.batch_loss[:] = 0, np.nan, np.nan, np.nan

    def begin(self, counter: np.ndarray) -> None:
        """Note the row of the start, and which fits end there."""
        going = self.going
        part = self._part(going, 0, every=int(self.job.every > 0))
        self.descend(part, going, np.zeros(1, np.int64))
        self._put(part, np.arange(len(going)), going)
        self.chunk.lr[:, going], self.chunk.n_used[going] = part.lr, part.n_used
        found = np.isin(part.status, (INVALID_DATA, TOO_FEW_SAMPLES))  # on a GPU only now
        self.status[going[found]] = part.status[found]
        few = self.status[going] == TOO_FEW_SAMPLES
        bad = ~few & ~np.isfinite(part.loss)
        self.epochs[going[bad]] = 0
        diverged = bad & (self.status[going] != INVALID_DATA)
        self.status[going[diverged]] = DIVERGED
        ends = few | (diverged & (self.stopping.patience is not None))
        if self.job.every:
            self._record(part, np.arange(len(going)), going, self.losses(going, part.history_w), np.where(ends, 0, -1))
        self.last[going[ends]] = 0
        self.going = going[~ends]
        counter[0] += (len(self.chunk.w) - len(self.going)) * self.job.epochs
        if self.job.epochs == 0:
            self.going = self.going[:0]

    def run_block(self, counter: np.ndarray) -> None:
        """Run some epochs of the fits that go on, and find out which of them end."""
        going, length = self.going, self._length()
        part = self._part(going, length, every=1)
        self.descend(part, going, counter)
        losses = self.losses(going, part.history_w[:, 1:])
        ends, improved = self._look(part, losses)
        self._record(part, np.arange(len(going)), going, np.concatenate([losses[:, :1], losses], axis=1), ends)
        self._record_batches(part, ends)
        if self.stopping.restore_best:
            self._keep(part, improved)
        inside = (ends >= 0) & (ends < length)
        whole = np.flatnonzero(~inside)
        self._put(part, whole, going[whole])
        best = self.best_epoch[going]
        returns = self.stopping.restore_best & (best > 0) & (best < self.done + ends)  # at the very end, to the best epoch
        back = inside & ~returns
        self._advance(going[back], ends[back])
        self.last[going[ends >= 0]] = self.done + ends[ends >= 0]
        self.done += length
        counter[0] += int((ends >= 0).sum()) * (self.job.epochs - self.done)
        self.going = going[ends < 0] if self.done < self.job.epochs else going[:0]

    def finish(self) -> None:
        """Return to the best epochs, and tell what became of each fit."""
        chunk, made = self.chunk, self.status != TOO_FEW_SAMPLES
        if self.stopping.restore_best:
            fits = np.flatnonzero(made & (self.best_epoch > 0) & (self.best_epoch < self.last))
            for array, kept in zip(_state_of(chunk), self.kept, strict=True):
                array[fits] = kept[fits]
            self._advance(fits, self.best_epoch[fits] - self.kept_epoch[fits], anew=True)
        places = np.flatnonzero(made)
        if len(places):
            self.val_loss[places] = self.losses(places, chunk.w_out[places, None])[:, 0]
        if self.job.standardize:  # a w that is not finite in the caller's units
            lost = made & ~np.isfinite(chunk.w_out).all(axis=1) & (self.status != INVALID_DATA)
            self.status[lost] = DIVERGED
        chunk.status[:] = self.status
        chunk.epochs_run[:] = self.epochs

    def _length(self) -> int:
        """How many epochs the next block has."""
        patience, left = self.stopping.patience, self.job.epochs - self.done
        if patience is not None:
            nobody_ends = patience - int(self.waited[self.going].max())
            left = min(left, max(nobody_ends, self.done // SHARE, self.shortest))
        row = len(self.going) * (self.chunk.w.shape[1] + 1) * self.chunk.w_out.itemsize
        if self.rates_per_epoch > 1 and self.job.schedule is not None:
            row += len(self.going) * 16 * self.rates_per_epoch
        return max(1, min(left, self.stopping.block_bytes // row))

    def _look(self, part: Chunk, losses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(the epoch of the block at which each fit ends, the last that improves it); −1: none.

        losses (k, length): of the validation data after each epoch.
        """
        going, patience, length = self.going, self.stopping.patience, part.epochs
        never = length + 1
        bad = ~np.isfinite(part.history_loss[:, 1:])
        first_bad = np.where(bad.any(axis=1), bad.argmax(axis=1) + 1, never)
        converged = np.where(part.status == CONVERGED, part.epochs_run, never)
        first_bad[self.status[going] != COMPLETED] = never  # it is known already
        limit = converged if patience is None else np.minimum(converged, first_bad)
        best, waited = self.best[going], self.waited[going]
        ends, improved = np.full((2, len(going)), -1)
        on = np.ones(len(going), bool)
        for epoch in range(1, length + 1):
            now = losses[:, epoch - 1].astype(np.float64)
            better = on & (now + self.stopping.min_delta < best)
            best[better], improved[better] = now[better], epoch
            waited = np.where(better, 0, waited + 1)
            stops = on & (limit == epoch)
            if patience is not None:
                stops |= on & ~better & (waited >= patience)
            if stops.any():
                ends[stops] = epoch
                on &= ~stops
                if not on.any():
                    break
        self.best[going], self.waited[going] = best, waited
        self.best_epoch[going] = np.where(improved > 0, self.done + improved, self.best_epoch[going])
        self._tell(first_bad, converged, ends, length)
        return ends, improved

    def _tell(self, first_bad: np.ndarray, converged: np.ndarray, ends: np.ndarray, length: int) -> None:
        """Note the status of fits that end, or are no longer finite."""
        going, status = self.going, self.status[self.going]
        known = status != COMPLETED  # INVALID_DATA, or DIVERGED and going on
        ended = (ends > 0) & ~known
        reached = np.where(ended, ends, length)
        for code, hit in ((STOPPED_EARLY, ended), (CONVERGED, ended & (converged == ends)), (DIVERGED, ~known & (first_bad <= reached))):
            status[hit] = code
        self.status[going] = status
        self.epochs[going[ended]] = self.done + ends[ended]
        lost = ~known & (status == DIVERGED)
        self.epochs[going[lost]] = self.done + first_bad[lost]

    def _record(self, part: Chunk, rows: np.ndarray, fits: np.ndarray, losses: np.ndarray, ends: np.ndarray) -> None:
        """Write the recorded epochs of a block; rows after the end of a fit are its last row.

        losses (k, length + 1): of the validation data at each row of the part.
        """
        first = 0 if part.epochs == 0 else self.done + 1
        for row in np.flatnonzero(self.row_epochs >= first):
            epoch = self.row_epochs[row] - self.done
            if epoch > part.epochs and not (ends >= 0).any():
                break
            at = np.where(ends >= 0, np.minimum(ends, epoch), epoch)
            some = np.flatnonzero(at <= part.epochs)
            here, at = rows[some], at[some]
            self.chunk.history_w[fits[some], row] = part.history_w[here, at]
            self.chunk.history_loss[fits[some], row] = part.history_loss[here, at]
            self.history[fits[some], row] = losses[here, at]

    def _record_batches(self, part: Chunk, ends: np.ndarray) -> None:
        """Write the losses of the batches of a block; after the end of a fit there are none."""
        width = part.batch_loss.shape[1]
        if width == 0:
            return  # nobody asks
        run = (ends < 0)[:, None] | (np.arange(width) < ends[:, None])
        self.chunk.batch_loss[self.going, self.done : self.done + width] = np.where(run, part.batch_loss, np.nan)

    def _keep(self, part: Chunk, improved: np.ndarray) -> None:
        """Keep the states from which the best epochs are reached."""
        at_end = improved == part.epochs
        for which, owner, rows in ((at_end, part, np.flatnonzero(at_end)), ((improved > 0) & ~at_end, self.chunk, None)):
            fits = self.going[which]
            for kept, array in zip(self.kept, _state_of(owner), strict=True):
                kept[fits] = array[fits if rows is None else rows]
            self.kept_epoch[fits] = self.done + (0 if rows is None else part.epochs)

    def _advance(self, fits: np.ndarray, epochs: np.ndarray, anew: bool = False) -> None:
        """Descend by a number of epochs that differs between the fits."""
        steps = [0, *(2**power for power in reversed(range(int(epochs.max(initial=0)).bit_length())))]
        for step in steps:
            some = fits[epochs & step > 0] if step else fits[epochs == 0]
            if len(some):
                part = self._part(some, step, every=0, anew=anew)
                self.descend(part, some, np.zeros(1, np.int64))
                self._put(part, np.arange(len(some)), some)

    def _part(self, fits: np.ndarray, epochs: int, every: int, anew: bool = False) -> Chunk:
        """Some fits, to go on from where they stand. anew: from before any diverged."""
        chunk, k, size = self.chunk, len(fits), self.chunk.w.shape[1]
        status = self.status[fits]
        goes_on = (status == INVALID_DATA) | ((status == DIVERGED) & (self.stopping.patience is None) & (not anew))
        dtype, rows = chunk.w_out.dtype, n_rows(epochs, every) or int(every > 0)
        lr, momenta = chunk.lr[:, fits], chunk.momenta
        if self.job.schedule is not None and epochs:
            count = epochs * self.rates_per_epoch
            lr, momenta = rates_of_fits(self.job, self.first + fits, lr[0], counted(chunk)[fits], count)
        one_row = chunk.hyper.strides[0] == 0
        hyper = np.broadcast_to(chunk.hyper[:1], (k, chunk.hyper.shape[1])) if one_row else chunk.hyper[fits]
        changed: dict[str, Any] = {name: getattr(chunk, name)[fits] for name in (*_SAMPLES, *_STATE)}
        if len(chunk.excess):
            changed |= {"initial_excess": chunk.initial_excess[fits], "excess": np.empty(k, dtype)}
            changed |= {name: getattr(chunk, name)[fits] for name in _LEAST if len(chunk.least)}
        if len(chunk.center):
            changed |= {name: getattr(chunk, name)[fits] for name in STANDARD}
        if chunk.batches is not None:
            own = chunk.batches
            changed["batches"] = replace(own, seeds=own.seeds[fits], passes=own.passes[fits])
            changed["batch_loss"] = np.empty((k, epochs if chunk.batch_loss.shape[1] else 0), dtype)
        part = replace(
            chunk,
            **changed,
            n_used=self.n_samples[fits],
            lr=lr,
            momenta=momenta,
            hyper=hyper,
            epochs=epochs,
            every=every,
            status=np.where(goes_on, status, np.int8(COMPLETED)),
            w_out=np.empty((k, size), dtype),
            loss=np.empty(k, dtype),
            epochs_run=np.empty(k, np.int64),
            history_w=np.empty((k, rows, size), dtype),
            history_loss=np.empty((k, rows), dtype),
        )
        part.flat = chunk.flat
        return part

    def _put(self, part: Chunk, rows: np.ndarray, fits: np.ndarray) -> None:
        """Take over where some fits of a part stand, and what is reported of it."""
        measured = ("initial_excess", "excess", *(_LEAST if len(self.chunk.least) else ())) if len(self.chunk.excess) else ()
        standard = STANDARD if len(self.chunk.center) else ()
        for array, of_part in zip(_state_of(self.chunk), _state_of(part), strict=True):
            array[fits] = of_part[rows]
        for name in ("w_out", "loss", *measured, *standard):
            getattr(self.chunk, name)[fits] = getattr(part, name)[rows]
        self.chunk.flat = part.flat
