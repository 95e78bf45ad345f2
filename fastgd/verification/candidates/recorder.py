"""Recorder: a loop calls it once in each epoch, and `verify` judges what it has recorded."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ...input.messages import counted, shown
from ..bound.yardstick import Array
from .answers import read_training
from .models import decays_of, momentum_of
from .names import role_of_answer
from .tasks import Unreadable, copied

if TYPE_CHECKING:
    import torch

__all__ = ["Recorder"]


class Recorder:
    """Record w, the intercept and the loss in a loop, for `verify` and `diagnose`.

    Numbers are copied at once, so that w may be changed in place afterwards. A call costs a copy of
    w, 1 to 10 µs. Call it before the update, with the loss at that w, and once more after the
    loop; or after each update: `fastgd.verify` finds out which.

    Examples
    --------
    >>> import numpy as np, fastgd
    >>> x = np.array([1.0, 2.0, 3.0, 4.0])
    >>> y, w = 2 * x, 0.0
    >>> record = fastgd.Recorder()
    >>> for epoch in range(20):
    ...     residual = w * x - y
    ...     record(w, loss=np.mean(residual**2))
    ...     w -= 0.1 * np.mean(2 * x * residual)
    >>> record(w)
    >>> fastgd.verify(record, x, y, lr=0.1).ok
    True
    """

    def __init__(self) -> None:
        self.rows: list[tuple[Any, ...]] = []  # (w,), (w, b), (w, loss) or (w, b, loss), as they were given
        self.has_intercept = False  # as far as that is known
        self.watched = 0  # rows that are of an optimizer that is watched, each after one step
        self.rates: list[Any] = []  # of each step that was watched; None: the groups differ
        self.momenta: list[float] = []  # momentum, or beta1
        self.decays: Array | None = None  # (D,): the weight decay of each number, where the groups of the optimizer differ
        self.optimizer: Any = None  # the one that was watched last
        self.order_is_unknown = False  # of two numbers, which of them is the intercept

    def __call__(self, w: Any = None, *others: Any, intercept: Any = None, loss: Any = None) -> None:
        """Record a row.

        Parameters
        ----------
        w : array_like or float, optional
            The weights. Without them `loss` is that of the row before.
        *others
            The intercept, then the loss: ``record(w, b, loss)``, ``record(w, loss)``.
        intercept, loss : float, optional
            The same by name.

        Raises
        ------
        TypeError, ValueError
            Something is no number, or there is no row yet that the loss could belong to.
        """
        if w is None:
            if loss is None or others or not self.rows:
                raise ValueError("a Recorder needs w: record(w), record(w, loss=loss), record(w, b, loss)")
            self.rows[-1] += (_number(loss, "loss"),)
            return
        self.has_intercept |= intercept is not None or len(others) > 1
        w = copied(w, "w")
        if self.rows and w.size != np.size(self.rows[0][0]):
            raise ValueError(
                f"w has {counted(w.size, 'number')}, and in the rows before {np.size(self.rows[0][0]):,}: a Recorder holds one fit"
            )
        given = [part for part in (*others[:-1], intercept, *others[-1:], loss) if part is not None]
        self.rows.append((w, *(_number(part, "the intercept or the loss") for part in given)))

    @contextlib.contextmanager
    def watch(self, optimizer: torch.optim.Optimizer) -> Iterator[Recorder]:
        """Record the parameters of a torch optimizer now, and after each of its steps.

        ``record(loss=loss)`` before ``optimizer.step()`` adds the loss.

        Parameters
        ----------
        optimizer : torch.optim.Optimizer
            The optimizer of one linear module: a weight, and a bias where there is one.

        Raises
        ------
        TypeError, ValueError
            It is no optimizer of torch, or it has other parameters.

        Examples
        --------
        >>> import torch, fastgd
        >>> x, model = torch.tensor([[1.0], [2.0], [4.0]]), torch.nn.Linear(1, 1)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        >>> with fastgd.Recorder().watch(optimizer) as record:
        ...     for epoch in range(9):
        ...         loss = torch.nn.functional.mse_loss(model(x), 2 * x)
        ...         optimizer.zero_grad()
        ...         loss.backward()
        ...         record(loss=loss)
        ...         _ = optimizer.step()
        >>> fastgd.verify(record, x, 2 * x, lr=0.01, intercept=True).ok
        True
        """
        if not isinstance(getattr(optimizer, "param_groups", None), list):
            raise TypeError(f"a Recorder watches an optimizer of torch, not {shown(optimizer)}")
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        if len(parameters) not in (1, 2) or min(parameter.numel() for parameter in parameters) != 1 < len(parameters):
            told = ", ".join(str(tuple(parameter.shape)) for parameter in parameters)
            raise ValueError(f"a Recorder watches a weight, or a weight and a bias of one number; the optimizer has parameters {told}")
        parameters = self._in_order(optimizer, parameters)

        def row() -> tuple[Any, ...]:
            return tuple(copied(parameter, "a parameter").reshape(-1 if k == 0 else ()) for k, parameter in enumerate(parameters))

        def record(*_: Any) -> None:
            self.rows.append(row())
            self.watched += 1
            rates = {float(group["lr"]) for group in optimizer.param_groups}
            self.rates.append(rates.pop() if len(rates) == 1 else None)
            self.momenta.append(momentum_of(optimizer))

        goes_on = self.watched and all(np.array_equal(old, new) for old, new in zip(self.rows[-1], row(), strict=False))
        if not goes_on:  # a run that goes on has its last row
            self.rows.append(row())
            self.watched += 1
        self.has_intercept |= len(parameters) > 1
        self.optimizer, self.decays = optimizer, decays_of(optimizer, parameters)
        hook = optimizer.register_step_post_hook(record)
        try:
            yield self
        finally:
            hook.remove()

    def _in_order(self, optimizer: Any, parameters: list[Any]) -> list[Any]:
        """Return the weight, then the bias: by their sizes, their axes or their names."""
        if len(parameters) == 2 and len({(parameter.numel(), parameter.ndim) for parameter in parameters}) == 1:
            names = [str(name) for group in optimizer.param_groups for name in group.get("param_names", ())]
            roles = [role_of_answer(name) for name in names]
            self.order_is_unknown = len(roles) != 2 or roles.count("b") != 1
            return parameters[::-1] if not self.order_is_unknown and roles[0] == "b" else parameters
        return sorted(parameters, key=lambda parameter: (parameter.numel(), parameter.ndim), reverse=True)  # stable: the weight first

    @property
    def of_an_optimizer(self) -> bool:
        """Whether all rows are of a watched optimizer: the start, and one after each step."""
        return self.watched == len(self.rows) > 0 and len(self.rates) == len(self.rows) - 1

    def arrays(self, *, intercept: bool = False) -> tuple[np.ndarray, np.ndarray | None]:
        """Return w (m, D), the intercept last, and the losses (m,), as `diagnose` takes them.

        Parameters
        ----------
        intercept : bool, default False
            Whether an intercept was recorded.

        Returns
        -------
        w : ndarray, shape (m, D)
        loss : ndarray, shape (m,) or (m - 1,), or None

        Raises
        ------
        ValueError
            Nothing was recorded, or rows do not have the same parts.

        Examples
        --------
        >>> import fastgd
        >>> record = fastgd.Recorder()
        >>> record([0.0, 0.0], 3.0, loss=8.0)
        >>> w, loss = record.arrays(intercept=True)
        >>> w.shape, loss
        ((1, 3), array([8.]))
        """
        self.check(intercept)
        try:
            read = read_training((self.rows, None), np.size(self.rows[0][0]) + bool(intercept), bool(intercept), len(self.rows))
        except Unreadable as error:
            raise ValueError(f"the Recorder cannot be read: {error}".replace("it returned", "it has")) from None
        return read.w, read.loss

    def check(self, intercept: bool, n_features: int | None = None) -> None:
        """Raise a ValueError unless there are rows, with an intercept only where one is meant."""
        if not self.rows:
            raise ValueError("the Recorder has no rows: call it in the loop, record(w, loss=loss)")
        if self.has_intercept and not intercept:
            raise ValueError("the Recorder has an intercept: give intercept=True")
        size = np.size(self.rows[0][0])
        if self.has_intercept and n_features not in (None, size):
            raise ValueError(f"the Recorder has {counted(size, 'weight')} and an intercept, X has {counted(n_features or 0, 'feature')}")

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return f"Recorder({counted(len(self.rows), 'row')})"


def _number(value: Any, name: str) -> Any:
    """Return a single number, as an array without axes."""
    number = copied(value, name)
    if np.size(number) != 1:
        raise ValueError(f"{name} must be one number: {shown(value)}")
    return np.reshape(number, ())
