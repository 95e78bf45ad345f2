"""Buffers: the arrays that results and states are written into, or the caller's own (`out`).

1. They are in the order of computation (FitOrder), and made once; each task writes its own slice.
2. An array of the caller's has the caller's shape and layout. Where that is the order of
   computation, the kernels write into it. Else each task computes into small arrays and copies them
   into it, so that no second array of the full size is made.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..data.fit_order import FitOrder
from ..data.problem import Problem
from ..input.arguments import arrays_given, holds_a_place_twice, same_place
from ..input.messages import shown
from ..input.options import name_among
from ..input.sharing import device_of, place_of, share_memory, to_cupy, to_numpy
from ..kernels.chunk import STANDARD, Chunk, n_rows
from ..kernels.update_rules import UpdateRule
from . import buffer_pool
from .curvatures import Curvatures

# {name in a result: (name in a chunk, which of its parameters: "" for all)}
NAMES = {
    "w": ("w_out", "features"),
    "intercept": ("w_out", "intercept"),
    "loss": ("loss", ""),
    "epochs": ("epochs_run", ""),
    "status": ("status", ""),
    "history.w": ("history_w", "features"),
    "history.intercept": ("history_w", "intercept"),
    "history.loss": ("history_loss", ""),
    "history.batch_loss": ("batch_loss", ""),
    "state.w": ("w", ""),
    "state.slots": ("slots", ""),
    "excess_loss": ("excess", ""),
}


Shapes = dict[str, tuple[tuple[int, ...], np.dtype]]  # {name in a chunk: (shape of one fit, dtype)}
_DOUBLE, _WHOLE, _CODE, _SWITCH = (np.dtype(kind) for kind in (np.float64, np.int64, np.int8, np.bool_))


@functools.lru_cache(64)
def _shapes_of(
    size: int, n_features: int, dtype: np.dtype, rows: int, n_slots: int, n_products: int, measured: bool, validated: bool,
    standardize: bool, batch_epochs: int, batched: bool, solved: bool,
) -> tuple[Shapes, int]:  # fmt: skip
    """Shape of one fit, and dtype, of every array, and the bytes of a fit; calls share them."""
    shapes: Shapes = {
        "w_out": ((size,), dtype),
        "loss": ((), dtype),
        "epochs_run": ((), _WHOLE),
        "status": ((), _CODE),
        "history_w": ((rows, size), dtype),
        "history_loss": ((rows,), dtype),
        "w": ((size,), _DOUBLE),
        "slots": ((n_slots, size), _DOUBLE),
        "products": ((n_products,), _DOUBLE),
        "steps": ((), _WHOLE),
        "algorithm": ((), _CODE),
        "n_used": ((), _WHOLE),
        "lr": ((), _DOUBLE),
        "initial_excess": ((), _DOUBLE),
    }
    if measured:
        shapes["excess"] = ((), dtype)
    if validated:
        shapes |= {"val_loss": ((), dtype), "best_epoch": ((), _WHOLE), "history_val_loss": ((rows,), dtype)}
    if standardize:
        shapes |= dict.fromkeys(STANDARD, ((n_features,), _DOUBLE))
    if batched:
        shapes |= {"passes": ((), _WHOLE), "seed": ((), _WHOLE), "batch_loss": ((batch_epochs,), dtype)}
    if solved:
        shapes |= {"rank": ((), _WHOLE), "condition": ((), _DOUBLE), "ill_conditioned": ((), _SWITCH), "loss64": ((), _DOUBLE)}
    return shapes, sum([dtype.itemsize * math.prod(shape) for shape, dtype in shapes.values()])


@dataclass
class Layout:
    """What determines the shapes of all arrays of a result."""

    problem: Problem
    order: FitOrder
    optimizer: str  # name of the update rule, or "solve"
    n_slots: int
    n_products: int
    epochs: int
    every: int  # epochs between two rows of the history; 0: no history
    measured: bool = False  # by how much the loss is above its least value
    standardize: bool = False  # there are center and scale
    batched: bool = False  # mini-batches: there are passes, a seed and the losses of batches
    solved: bool = False  # by solve: there are also rank, condition, ill_conditioned and loss64
    validated: bool = False  # there are validation losses
    shapes: Shapes = field(init=False)
    bytes_per_fit: int = field(init=False)  # of all arrays together

    def __post_init__(self) -> None:
        self.shapes, self.bytes_per_fit = self._shapes()

    @classmethod
    def of_rule(
        cls, problem: Problem, order: FitOrder, rule: UpdateRule, epochs: int, every: int, measured: bool, standardize: bool,
        validated: bool = False, batched: bool = False,
    ) -> Layout:  # fmt: skip
        """The layout of a descent."""
        return cls(
            problem, order, rule.name, len(rule.slots), len(rule.products), epochs, every, measured, standardize, validated=validated,
            batched=batched,
        )  # fmt: skip

    @classmethod
    def of_solve(cls, problem: Problem, order: FitOrder, standardize: bool = False) -> Layout:
        """The layout of solutions in closed form."""
        return cls(problem, order, "solve", 0, 0, 0, 0, standardize=standardize, solved=True)

    def _shapes(self) -> tuple[Shapes, int]:
        return _shapes_of(
            self.problem.n_parameters, self.problem.n_features, self.problem.dtype, n_rows(self.epochs, self.every), self.n_slots,
            self.n_products, self.measured, self.validated, self.standardize, self.epochs if self.batched and self.every else 0,
            self.batched, self.solved,
        )  # fmt: skip

    def select(self, values: Any, part: str) -> Any:
        """Parameters (…, D) without the intercept ("features"), the intercept (…), or all ("")."""
        if part == "intercept":
            return values[..., self.problem.n_features]
        if part == "features":
            return values[..., 0] if self.problem.one_feature else values[..., : self.problem.n_features]
        return values

    @property
    def bytes_in_units(self) -> int:
        """Bytes per fit of center and scale in the data's dtype, which `build` makes."""
        return 2 * self.problem.n_features * self.problem.dtype.itemsize if self.standardize else 0

    def bytes_of_a_fit(self, names: Iterable[str]) -> int:
        """Bytes per fit of the arrays with these names."""
        return sum([self.shapes[name][1].itemsize * math.prod(self.shapes[name][0]) for name in names])

    def user_shape(self, name: str) -> tuple[tuple[int, ...], np.dtype] | None:
        """(shape, dtype) of a result by its name in `NAMES`; None where this call has none."""
        source, part = NAMES[name]
        if source not in self.shapes or (name.startswith("history") and not self.every):
            return None
        shape, dtype = self.shapes[source]
        if part == "intercept":
            return ((*self.order.shape, *shape[:-1]), dtype) if self.problem.intercept else None
        if part == "features":
            shape = shape[:-1] if self.problem.one_feature else (*shape[:-1], self.problem.n_features)
        return (*self.order.shape, *shape), dtype


