"""sweep(): fits of one data set at many hyperparameters: prepare, run each call, build."""

from __future__ import annotations

import contextlib
import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from .fitting import fit
from .input.annotations import AnyArray, OptimizerName
from .input.arrays import arrive, with_numpy_arrays
from .input.float_mode import computes
from .input.messages import shown
from .input.options import read_history, read_tol
from .input.shapes import broadcast
from .input.wrong_names import helps_with_keywords, right_option
from .optimizers import SGD, Optimizer
from .planning.backends import BACKENDS
from .planning.compressed import is_compressed
from .planning.grid import Call, Grid, each_once, has_schedule, read_grid
from .planning.job import data_of, read_problem
from .planning.stopping import read_epochs, read_validation
from .results.coordinate import own_values
from .results.moments import Moments
from .results.sweep_building import Parts
from .results.sweep_result import SweepResult
from .schedules.table import read_schedule

_OPTIONS = {name: one.default for name, one in inspect.signature(fit).parameters.items()}
_NOT_HERE = {
    "state": "every cell begins anew, at w0",
    "out": "a sweep makes its own arrays",
}
_VALIDATION = ("X_val", "y_val", "sample_weight_val")
_LOOKING = ("patience", "min_delta", "restore_best")  # options of `fit` for which it looks at them after every epoch
_MOST_OF_LIMITS = 64  # parameters: above, the safe rate of `fit` is from a bound on λ_max
_CELLS_AT_ONCE = 2**18  # fits whose validation loss is computed at a time


@helps_with_keywords
def sweep(
    X: AnyArray | Moments,
    y: AnyArray | None = None,
    *,
    grid: Mapping[str, Any] | None = None,
    points: Any = None,
    optimizer: OptimizerName | Optimizer | type[Optimizer] = "sgd",
    epochs: int | None = 100,
    X_val: AnyArray | Moments | None = None,
    y_val: AnyArray | None = None,
    sample_weight_val: AnyArray | None = None,
    history: bool | int = False,
    **fit_options: Any,
) -> SweepResult:
    """Fit the same data at many hyperparameters: a grid of them, or points of a design.

    ::

        rule = SGD(lr=grid["lr"][i], momentum=grid["momentum"][j])
        loss[i, j, …] = fit(X, y, optimizer=rule, …).loss

    Each fit of a cell has the bits of that call alone. The data are read once for all cells of an
    update rule. A cell that diverges is a result like others.

    Parameters
    ----------
    X : array (…, n_samples, n_features) or (n_samples,)
        Features, as in `fit`. Each fit of the leading axes gets the whole grid. Or Moments of
        `fastgd.compress`, in place of X and y: then no call reads samples.
    y : array (…, n_samples)
        Targets. None where X is Moments.
    grid : mapping of str to list, optional
        Values of each axis; all combinations are fitted. Names: "lr" and the other hyperparameters
        of the optimizer (a list of pairs for "betas", of True and False for a switch); "w0" (a list
        of starts, each with n_features numbers) and "intercept0"; "schedule" (a list of schedules,
        None among them); "optimizer" (a list of names or objects), "reduction" and "standardize".
        With several optimizers a hyperparameter counts for
        those that have it.
    points : list of mappings, data frame, or mapping of columns, optional
        In place of a grid: the values of each point, such as `fastgd.designs.sample` draws them.
    optimizer : str or optimizer object, default "sgd"
        The update rule, with values that all cells share, where the grid has none.
    epochs : int or None, default 100
        Passes over the data, ≥ 0. None: until ``tol`` or ``patience`` ends each fit, as in `fit`.
    X_val, y_val : array, optional
        Validation data, with the features of X: `val_loss` is their loss at the w of each cell. It
        is computed as `fit` computes a loss: from their second moments, O(d²) for each cell. Or
        Moments as X_val alone. With ``patience`` or ``restore_best`` they are looked at after every
        epoch, and each fit of a cell stops on its own.
    sample_weight_val : array (…, n_samples), optional
        Weights of the validation data, ≥ 0. The ``sample_weight`` of the fits does not count there.
    history : bool or int, default False
        True: record w and loss of every epoch; k: of epochs 0, k, 2k, … and the last.
    **fit_options
        Further options of `fit` for all cells, such as ``intercept=True``, ``sample_weight``,
        ``tol``, ``patience``, ``dtype``, ``memory_limit``, ``progress`` or ``checkpoint``, a folder
        where finished cells are stored, from which the same call goes on; without ``state`` and
        ``out``.

    Returns
    -------
    SweepResult
        loss, val_loss, status, … of all cells, ``best()``, ``sel(lr=0.1)``, ``to_frame()``,
        ``plot()``. Its axes are those of the grid in its order, or "point", then the leading axes
        of the data.

    Raises
    ------
    ValueError, TypeError
        When an argument is wrong; the message names the axis and the value.
    MemoryError
        When the results of the grid do not fit into memory.

    Examples
    --------
    >>> import numpy as np, fastgd
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 3))
    >>> y = X @ [1.0, -2.0, 0.5] + 0.1 * rng.normal(size=200)
    >>> grid = {"lr": np.geomspace(1e-4, 1, 64), "momentum": [0.0, 0.9, 0.99]}
    >>> found = fastgd.sweep(X[:150], y[:150], grid=grid, epochs=50, X_val=X[150:], y_val=y[150:])
    >>> found.loss.shape, int((found.status == fastgd.Status.DIVERGED).sum())
    ((64, 3), 0)
    >>> best = found.best()
    >>> best["momentum"], bool(best["val_loss"] < 0.02)
    (0.0, True)

    Two update rules, at rates that are drawn:

    >>> from fastgd import designs
    >>> rates = designs.sample({"lr": designs.log_uniform(1e-3, 0.5)}, 100)["lr"]
    >>> fastgd.sweep(X, y, grid={"optimizer": ["sgd", "adam"], "lr": rates}).loss.shape
    (2, 100)
    """
    arguments = locals()
    return sweep_cells(*read_cells(arguments), arguments)


