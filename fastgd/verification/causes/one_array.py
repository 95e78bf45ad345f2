"""Rows of w that are all one and the same, and not where w should have stayed.

1. Lists of references to one array, which the descent changes in place, show its end in every row.
   So do the arrays that are made of them. A w that is never updated has equal rows as well.
2. Evidence that w did move is that the losses differ, which those of one w do not. They do so as
   well where they are noisy, as of mini-batches or with dropout, or where something else than w was
   recorded. So the cause is sure only where the rows are known to be one array, are another start
   than was asked for, are where the descent that was asked for ends, or where the losses go, step
   by step, to the one of these rows.
3. Evidence that w did not move is that the rows are the start that was asked for, or were copied
   when they were made: losses may have been computed from the rows, after the descent.
"""

from __future__ import annotations

import math

import numpy as np

from ..bound.yardstick import LIMIT, Array
from .diagnosis import Diagnosis, Finding, explain_loss, explain_update
from .observation import Observation
from .question import Question, start_of
from .recorded import Recorded
from .recorded_rows import decimals_of
from .table import CAUSES

__all__ = ["begins_rounded", "in_doubt", "of_equal_rows", "parts_may_be_one_array"]

_NOT_THIS_W = "every row of w is one and the same, and the losses change: what was recorded is not the w that descends"
_STANDS_STILL = "every row of w is one and the same: they are references to one array, or w is never updated"
_RECORD = "record a copy, w.copy() or w.detach().clone()"
_EVIDENCE = {"tau": math.nan, "tau_asked": math.nan, "epochs_used": 0}


def of_equal_rows(question: Question, recorded: Recorded, seen: Observation) -> Diagnosis | None:
    """Return what is known of rows of w that are all equal; None: the steps tell it."""
    w, start = recorded.w[int(recorded.start_added) :], question.w0
    if len(w) < 2 or not np.isfinite(w).all():
        return None
    equal = (w == w[0]).all(0)
    another_start = start_of(question, recorded) is not None
    if another_start and begins_rounded(question, recorded):  # rows of a w that moves less than the last decimal
        return None
    if another_start and _is_another_start(question, recorded, equal):
        return _sure()
    if not equal.all():
        return None
    known = np.zeros(w.shape[1]) if start is None else start
    at_start = not (w[0] != known.astype(w.dtype)).any()
    if _losses_vary(recorded, seen):
        if "unknown" not in explain_loss(seen).codes:
            return None  # they are those of this w, as where they are summed over the epochs
        if question.copied or at_start:
            return _unknown(_NOT_THIS_W, "parameter_not_updated" if question.copied and not at_start else "")
        of_batches = question.parts is not None and question.parts.plan is not None
        if question.one_array or (not of_batches and _go_to(recorded, seen) and not _may_be_rounded(recorded, seen)):
            return _sure()
        return _unknown(_NOT_THIS_W, "rows_are_one_array", "w_rounded" if decimals_of(w) is not None else "")
    if question.copied or at_start or not explain_update(seen, question.asked).codes:
        return None
    if question.one_array:
        return _sure("" if another_start else "parameter_not_updated")
    if start is None and _ends_there(question._replace(w0=known), w, equal, recorded):
        return _sure()
    return _unknown(f"{_STANDS_STILL}; {_RECORD}", "rows_are_one_array", "parameter_not_updated")


def parts_may_be_one_array(question: Question, recorded: Recorded, update: Finding) -> bool:
    """Return whether parameters that seem to stand still may be one array, which is at its end."""
    if question.copied or "parameter_not_updated" not in update.codes or len(recorded.w) < 2:
        return False
    start = np.zeros(recorded.w.shape[1]) if question.w0 is None else question.w0
    still = (recorded.w == recorded.w[0]).all(0)
    return bool((recorded.w[0] != start.astype(recorded.w.dtype))[still].any())


def in_doubt(update: Finding) -> Finding:
    """Return what may explain steps, beside losses that are not those of the rows of w."""
    told = "parameters are the same in every row, and the losses are not those of the rows of w: they may be references to one array"
    also = ("rows_are_one_array", " + ".join(update.codes), *update.also)
    return update._replace(codes=("unknown",), words={"variant": f"{told}; {_RECORD}"}, also=also, hypothesis=None)