# Results that may be written over the input that they begin with, in exactly its place: a task
# reads the state of its fits before it writes their results, and never that of others (`make_chunk`
# in running/chunks.py); w0 and intercept0 are copied before any task begins.
IN_PLACE = {
    "w": ("w0",),
    "intercept": ("intercept0",),
    "state.w": ("state.w", "w0"),
    "state.slots": ("state.slots",),
    "status": ("state.status",),
}


def read_out(out: Any, arguments: Mapping[str, Any], layout: Layout) -> dict[str, tuple[np.ndarray, Any]]:
    """Check `out`; return {name in `NAMES`: (NumPy or CuPy array, what the caller gave)}.

    arguments: those of the call, which must not lie where results are written.
    """
    if out is None:
        return {}
    problem = layout.problem
    inputs = _inputs(arguments, problem)
    given = out if isinstance(out, Mapping) else {"w": out}
    result: dict[str, tuple[np.ndarray, Any]] = {}
    for name, value in given.items():
        if name_among(name, NAMES) is None:
            raise ValueError(f"out has no {shown(name)}: it may have {', '.join(NAMES)}")
        called = "out" if not isinstance(out, Mapping) else f"out[{shown(name)}]"
        device = problem.device
        if device is not None and device_of(value) != device:
            raise ValueError(f"{called} is {place_of(device_of(value))} but X and y are {place_of(device)}: give an array there")
        array = to_numpy(value, called) if device is None else to_cupy(value, called)
        if device is None and not isinstance(array, np.ndarray):
            raise TypeError(f"{called} must be an array to write into, not {shown(value)}")
        needed = layout.user_shape(name)
        if needed is None:
            missing = "history=True" if name.startswith("history") and not layout.every else "intercept=True"
            missing = {"excess_loss": "excess_loss=True", "history.batch_loss": "batch_size and history=True"}.get(name, missing)
            raise ValueError(f"{called} was given, but this fit has no {name}: give {missing} too")
        shape, dtype = needed
        if array.shape != shape or array.dtype != dtype:
            raise ValueError(f"{called} must have shape {shape} and dtype {dtype}; it has shape {array.shape} and dtype {array.dtype}")
        if not getattr(array.flags, "writeable", True):  # CuPy's have no such flag
            raise ValueError(f"{called} is read-only")
        if holds_a_place_twice(array):
            raise ValueError(f"{called} has several entries in one place (its strides are {array.strides}): give an array of its own")
        others = [*inputs, *((f"out[{other!a}]", taken) for other, (taken, _) in result.items())]
        for other, taken in others:
            in_place = other in IN_PLACE.get(name, ())
            if (_overlap if device is None else share_memory)(array, taken) and not (in_place and same_place(array, taken)):
                instead = f": give {other} itself, or another array" if in_place else ""
                raise ValueError(f"{called} shares memory with {other}, which would be overwritten{instead}")
        result[name] = array, value
    return result