@computes
def read_cells(arguments: Mapping[str, Any]) -> tuple[Grid, dict[str, Any]]:
    """(the cells of a call of `sweep`, the options of `fit` that they share), checked."""
    options = _read_options(arguments)
    return read_grid(arguments, options, _OPTIONS), options


@computes
def sweep_cells(grid: Grid, options: Mapping[str, Any], arguments: Mapping[str, Any]) -> SweepResult:
    """Fit the cells of a grid: all of a call, or some of them.

    grid, options: of `read_cells`. arguments: of `sweep`, for the data, epochs and history.
    """
    options = dict(options)
    path = options.pop("checkpoint", None)
    data = {name: arguments[name] for name in ("X", "y")} | {"epochs": arguments["epochs"], "history": arguments["history"]} | options
    problem = _problem(data)
    _check_starts(grid, problem)
    _check_shared(grid, options, problem)
    _check_seeds(options, problem)
    validation = _read_validation(arguments, options, problem)
    calls = list(grid.calls(len(problem.leading)))
    parts = Parts(tuple(grid.dims.values()), problem.leading)
    limits = _Limits(data, problem)
    if any(_is_used(name, options) for name in _LOOKING):
        validation, data = None, data | {name: arguments[name] for name in _VALIDATION}
    tol = read_tol(options.get("tol"))
    epochs = read_epochs(arguments["epochs"], tol >= 0.0 or options.get("patience") is not None, read_history(arguments["history"]))
    progress = _Progress(options.get("progress"), lambda: [_n_fits(call, problem) * max(1, epochs) for call in calls])
    with _opened(path, arguments, options, problem) as stored:
        for number, call in enumerate(calls):
            result = _fit_of(grid, data | call.options | progress.option() | stored(number))
            parts.put(result, call.where, limits.of(result, call))
    val_loss = None if validation is None else _validation_loss(parts, validation, problem.leading)
    return parts.build(grid.coordinates, val_loss, tol if tol >= 0.0 else None)


