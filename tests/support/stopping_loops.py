"""Early stopping as a plain loop, one fit and one epoch at a time: what `fit` with patience must
give."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

import fastgd
from fastgd import Status


class Ended(NamedTuple):
    """How a loop ended."""

    result: Any  # the FitResult of the epoch that is reported
    epochs: int
    status: Status
    best_epoch: int
    rows: list[tuple[Any, Any, Any]]  # (w, loss, val_loss) of the start and of every epoch
    printed: list[Any]  # of mini-batches: the mean loss of each epoch's batches


class Watch:
    """Keras's EarlyStopping with the numbers of one fit."""

    def __init__(self, patience: int | None, min_delta: float) -> None:
        self.patience, self.min_delta, self.best, self.wait, self.best_epoch = patience, min_delta, np.inf, 0, 0

    def stops(self, epoch: int, val_loss: float) -> bool:
        """Look at an epoch; whether the fit stops there."""
        self.wait += 1
        if val_loss + self.min_delta < self.best:
            self.best, self.best_epoch, self.wait = val_loss, epoch, 0
            return False
        return self.patience is not None and self.wait >= self.patience


def loop_of_fits(X: Any, y: Any, validation: dict[str, Any], *, epochs: int, stop: dict[str, Any], **options: Any) -> Ended:
    """The loop, by calls of `fit` of one epoch that continue a state.

    validation: X, y and perhaps sample_weight. stop: patience, min_delta, restore_best.
    """
    same_model = {name: options[name] for name in ("intercept", "dtype") if name in options}
    if options.get("backend") in ("torch", "numpy"):
        same_model["backend"] = options["backend"]

    def val_loss(found: Any) -> Any:
        start = {"w0": found.w} | ({} if found.intercept is None else {"intercept0": found.intercept})
        if not all(np.isfinite(values).all() for values in start.values()):
            return np.nan
        return fastgd.fit(validation["X"], validation["y"], sample_weight=validation.get("sample_weight"), lr=0.0, epochs=0,
                          **start, **same_model).loss  # fmt: skip

    options = options | ({"history": True} if "batch_size" in options else {})
    found, printed = fastgd.fit(X, y, epochs=0, **options), []
    watch, best = Watch(stop["patience"], stop["min_delta"]), None
    rows, status, epoch = [(found.w, found.loss, val_loss(found))], Status.COMPLETED, 0
    if not np.isfinite(found.loss):
        return Ended(found, 0, Status.DIVERGED, 0, rows, printed)
    goes_on = {name: value for name, value in options.items() if name not in ("w0", "intercept0")}
    for epoch in range(1, epochs + 1):
        found = fastgd.fit(X, y, epochs=1, **(options if epoch == 1 else goes_on | {"state": found.state}))
        rows.append((found.w, found.loss, val_loss(found)))
        if "batch_size" in options:
            printed.append(found.history.batch_loss[0])
        stops = watch.stops(epoch, float(rows[-1][2]))
        if watch.best_epoch == epoch:
            best = found
        if not np.isfinite(found.loss):
            status = Status.DIVERGED
        elif found.status == Status.CONVERGED:
            status = Status.CONVERGED
        elif stops:
            status = Status.STOPPED_EARLY
        if status != Status.COMPLETED:
            break
    return Ended(best if stop["restore_best"] and best is not None else found, epoch, status, watch.best_epoch, rows, printed)


def assert_same(found: Any, expected: Ended, val_loss: Any, every: int, index: Any = ()) -> None:
    """Compare a fit of a result with a loop by `==`. index: of the fit; every: of its history."""
    result = expected.result
    assert Status(int(np.asarray(found.status)[index])) == expected.status
    assert (found.epochs[index], found.best_epoch[index]) == (expected.epochs, expected.best_epoch)
    pairs = [(getattr(found, name), getattr(result, name)) for name in ("w", "intercept", "loss", "excess_loss")]
    of_state = ("w", "slots", "products", "epoch", "algorithm", "passes", "seed")
    pairs += [(getattr(found.state, name), getattr(result.state, name)) for name in of_state]
    for mine, theirs in [*pairs, (found.val_loss, val_loss)]:
        assert (mine is None) == (theirs is None)
        assert mine is None or np.array_equal(np.asarray(mine)[index], theirs, equal_nan=True)
    if every:
        ends = len(expected.rows) - 1
        for row, epoch in enumerate(found.history.epoch):
            w, loss, val = expected.rows[min(epoch, ends)]
            assert np.array_equal(np.asarray(found.history.w)[index][row], w, equal_nan=True)
            assert np.array_equal(np.asarray(found.history.loss)[index][row], loss, equal_nan=True)
            assert np.array_equal(np.asarray(found.history.val_loss)[index][row], val, equal_nan=True)
        if found.history.batch_loss is not None:
            printed = np.asarray(found.history.batch_loss)[index]
            assert np.array_equal(printed[:ends], expected.printed, equal_nan=True)
            assert np.isnan(printed[ends:]).all()
