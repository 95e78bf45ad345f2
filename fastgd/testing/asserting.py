"""assert_agrees(): `verify` for test suites, with the verdict and its cause as the message."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypedDict, Unpack

from ..input.annotations import AnyArray, DType, JudgedReduction, NumberOrArray, OptimizerName
from ..optimizers import Optimizer
from ..schedules.table import ScheduleLike
from ..verification.report.report import Report
from ..verification.verifying import verify

__all__ = ["Disagreement", "assert_agrees"]


class Disagreement(AssertionError):
    """A candidate disagrees with exact gradient descent.

    Parameters
    ----------
    report : Report
        What `fastgd.verify` found; it is kept as the attribute ``report``.
    """

    def __init__(self, report: Report) -> None:
        super().__init__(f"\n{report}")
        self.report = report


class Asked(TypedDict, total=False):
    """The options of `fastgd.verify`."""

    lr: NumberOrArray | None
    epochs: int | None
    optimizer: OptimizerName | Optimizer | type[Optimizer]
    schedule: ScheduleLike | None
    reduction: JudgedReduction
    intercept: bool
    w0: AnyArray | None
    sample_weight: AnyArray | None
    batch_size: int | None
    order: AnyArray | Callable[[int], Any] | None
    ridge: float | None
    dtype: DType | None


def assert_agrees(candidate: Any, X: AnyArray, y: AnyArray, **asked: Unpack[Asked]) -> Report:
    """Assert that gradient descent is right at every epoch, within the rounding-error bound.

    Parameters
    ----------
    candidate : str, list of str, FitResult, History, arrays, function or pair
        What is judged, as in `fastgd.verify`; for example arrays (w_history, loss_history).
    X : array_like, shape (…, n_samples, n_features) or (n_samples,)
        Features.
    y : array_like, shape (…, n_samples)
        Targets.
    **asked
        lr, epochs, optimizer, schedule, reduction, intercept, w0, sample_weight, batch_size, order,
        ridge and dtype, as in `fastgd.verify`.

    Returns
    -------
    Report
        The report, whose `ok` is True.

    Raises
    ------
    Disagreement
        The candidate disagrees, raises, or changes its data (an AssertionError). The message is the
        report as it prints itself; `report` is the Report.
    ValueError, TypeError
        An argument is wrong.

    Examples
    --------
    >>> import numpy as np
    >>> from fastgd.testing import assert_agrees
    >>> x = np.array([1.0, 2.0, 3.0, 4.0])
    >>> def step(w, x, y, lr):
    ...     return w - lr * (2 * x * (w * x - y)).mean()
    >>> assert_agrees(step, x, 2 * x, lr=0.1, epochs=20).ok
    True
    """
    __tracebackhide__ = True
    report = verify(candidate, X, y, **asked)
    if not report.ok:
        raise Disagreement(report)
    return report
