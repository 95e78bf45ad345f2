"""Chunk: some fits, laid out for the kernels. What `fastgd` and the kernels of every backend share.

1. Kernels read the first part of a chunk, update the second in place and fill the third. They make
   no checks: everything in a chunk is valid. For the references this is the whole contract,
   `descend(chunk, cancel, progress)`; the CPU's kernels also get the moments of the fits.
2. The state is float64 whatever the dtype of the data: a float32 state is exact in it.
3. Data are never copied to leave samples out: a fit that does not use all samples has a row of
   `kept`, the places of those that it uses.
4. A fit of status TOO_FEW_SAMPLES is skipped: nothing of it is read or written.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .update_rules import UpdateRule

STREAM, MOMENTS, AUTOGRAD, MANUAL, LSTSQ = range(5)
ALGORITHMS = ("stream", "moments", "autograd", "manual", "lstsq")  # names of the codes above

MOST_PACKED = 32  # parameters of a pack's fits (beyond, its moments leave the cache), and of an F* that is eliminated
MOST_SINGLE = 4096  # samples of a fit of one feature that cpu/moments/single_feature.py sums: one chunk

# what a backend updates or fills, by its name in a chunk, in the order of the kernels' arguments
WRITTEN = (
    "w", "slots", "products", "steps", "algorithm", "status", "w_out", "loss", "epochs_run", "history_w", "history_loss",
)  # fmt: skip

# how near the minimum a fit is, by its name in a chunk, in the order of the kernels' arguments
MEASURED = ("penalty", "least", "allowance", "initial_excess", "excess")
STANDARD = ("center", "scale")  # what a chunk of standardised fits has besides

W_HIGH, W_LOW, W_EXPONENT, W_LEAST = range(4)  # of the weights of a fit, as moments have them: W, W′, k_ω, the least weight
FINE, NEGATIVE, NOT_FINITE = range(3)  # what is wrong with the weights of a fit
COMPLETED, CONVERGED, DIVERGED, INVALID_DATA, TOO_FEW_SAMPLES, STOPPED_EARLY = range(6)  # status codes; fastgd.Status names them


def n_rows(epochs: int, every: int) -> int:
    """Rows of a history: epochs 0, every, 2·every, … and always the last; 0 rows if every = 0."""
    return 0 if every == 0 else epochs // every + 1 + (epochs % every != 0)


@dataclass(slots=True)
class Samples:
    """The data of some fits: m fits, n samples, d features; T is float32 or float64."""

    X: np.ndarray  # (n_x, n, d) T, read-only; of any layout whose strides are multiples of the item size
    y: np.ndarray  # (n_y, n) T, read-only, of any layout
    x_index: np.ndarray  # (m,) int64: fit f has the data X[x_index[f]], y[y_index[f]]
    y_index: np.ndarray  # (m,) int64
    weights: np.ndarray  # (n_w, n) T, read-only, of any layout; finite and ≥ 0 where they are read. n_w = 0: there are none
    weight_index: np.ndarray  # (m,) int64: the weights of fit f; not read where there are none
    kept: np.ndarray  # (n_k, n) int32: a row begins with the places of the samples that are used, in order
    kept_index: np.ndarray  # (m,) int64: the row of fit f; −1: it uses all samples
    n_used: np.ndarray  # (m,) int64: how many samples it uses
    # (m,) int64: how many samples a fit has. Then n is 1: items are rows of a table, and fit f has
    # those from x_index[f] on, as of y and the weights. None: all fits have n samples
    lengths: np.ndarray | None = field(default=None, kw_only=True)
    flat: tuple[np.ndarray, ...] | None = field(default=None, init=False, repr=False)  # X, y, weights as the CPU kernels take them

    def samples(self, fit: int) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """X (n_used, d), y and weights (n_used,) of one fit; weights None if there are none.

        Views where all samples are used.
        """
        X, y = self._of_fit(fit, self.X, self.x_index), self._of_fit(fit, self.y, self.y_index)
        weights = self._of_fit(fit, self.weights, self.weight_index) if len(self.weights) else None
        if self.kept_index[fit] < 0:
            return X, y, weights
        rows = self.kept[self.kept_index[fit], : self.n_used[fit]]
        return X[rows], y[rows], None if weights is None else weights[rows]

    def _of_fit(self, fit: int, array: np.ndarray, index: np.ndarray) -> np.ndarray:
        first = index[fit]
        return array[first] if self.lengths is None else array[first : first + self.lengths[fit], 0]

    def keep_only(self, kept: np.ndarray) -> None:
        """Take the lists (m, n) of the samples that are used, the first `n_used` of each row."""
        lost = self.n_used < (kept.shape[1] if self.lengths is None else self.lengths)
        if lost.any():
            self.kept, self.kept_index = kept, np.where(lost, np.arange(len(lost)), -1)


@dataclass(slots=True)
class Batches:
    """How the epochs of a chunk are cut into mini-batches (docs/arithmetic.md, section 13)."""

    size: int  # samples of a batch
    shuffle: bool  # each epoch has an order of its own: kernels/batch_order.py; False: as they stand
    drop_last: bool  # an epoch ends before a batch that is not full
    rate_per_step: bool  # where lr has several rows, each is of a step of the call, not of an epoch
    seeds: np.ndarray  # (m,) int64 ≥ 0
    passes: np.ndarray  # (m,) int64, updated: epochs run since the descent began


@dataclass(slots=True)
class Chunk(Samples):
    """Fits to run. D = d or d + 1 (the intercept is the last parameter)."""

    # the work
    intercept: bool
    rule: UpdateRule
    lr: np.ndarray  # (1 or epochs, m) float64: the rate of every epoch; with mini-batches perhaps of every step
    hyper: np.ndarray  # (m, n_values) float64, in the order of rule.hyperparameters, then rule.derived; may repeat one row
    epochs: int
    reduction: str  # "mean" or "sum": what the gradient is of; the reported loss is always the mean
    tol: float  # negative: no stopping
    every: int  # epochs from one row of the history to the next; 0: no history
    # the state, read and updated
    w: np.ndarray  # (m, D) float64
    slots: np.ndarray  # (m, n_slots, D) float64
    products: np.ndarray  # (m, n_products) float64: the rule's running products, 1 before the first step
    steps: np.ndarray  # (m,) int64: updates made since the slots were empty
    algorithm: np.ndarray  # (m,) int8: which algorithm the fit is computed by
    status: np.ndarray  # (m,) int8: in: CONVERGED (stay where you are), DIVERGED (before), INVALID_DATA, TOO_FEW_SAMPLES or COMPLETED
    # results, to be filled
    w_out: np.ndarray  # (m, D) T
    loss: np.ndarray  # (m,) T: the loss at w_out
    epochs_run: np.ndarray  # (m,) int64: epochs until convergence or the first non-finite row; else `epochs`
    history_w: np.ndarray  # (m, n_rows(epochs, every), D) T
    history_loss: np.ndarray  # (m, n_rows(epochs, every)) T
    # how near the minimum (docs/arithmetic.md, section 10); all are empty if nobody asks. Read:
    penalty: np.ndarray = field(default_factory=lambda: np.empty(0))  # (m,) float64: κ; the objective is loss + κ·Σw²
    least: np.ndarray = field(default_factory=lambda: np.empty(0))  # (m,) float64: F*, its least value; NaN: not known
    allowance: np.ndarray = field(default_factory=lambda: np.empty(0))  # (m,) float64: ρ, for rounding; read where tol ≥ 0
    # updated: F(w_0) − F* (m,) float64 of the call that began the descent; NaN: this one does
    initial_excess: np.ndarray = field(default_factory=lambda: np.empty(0))
    # filled: F(w_out) − F* (m,) T
    excess: np.ndarray = field(default_factory=lambda: np.empty(0))
    # of standardised fits, which descend on the features (x − center) / scale: w and the history
    # are those of these features
    center: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))  # (m, d) float64, numbers of T; length 0: not standardised
    scale: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))
    free_intercept: bool = False  # weight_decay is that of a ridge, which leaves the intercept alone
    batches: Batches | None = None  # None: a step for each epoch, of all samples
    # the rule's momentum, or beta1, in every epoch, float64: rows as of lr, (n, m); NaN: as in
    # hyper. (0, 0): no fit's moves
    momenta: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))
    # filled: the mean of the losses of an epoch's batches, (m, epochs) T; (m, 0): nobody asks
    batch_loss: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))

    @property
    def n_decayed(self) -> int:
        """How many parameters weight decay acts on: all, or those before a free intercept."""
        return self.w.shape[1] - self.free_intercept

    def samples(self, fit: int) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """As of `Samples`; of a standardised fit X is a copy, (X − center) / scale in its dtype."""
        X, y, weights = Samples.samples(self, fit)
        if len(self.center):
            with np.errstate(all="ignore"):  # data that are not finite stay so
                X = (X - self.center[fit].astype(X.dtype)) / self.scale[fit].astype(X.dtype)
        return X, y, weights