def begins_rounded(question: Question, recorded: Recorded) -> bool:
    """Return whether row 0 is the start that was asked for, rounded as all rows are."""
    decimals = decimals_of(recorded.w)
    assert question.w0 is not None
    return decimals is not None and bool((recorded.w[0] == np.round(question.w0, decimals).astype(recorded.w.dtype)).all())


def _sure(also: str = "") -> Diagnosis:
    cause = CAUSES["rows_are_one_array"]
    return Diagnosis(cause.code, (cause.code,), cause.sentence, _EVIDENCE, cause.fix, (also,) if also else ())


def _unknown(told: str, *possible: str) -> Diagnosis:
    return Diagnosis("unknown", ("unknown",), told, _EVIDENCE, also_possible=tuple(one for one in possible if one))


def _is_another_start(question: Question, recorded: Recorded, equal: Array) -> bool:
    """Return whether rows that are another start than was asked for are one array.

    So may be those of the weights, beside an intercept that is a number.
    """
    w, loss, start = recorded.w, recorded.loss, question.w0
    assert start is not None
    if len(w) < 3 or not (equal.all() or (question.intercept and equal[:-1].all() and (w[0] != start)[:-1].any())):
        return False
    if question.copied:
        return False
    if equal.all() and loss is not None and np.isfinite(loss).all() and (np.asarray(loss) != np.asarray(loss)[0]).any():
        return True
    return _ends_there(question, w, equal, recorded)


def _ends_there(question: Question, w: Array, equal: Array, recorded: Recorded) -> bool:
    """Return whether the last row is where the descent that was asked for ends.

    Only entries that are one array are compared: the intercept may be that of a step before.
    """
    if not question.strides or question.parts is not None:
        return False
    assert question.w0 is not None
    ends = np.stack([question.w0.astype(w.dtype), w[-1]])

    def after(steps: int) -> bool:
        """Return whether the last row is w after this number of steps."""
        shares, _ = question.shares_apart(ends, np.array([0, steps]), dtype=recorded.dtype, held_higher=False, limit=LIMIT)
        return bool((shares[1] <= LIMIT)[equal].all())

    return any(map(after, (len(w) - 1, len(w))[: 2 if np.size(question.lr) == 1 else 1]))  # there are no more rates


def _losses_vary(recorded: Recorded, seen: Observation) -> bool:
    """Return whether the losses differ by more than those of one w may."""
    if recorded.loss is None or not len(seen.true_loss):
        return False
    loss = np.asarray(recorded.loss)[np.isfinite(recorded.loss)]
    if len(loss) < 2:
        return False
    off = seen.n * float(seen.loss_error.max()), (seen.n + seen.n_parameters + 8) * float(seen.u) * float(np.abs(loss).max())
    return float(np.ptp(loss)) > 4 * LIMIT * max(off)


def _go_to(recorded: Recorded, seen: Observation) -> bool:
    """Return whether the losses are those of a descent that ends at the rows of w.

    The last one is that of the rows, or the losses turn so seldom as noise never does: of n numbers
    in random order about 2 in 3 are turning points.
    """
    loss, true = np.asarray(recorded.loss, np.float64), float(seen.true_loss[-1])
    if not np.isfinite(loss).all() or abs(loss[-1] - true) >= abs(loss[0] - true):
        return False
    if len(loss) == len(recorded.w) and abs(loss[-1] - true) <= LIMIT * float(seen.loss_error[-1]):
        return True
    steps = np.diff(loss)
    steps = np.sign(steps[np.abs(steps) > 4 * LIMIT * float(seen.loss_error.max())])  # not those of rounding, at the end
    turns = int((steps[1:] != steps[:-1]).sum())
    return len(steps) >= 7 and turns <= (len(steps) - 7) // 5


def _may_be_rounded(recorded: Recorded, seen: Observation) -> bool:
    """Return whether the losses are those of some w that are rounded to these rows."""
    decimals = decimals_of(recorded.w)
    if decimals is None:
        return False
    unit, row = 10.0**-decimals, seen.yardstick.measure_all(seen.w[-1:])
    most = float(np.abs(row.gradient).sum()) * unit + float(np.abs(seen.yardstick.second_moments()).sum()) / seen.n * unit * unit
    return float(np.abs(np.asarray(recorded.loss, np.float64) - float(row.loss[0])).max()) <= 2 * most