def _inputs(arguments: Mapping[str, Any], problem: Problem) -> list[tuple[str, Any]]:
    """[(name, array)] of everything that results must not be written over."""
    data = {"X": problem.X, "y": problem.y, "sample_weight": problem.weights}
    found = [(name, items.array) for name, items in data.items() if items is not None]
    found += [(f"the mask of {name}", items.mask.array) for name, items in data.items() if items is not None and items.mask is not None]
    for name, value in arguments.items():
        if name != "out":
            found += arrays_given(value, name, problem.device, lazily=name in data)  # data were read already
    return found


def _overlap(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays may have a byte in common; True where finding out takes too long."""
    try:
        return np.shares_memory(a, b, max_work=10_000)  # type: ignore[arg-type]
    except np.exceptions.TooHardError:
        return True


@dataclass
class Buffers:
    """Results and states of all m fits, in the order of computation; shapes as in kernels/chunk.py.

    Attributes
    ----------
    given : dict of str to (array, what the caller gave)
        The caller's own arrays, by the names in `NAMES`.
    arrays : dict of str to ndarray (m, …)
        What `allocate` made, by the names in a chunk.
    direct : dict of str to ndarray (m, …)
        The caller's arrays that the kernels write into, by the names in a chunk.
    scattered : dict of str to array
        The caller's other arrays by the names in `NAMES`, their axes in the order of computation.
    curvatures : list of Curvatures
        Of some fits whose end is to be explained: a part of each task that has such fits.
    noted : list
        What the curvatures of fits are made of, from tasks that ended (running/explaining.py).
    explains : callable, or None
        Called with the result it makes curvatures of what was noted, when these are asked for.
    begun : dict of str to ndarray (m, …)
        What some of `arrays` hold before the first epoch, of calls like an earlier one: `allocate`
        copies them.
    """

    layout: Layout
    given: dict[str, tuple[np.ndarray, Any]]
    begun: dict[str, np.ndarray] = field(default_factory=dict)
    arrays: dict[str, np.ndarray] = field(init=False)
    direct: dict[str, np.ndarray] = field(init=False)
    scattered: dict[str, np.ndarray] = field(init=False)
    curvatures: list[Curvatures] = field(init=False, default_factory=list)
    noted: list[Any] = field(init=False, default_factory=list)
    explains: Callable[[Any], Curvatures | None] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        order = self.layout.order
        self.direct, self.scattered = {}, {}
        in_order = order.natural
        for name, (array, _) in self.given.items():
            source, part = NAMES[name]
            shape, _ = self.layout.shapes[source]
            whole = part == "" or (part == "features" and not self.layout.problem.intercept)
            if in_order and whole and array.flags.c_contiguous and getattr(array.flags, "aligned", True):
                self.direct[source] = array.reshape(order.n_fits, *shape)
            else:
                n_tail = array.ndim - len(order.shape)
                self.scattered[name] = array.transpose(*order.axes, *range(array.ndim - n_tail, array.ndim))
        self.arrays = {}

    def allocate(self, tightly: bool = True) -> None:
        """Make the arrays that the caller did not give. tightly: not in the buffer pool."""
        order, names = self.layout.order, self.made() if self.given else self.layout.shapes
        needed = order.n_fits * self.layout.bytes_per_fit
        make = np.empty if tightly or needed < buffer_pool.SMALLEST else buffer_pool.empty
        begun, arrays, n_fits = self.begun, self.arrays, order.n_fits
        try:
            for name, (shape, dtype) in self.layout.shapes.items():
                if name in begun:
                    arrays[name] = begun[name].copy()
                elif name in names:
                    arrays[name] = make((n_fits, *shape), dtype)
        except (MemoryError, ValueError) as error:  # NumPy: ValueError when the size passes 2^63
            needed = order.n_fits * self.layout.bytes_of_a_fit(names)
            raise MemoryError(
                f"the results of {order.n_fits:,} fits need {needed / 2**30:,.1f} GiB; record fewer rows (history=k records every k-th "
                "epoch), give out=, arrays on disk for example, or fit a part of the batch at a time"
            ) from error

    @property
    def bytes_made_per_fit(self) -> int:
        """Bytes per fit of the arrays that `allocate` makes."""
        return self.layout.bytes_of_a_fit(self.made()) if self.given else self.layout.bytes_per_fit

    def made(self) -> set[str]:
        """Names of the arrays that `allocate` makes, as the caller's do not replace them."""
        if not self.given:
            return set(self.layout.shapes)
        replaced = set()
        for source in {NAMES[name][0] for name in self.given}:
            parts = {part for name, (of, part) in NAMES.items() if of == source and name in self.given}
            both = {"features", "intercept"} if self.layout.problem.intercept else {"features"}
            if "" in parts or parts >= both:
                replaced.add(source)
        return set(self.layout.shapes) - replaced

    def slices(self, first: int, stop: int) -> dict[str, np.ndarray]:
        """{name in a chunk: (stop - first, …)} for fits first … stop-1."""
        if not self.given and stop - first == self.layout.order.n_fits:
            return self.arrays
        found = {}
        for name, (shape, dtype) in self.layout.shapes.items():
            whole = self.arrays.get(name, self.direct.get(name))
            found[name] = np.empty((stop - first, *shape), dtype) if whole is None else whole[first:stop]
        return found

    def put(self, slices: dict[str, np.ndarray], name: str, values: Any, first: int, stop: int, n_last: int = 0) -> None:
        """Write values into an array of `slices`, which are those of fits first … stop-1.

        All axes of `values` but the n_last broadcast to the leading axes of the results.
        """
        same_for_all = values.ndim == n_last
        slices[name][...] = values if same_for_all else self.layout.order.pick_range(values, first, stop, n_last)

    def spoil(self, values: Any, fits: np.ndarray, value: float) -> None:
        """Set all entries of some fits, (m,) bool, in an array (m, …) of a chunk."""
        values[fits] = value

    def scatter(self, first: int, stop: int, chunk: Chunk) -> None:
        """Copy results of a chunk into the arrays in `scattered`."""
        if not self.scattered:
            return
        order = self.layout.order
        places = np.unravel_index(np.arange(first, stop), tuple(order.shape[axis] for axis in order.axes)) if order.shape else None
        for name, array in self.scattered.items():
            source, part = NAMES[name]
            values = self.layout.select(getattr(chunk, source), part)
            if places is None:
                array[...] = values[0]
            else:
                array[places] = values

    def values_of(self, names: Iterable[str], fits: np.ndarray) -> list[np.ndarray]:
        """[(k, …)]: results of k fits that have ended, by their names in a chunk."""
        arrays = self.arrays
        return [arrays[name][fits] if name in arrays else self._value_given(name, fits) for name in names]

    def _value_given(self, name: str, fits: np.ndarray) -> np.ndarray:
        if name in self.direct:
            return self.direct[name][fits]
        order = self.layout.order
        array = next(array for called, array in self.scattered.items() if NAMES[called] == (name, ""))
        return array[np.unravel_index(fits, tuple(order.shape[axis] for axis in order.axes))] if order.shape else array[None]

    def whole(self, name: str) -> np.ndarray | None:
        """The array (m, …) of all fits, by its name in a chunk; None where tasks have their own."""
        values = self.arrays.get(name)
        return self.direct.get(name) if values is None else values