def _read_options(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The options for `fit` that the caller gave by name."""
    options = dict(arguments["fit_options"])
    for name, value in options.items():
        if name in _NOT_HERE:
            raise ValueError(f"sweep takes no {name} ({_NOT_HERE[name]}); it was given as {shown(value)}")
        if name not in _OPTIONS:
            known = [*inspect.signature(sweep).parameters, *_OPTIONS]
            raise TypeError(f"sweep() has no option {name!a}: {right_option(name, [one for one in known if one != 'fit_options'])}")
    return options


@contextlib.contextmanager
def _opened(path: Any, arguments: Mapping[str, Any], options: Mapping[str, Any], problem: Any) -> Iterator[Callable[[int], dict[str, Any]]]:
    """What returns the option `checkpoint` of a call by its number; {} where there is no path."""
    if path is None:
        yield lambda number: {}
        return
    from .results.checkpoint import Call as OfSweep
    from .results.checkpoint import open_checkpoint, refuse_checkpoint

    refuse_checkpoint(path, None, problem.device)
    given = {name: value for name, value in arguments.items() if name != "fit_options"} | dict(options)
    with open_checkpoint(path, OfSweep.of("sweep", given, problem)) as checkpoint:
        yield lambda number: {"checkpoint": checkpoint.part(f"call{number}")}


def _is_used(name: str, options: Mapping[str, Any]) -> bool:
    """Whether an option of `fit` is given, other than its default."""
    value, default = options.get(name, _OPTIONS[name]), _OPTIONS[name]
    return type(value) is not type(default) or value != default


def _problem(arguments: Mapping[str, Any]) -> Any:
    """The data as `fit` reads them, for their shapes. arguments: those of `fit` that are given."""
    all_of_them = _OPTIONS | dict(arguments)
    return read_problem(all_of_them, None if is_compressed(all_of_them["X"]) else arrive(**data_of(all_of_them)))


def _check_starts(grid: Grid, problem: Any) -> None:
    """Raise unless every start of the grid has one number for each feature."""
    if "w0" not in grid.coordinates:
        return
    shape, needed = grid.coordinates["w0"].values.shape, () if problem.one_feature else (problem.n_features,)
    if shape[1:] != needed:
        each = "numbers, since X is 1-D" if problem.one_feature else f"lists of {problem.n_features} numbers, one for each feature"
        raise ValueError(f"the values of 'w0' must be {each}; they have shape {shape}")


def _check_shared(grid: Grid, options: Mapping[str, Any], problem: Any) -> None:
    """Raise where a value for all cells is an array that has an axis beside those of the data."""
    shapes = {name: _shape_of(options.get(name)) for name in ("lr", "ridge", "intercept0", "w0")}
    if not problem.one_feature:
        shapes["w0"] = shapes["w0"][:-1]
    schedule = read_schedule(options.get("schedule"))
    shapes |= {} if schedule is None else {"schedule": schedule.which.shape}
    for optimizer in each_once(grid.given.get("optimizer", [grid.optimizer])):
        for name, value in own_values(optimizer).items():
            for one in value if isinstance(value, tuple) else (value,):
                shapes[name] = max(shapes.get(name, ()), _shape_of(one), key=math.prod)
    for name, shape in shapes.items():
        try:
            fine = broadcast({"": problem.leading, name: shape}) == problem.leading
        except ValueError:
            fine = False
        if not fine:
            raise ValueError(
                f"{name} has shape {shape}, which does not broadcast to the leading axes of X and y, {problem.leading}: values that differ "
                f'between cells are an axis, grid={{"{name}": [...]}}'
            )


def _check_seeds(options: Mapping[str, Any], problem: Any) -> None:
    """Raise where seeds have axes that the data do not have."""
    shape = _shape_of(options.get("seed", 0))
    fine = len(shape) <= len(problem.leading) and all(n in (1, m) for n, m in zip(shape[::-1], problem.leading[::-1], strict=False))
    if not fine:
        raise ValueError(
            f"seed must be one for all cells of a sweep, or one for each fit of the data {problem.leading}; it has shape {shape}"
        )


def _shape_of(value: Any) -> tuple[int, ...]:
    """The shape of a value; () of what `fit` refuses."""
    try:
        return np.shape(value)
    except Exception:  # whatever an object may raise that NumPy asks for its shape
        return ()


def _n_fits(call: Call, problem: Any) -> int:
    """The number of fits of a call."""
    own = [getattr(call.options["optimizer"], name) for name in call.options["optimizer"].__dataclass_fields__]
    values = [np.shape(value) for one in own for value in (one if isinstance(one, tuple) else (one,))]
    values += [np.shape(call.options[name]) for name in ("lr", "ridge", "schedule", "intercept0") if name in call.options]
    if "w0" in call.options:
        starts = np.shape(call.options["w0"])
        values.append(starts if problem.one_feature else starts[:-1])
    return math.prod(broadcast({"": problem.leading} | {str(k): shape for k, shape in enumerate(values)}))


class _Progress:
    """The option `progress` of the calls of a sweep, which count on where the one before ended."""

    def __init__(self, given: Any, totals: Callable[[], Sequence[int]]) -> None:
        self._given, self._before, self._call = given, 0, 0
        self._totals = totals() if callable(given) else ()

    def option(self) -> dict[str, Any]:
        """For the next call."""
        if not self._totals:
            return {}
        before, told, total = self._before, self._given, sum(self._totals)
        self._before, self._call = before + self._totals[self._call], self._call + 1
        return {"progress": lambda done, _: told(before + done, total)}


def _fit_of(grid: Grid, arguments: Mapping[str, Any]) -> Any:
    """One call of `fit`; where memory is short, the error names the grid."""
    try:
        return fit(**arguments)
    except MemoryError as error:
        raise MemoryError(f"{grid.words}: {error}") from None
    except ValueError as error:
        if str(error).startswith("too many fits"):
            raise ValueError(f"{grid.words}: {error}") from None
        raise


class _Limits:
    """The stability limits of the learning rate, from the safe rate of `fit`, 1/λ_max."""

    def __init__(self, data: Mapping[str, Any], problem: Any) -> None:
        few, kernels = problem.n_parameters <= _MOST_OF_LIMITS, BACKENDS["cpu"].why_unavailable() is None
        self._data, self._known = data, few and kernels and problem.device is None
        self._rates: dict[Any, np.ndarray] = {}
        self._intercept = problem.intercept

    def of(self, result: Any, call: Call) -> np.ndarray | None:
        """The limits of the cells of a call, to be broadcast; NaN where there is none."""
        if not self._known:
            return None
        moves = any(self._data.get(name) is not None for name in ("schedule", "batch_size"))
        if result.state.optimizer != "sgd" or moves:
            return np.array(np.nan)
        hyper = result.hyperparameters
        momentum, dampening, decay = hyper["momentum"], hyper["dampening"], hyper["weight_decay"]
        if "ridge" in hyper:  # λ_max with a penalty on some parameters is not known here
            known = not self._intercept and call.options.get("reduction", self._data.get("reduction", "mean")) == "mean"
            decay = np.where(hyper["ridge"] > 0.0, 2.0 * hyper["ridge"] if known else np.nan, 0.0)
        with np.errstate(all="ignore"):
            curvature = 1.0 / self._safe_rate(call) + decay
            pull = np.where(hyper["nesterov"] != 0.0, 1.0 + 2.0 * momentum, np.where(momentum > 0.0, 1.0 - dampening, 1.0))
            limit = 2.0 * (1.0 + momentum) / (pull * curvature)
        turns = (momentum < 1.0) & (pull > 0.0) & (hyper["maximize"] == 0.0)
        if "schedule" in call.options:
            turns = turns & ~has_schedule(call.options["schedule"])
        return np.where(turns, limit, np.nan)

    def _safe_rate(self, call: Call) -> np.ndarray:
        """(…) the leading axes of the data: 1/λ_max."""
        kind = {name: call.options[name] for name in ("reduction", "standardize") if name in call.options}
        key = tuple(kind.items())
        if key not in self._rates:
            without = {"lr", "ridge", "w0", "intercept0", "tol", "history", "progress", "epochs", "excess_loss", *_LOOKING}
            asked = {name: value for name, value in self._data.items() if name not in without}
            rates = fit(**(asked | kind), optimizer=SGD(), epochs=0, excess_loss=False, progress=False).lr
            self._rates[key] = np.asarray(rates)
        return self._rates[key]


# -- validation --------------------------------------------------------------------------------


def _read_validation(arguments: Mapping[str, Any], options: Mapping[str, Any], problem: Any) -> dict[str, Any] | None:
    """The arguments of `fit` that compute a loss on the validation data; None without them."""
    given = {name: arguments[f"{name}_val"] for name in ("X", "y", "sample_weight")}
    if read_validation(given, _OPTIONS | dict(options), problem, BACKENDS["cpu"]) is None:
        return None
    compressed = is_compressed(given["X"])
    kept = ("threads", "memory_limit", *(() if compressed else ("nan_policy", "nodata")))
    asked = given | {name: options[name] for name in kept if name in options}
    asked |= {"min_samples": 1, "epochs": 0, "lr": 0.0, "excess_loss": False, "progress": False}
    if not compressed:
        asked |= {"dtype": problem.dtype, "intercept": problem.intercept}
    return asked


def _validation_loss(parts: Parts, asked: Mapping[str, Any], leading: tuple[int, ...]) -> np.ndarray:
    """(…) the loss of the validation data at the w of each cell; NaN where w is not finite.

    It is the loss that `fit` reports of a descent of no epochs that begins at this w.
    """
    arrays, shape = parts.arrays, parts.arrays["loss"].shape
    n_cells = math.prod(shape[: len(shape) - len(leading)])
    last = arrays["w"].shape[len(shape) :]
    w = arrays["w"].reshape(n_cells, *leading, *last)
    intercept = arrays["intercept"].reshape(n_cells, *leading) if "intercept" in arrays else None
    losses = np.empty((n_cells, *leading), w.dtype)
    step = max(1, _CELLS_AT_ONCE // math.prod(leading))
    for first in range(0, n_cells, step):
        piece = slice(first, first + step)
        finite = np.isfinite(w[piece]) if not last else np.isfinite(w[piece]).all(axis=-1)
        starts: dict[str, Any] = {}
        if intercept is not None:
            finite = finite & np.isfinite(intercept[piece])
            starts["intercept0"] = np.where(finite, intercept[piece], 0.0)
        starts["w0"] = np.where(finite[..., None] if last else finite, w[piece], 0.0)
        found = with_numpy_arrays(fit(**asked, **starts))
        losses[piece] = np.where(finite, found.loss, np.nan)
    return losses.reshape(shape)[()]
