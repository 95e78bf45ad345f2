"""What the cases are made of: data, the call that is timed, and what it must do at least.

Data are standard normal features and targets X w + noise, from fixed seeds.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numba
import numpy as np

import fastgd

from ..kernels.batch_order import order_of_epoch
from ..kernels.cpu.simd.compiling import OPTIONS
from . import agreeing
from .counting import compress_operations, descend_operations, stream_operations

LEARNING_RATE = 0.05
BATCH = 256  # samples of a mini-batch


@dataclass(frozen=True)
class Sizes:
    """Sizes of a case; n_samples is 0 where groups have unlike ones."""

    n_fits: int
    n_samples: int
    n_features: int
    epochs: int
    dtype: str = "float32"

    def share(self, share: float) -> Sizes:
        """Return this share of the fits, or of the samples of one fit, at least 20 of either."""
        if self.n_fits > 1:
            return replace(self, n_fits=min(self.n_fits, max(20, round(self.n_fits * share))))
        return replace(self, n_samples=min(self.n_samples, max(20, round(self.n_samples * share))))

    def told(self) -> dict[str, Any]:
        """As a part of a row."""
        return dict(vars(self))

    def __str__(self) -> str:
        """Return `20,000 x 256 x 8, 200 epochs`; float64 is said."""
        text = f"{self.n_fits:,} x {self.n_samples:,} x {self.n_features}"
        text += f", {self.epochs:,} epochs" if self.epochs else ""
        return text + (", float64" if self.dtype == "float64" else "")


@dataclass(frozen=True)
class Work:
    """One case with its data."""

    call: Callable[..., Any]
    check: Callable[[], float]  # the share of the error bound that was used; raises Disagrees
    reads: tuple[np.ndarray, ...] = ()
    writes: tuple[np.ndarray, ...] = ()  # as large as what must be written
    operations: int = 0
    gathered: tuple[Any, ...] = ()  # rows, and the order in which they are read
    empty: Callable[[], object] | None = None  # a compiled call of as many arguments that does nothing
    twin: Callable[[], object] | None = None  # another call, which this one is compared with
    problem: dict[str, Any] = field(default_factory=dict)  # for other libraries: benchmarks/peers.py


@lru_cache(maxsize=1)  # cases of the same data follow each other
def make_data(n_fits: int, n_samples: int, n_features: int, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Return X (n_fits, n_samples, n_features) and y (n_fits, n_samples)."""
    rng = np.random.default_rng(0)
    number = np.dtype(dtype).type
    X = rng.standard_normal((n_fits, n_samples, n_features), dtype=number)
    w = rng.standard_normal((n_fits, n_features), dtype=number)
    y = rng.standard_normal((n_fits, n_samples), dtype=number)
    y *= number(0.1)
    y += np.matmul(X, w[..., None])[..., 0]
    return X, y


def data_of(sizes: Sizes) -> tuple[np.ndarray, np.ndarray]:
    """X and y of a batch."""
    return make_data(sizes.n_fits, sizes.n_samples, sizes.n_features, sizes.dtype)


def results_of(sizes: Sizes, history: bool) -> dict[str, np.ndarray]:
    """Arrays for `out=`, touched."""
    m, d, dtype = sizes.n_fits, sizes.n_features, sizes.dtype
    arrays = {"w": np.ones((m, d), dtype), "loss": np.ones(m, dtype)}
    if history:
        rows = sizes.epochs + 1
        arrays |= {"history.w": np.ones((m, rows, d), dtype), "history.loss": np.ones((m, rows), dtype)}
    return arrays


def _operations(sizes: Sizes, losses: int = 1, n_gram: int | None = None) -> int:
    """Operations of SGD on moments; n_gram: how many fits have moments of their own."""
    double = sizes.dtype == "float64"
    moments = (sizes.n_fits if n_gram is None else n_gram) * compress_operations(sizes.n_samples, sizes.n_features, double)
    return moments + sizes.n_fits * descend_operations(sizes.n_features, sizes.epochs, losses, double)


def descent(keep: str, **options: Any) -> Callable[[Sizes], Work]:
    """`fit` of a batch. keep: "w", or a history in "fresh" memory, or one in "out"."""

    def make(sizes: Sizes) -> Work:
        X, y = data_of(sizes)
        optimizer = options.get("optimizer")
        given: dict[str, Any] = {**({} if optimizer else {"lr": LEARNING_RATE}), **options}
        if "nan_policy" in options:
            X = X.copy()
            X[np.random.default_rng(1).random(X.shape[:2]) < 0.1] = np.nan
        history = keep != "w"
        into: dict[str, Any] = {"out": results_of(sizes, True)} if keep == "out" else {}

        def call(**more: Any) -> Any:
            return fastgd.fit(X, y, epochs=sizes.epochs, history=history, progress=False, **given, **into, **more)

        judging: dict[str, Any] = {"optimizer": optimizer} if optimizer else {"lr": LEARNING_RATE}
        check = lambda: agreeing.check_descents(call, X, y, sizes.epochs, judging, **given)  # noqa: E731
        if options.get("standardize"):
            check = lambda: agreeing.check_standardized(call, X, y, LEARNING_RATE, sizes.epochs)  # noqa: E731
        writes = tuple(results_of(sizes, True).values()) if history else ()
        return Work(
            call, check, (X, y), writes, _operations(sizes, sizes.epochs + 1 if history else 1),
            problem={"kind": "descent", "X": X, "y": y, "epochs": sizes.epochs, "history": history,
                     "lr": getattr(optimizer, "lr", None) or LEARNING_RATE, "optimizer": optimizer, "options": options},
        )  # fmt: skip

    return make


def tiny(like: bool) -> Callable[[Sizes], Work]:
    """One small call: like an earlier one, or with a `min_samples` that no earlier call had."""

    def make(sizes: Sizes) -> Work:
        X, y = (array[0] for array in data_of(sizes))
        least = itertools.cycle(range(1, len(y)))  # it changes nothing else

        def call(**more: Any) -> Any:
            unlike: dict[str, Any] = {} if like else {"min_samples": next(least)}
            return fastgd.fit(X, y, lr=LEARNING_RATE, epochs=sizes.epochs, **unlike, **more)

        judging = {"lr": LEARNING_RATE}
        return Work(
            call, lambda: agreeing.check_descents(call, X[None], y[None], sizes.epochs, judging, lr=LEARNING_RATE), empty=empty_call(40),
            problem={"kind": "descent", "X": X[None], "y": y[None], "epochs": sizes.epochs, "history": False, "lr": LEARNING_RATE,
                     "optimizer": None, "options": {}},
        )  # fmt: skip

    return make


@lru_cache
def empty_call(n_arguments: int) -> Callable[[], object]:
    """A call of a compiled function that takes arrays and does nothing."""
    names = ", ".join(f"a{i}" for i in range(n_arguments))
    empty = numba.njit(**OPTIONS)(eval(f"lambda {names}: None"))
    arrays = [np.ones(1) for _ in range(n_arguments)]
    empty(*arrays)
    return lambda: empty(*arrays)


def without_excess(make: Callable[[Sizes], Work]) -> Callable[[Sizes], Work]:
    """The call of another case, beside the same call that leaves `excess_loss` out."""

    def made(sizes: Sizes) -> Work:
        work = make(sizes)
        twin = functools.partial(work.call, excess_loss=False)

        def check() -> float:
            agreeing.same_bits(work.call(), twin(), "what has no excess loss")
            return work.check()

        return replace(work, check=check, twin=twin, problem={})

    return made


def _solving(call: Callable[[], Any], X: np.ndarray, y: np.ndarray, intercept: bool, kind: str = "closed form", **more: Any) -> Work:
    """`solve` of y (fits, n) on X (fits, n, d), or on (1, n, d), one X for all."""

    def check() -> float:
        found, own = call(), np.broadcast_to(X, (*y.shape, X.shape[-1]))
        w = np.append(found.w, found.intercept[..., None], axis=-1) if intercept else found.w
        w, unit = w.reshape(len(y), -1), np.finfo(X.dtype).eps / 2
        return max(agreeing.check_coefficients(w[f], own[f], y[f], unit, intercept) for f in agreeing.picked(len(y)))

    return Work(call, check, (X, y), problem={"kind": kind, "X": X, "y": y, "intercept": intercept}, **more)


def solve(sizes: Sizes) -> Work:
    """`solve` of a batch."""
    X, y = data_of(sizes)
    operations = sizes.n_fits * compress_operations(sizes.n_samples, sizes.n_features, sizes.dtype == "float64")
    return _solving(lambda: fastgd.solve(X, y, progress=False), X, y, False, operations=operations)


def tiny_solve(sizes: Sizes) -> Work:
    """A line through the samples of one small call."""
    X, y = data_of(sizes)
    return replace(_solving(lambda: fastgd.solve(X[0], y[0], intercept=True), X, y, True), reads=(), empty=empty_call(40))


def deficient(number: float | None, intercept: bool = False) -> Callable[[Sizes], Work]:
    """`solve` of fits whose last column is this number, beside ordinary fits.

    Those have as many samples, or twice as many as features where that is more.
    """

    def make(sizes: Sizes) -> Work:
        def of(X: np.ndarray, y: np.ndarray) -> Callable[[], Any]:
            return lambda: fastgd.solve(X, y, intercept=intercept, progress=False)

        ordinary = of(*data_of(replace(sizes, n_samples=max(sizes.n_samples, 2 * sizes.n_features))))
        X, y = data_of(sizes)
        if number is not None:
            X = X.copy()
            X[..., -1] = number
        return _solving(of(X, y), X, y, intercept, "deficient", twin=ordinary)

    return make


def one_X(sizes: Sizes) -> Work:
    """`solve` of many targets on one X."""
    X, _ = make_data(1, sizes.n_samples, sizes.n_features, sizes.dtype)
    rng, number = np.random.default_rng(1), X.dtype.type
    y = rng.standard_normal((sizes.n_fits, sizes.n_features), number) @ X[0].T
    y += number(0.1) * rng.standard_normal(y.shape, number)
    n, d, double = sizes.n_samples, sizes.n_features, sizes.dtype == "float64"
    of_X, with_y = compress_operations(n, d - 1, double), compress_operations(n, d, double)
    return _solving(lambda: fastgd.solve(X[0], y, progress=False), X, y, False, "one X", operations=of_X + sizes.n_fits * (with_y - of_X))


def rates(keep: str) -> Callable[[Sizes], Work]:
    """A sweep of n_fits rates on one data set."""

    def make(sizes: Sizes) -> Work:
        X, y = (array[0] for array in make_data(1, sizes.n_samples, sizes.n_features, sizes.dtype))
        lr, history = np.geomspace(1e-4, 0.4, sizes.n_fits), keep != "w"

        def call(**more: Any) -> Any:
            return fastgd.sweep(X, y, grid={"lr": lr}, epochs=sizes.epochs, history=history, progress=False, **more)

        def check() -> float:
            found, worst = call(), 0.0
            for f in agreeing.picked(len(lr)):
                alone = fastgd.fit(X, y, lr=lr[f], epochs=sizes.epochs, history=True)
                agreeing.same_bits(found.sel(lr=lr[f]), alone, f"the rate {lr[f]:.3g}")
                some = agreeing.first_samples(X, y)
                told = fastgd.fit(*some, lr=lr[f], epochs=min(sizes.epochs, agreeing.AGREED_EPOCHS), history=True)
                worst = max(worst, agreeing.judged(told, *some, agreeing.OURS, lr=lr[f]))
            return worst

        writes = tuple(results_of(sizes, True).values()) if history else ()
        operations = _operations(sizes, sizes.epochs + 1 if history else 1, n_gram=1)
        problem = {"kind": "rates", "X": X, "y": y, "lr": lr, "epochs": sizes.epochs, "history": history, "optimizer": None, "options": {}}
        return Work(call, check, (X, y), writes, operations, problem=problem)

    return make


def batches(shuffle: bool) -> Callable[[Sizes], Work]:
    """One epoch of mini-batches of one long fit."""

    def make(sizes: Sizes) -> Work:
        X, y = (array[0] for array in data_of(sizes))

        def of(some_X: np.ndarray, some_y: np.ndarray) -> Any:
            return fastgd.fit(some_X, some_y, lr=LEARNING_RATE, epochs=1, batch_size=BATCH, shuffle=shuffle, progress=False)

        def check() -> float:
            """An epoch of the first samples is, by ==, a step of `stream` on each batch."""
            some_X, some_y = X[: 20 * BATCH + 57], y[: 20 * BATCH + 57]
            state = fastgd.fit(some_X, some_y, lr=LEARNING_RATE, epochs=0, algorithm="stream").state
            for rows in fastgd.testing.minibatch_order(len(some_y), BATCH, 0, shuffle=shuffle):
                state = fastgd.fit(some_X[rows], some_y[rows], lr=LEARNING_RATE, epochs=1, state=state, algorithm="stream").state
            if not np.array_equal(state.w, of(some_X, some_y).w):
                raise agreeing.Disagrees("an epoch of mini-batches is not its steps")
            return 0.0

        order = order_of_epoch(len(y), 0, 0).astype(np.int32)
        problem = {"kind": "batches", "X": X, "y": y, "lr": LEARNING_RATE, "shuffle": shuffle, "batch": BATCH}
        return Work(lambda: of(X, y), check, (X, y), gathered=(X, order), problem=problem)

    return make


@lru_cache(maxsize=1)
def make_groups(n_groups: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return X (rows, 3), y (rows,) and offsets: groups of 5 to 200 rows, mostly few (k^-1.2)."""
    rng = np.random.default_rng(2024)
    sizes = np.arange(5, 201)
    chance = sizes**-1.2 / (sizes**-1.2).sum()
    offsets = np.concatenate([[0], np.cumsum(rng.choice(sizes, n_groups, p=chance))])
    X = rng.standard_normal((3, offsets[-1])).T  # columns of a table
    y = X @ [1.0, -2.0, 0.5] + 0.1 * rng.standard_normal(len(X)) + 3
    return X, y, offsets


def groups(solving: bool) -> Callable[[Sizes], Work]:
    """Groups of rows of one table, with an intercept."""

    def make(sizes: Sizes) -> Work:
        X, y, offsets = make_groups(sizes.n_fits)
        X = X[:, : sizes.n_features]

        def call() -> Any:
            if solving:
                return fastgd.solve_groups(X, y, offsets=offsets, intercept=True, progress=False)
            return fastgd.fit_groups(X, y, offsets=offsets, intercept=True, lr=LEARNING_RATE, epochs=sizes.epochs, progress=False)

        def check() -> float:
            found, worst = call(), 0.0
            found = getattr(found, "result", found)
            for g in agreeing.picked(len(offsets) - 1):
                rows = slice(offsets[g], offsets[g + 1])
                if solving:
                    w = np.append(found.w[g], found.intercept[g])
                    worst = max(worst, agreeing.check_coefficients(w, X[rows], y[rows], 2.0**-53, intercept=True))
                    continue
                alone = fastgd.fit(X[rows], y[rows], intercept=True, lr=LEARNING_RATE, epochs=sizes.epochs, history=True)
                if not np.array_equal(found.w[g], alone.w):
                    raise agreeing.Disagrees(f"group {g} has another w alone")
                worst = max(worst, agreeing.judged(alone, X[rows], y[rows], agreeing.OURS, lr=LEARNING_RATE, intercept=True))
            return worst

        problem = {"kind": "groups", "X": X, "y": y, "offsets": offsets} if solving else {}
        return Work(call, check, (X.T, y), problem=problem)

    return make


@lru_cache(maxsize=1)
def make_raster(n_times: int, n_places: int) -> tuple[np.ndarray, np.ndarray]:
    """Return t (n_times,) and a raster (n_times, n_places) of lines with noise, float32."""
    rng = np.random.default_rng(0)
    t = np.linspace(0, 1, n_times, dtype=np.float32)
    slope, offset = rng.standard_normal((2, n_places), np.float32)
    cube = np.empty((n_times, n_places), np.float32)
    for layer, at in zip(cube, t, strict=True):
        layer[:] = offset + slope * at + np.float32(0.1) * rng.standard_normal(n_places, np.float32)
    return t, cube


def raster(solving: bool) -> Callable[[Sizes], Work]:
    """A line for every place of a raster whose times are its first axis; nothing is transposed."""

    def make(sizes: Sizes) -> Work:
        t, cube = make_raster(sizes.n_samples, sizes.n_fits)

        def of(series: np.ndarray, **more: Any) -> Any:
            if solving:
                return fastgd.solve(t, series, intercept=True, progress=False)
            return fastgd.fit(t, series, intercept=True, lr=0.3, epochs=sizes.epochs, progress=False, **more)

        def check() -> float:
            found, worst = of(cube.T), 0.0
            for f in agreeing.picked(cube.shape[1]):
                series = np.ascontiguousarray(cube[:, f])
                if solving:
                    w = np.append(found.w[f], found.intercept[f])
                    worst = max(worst, agreeing.check_coefficients(w, t[:, None], series, 2.0**-24, intercept=True))
                    continue
                alone = of(series, history=True)
                agreeing.same_bits(found, alone, f"place {f}", f)
                worst = max(worst, agreeing.judged(alone, t[:, None], series, agreeing.OURS, lr=0.3, intercept=True))
            return worst

        problem = {"kind": "raster", "X": t[None, :, None], "y": cube.T, "intercept": True} if solving else {}
        return Work(lambda: of(cube.T), check, (cube,), problem=problem)

    return make


def stream(sizes: Sizes) -> Work:
    """Epochs on samples that stay in the cache, by one thread."""
    X, y = (array[0] for array in data_of(sizes))
    options: dict[str, Any] = {"lr": LEARNING_RATE, "algorithm": "stream", "threads": 1}

    def call() -> Any:
        return fastgd.fit(X, y, epochs=sizes.epochs, progress=False, **options)

    return Work(
        call, lambda: agreeing.check_descents(call, X[None], y[None], sizes.epochs, {"lr": LEARNING_RATE}, **options),
        operations=stream_operations(sizes.n_samples, sizes.n_features, sizes.epochs),
    )  # fmt: skip


def verify(sizes: Sizes) -> Work:
    """`verify` of a recorded history."""
    X, y = (array[0] for array in data_of(sizes))
    rate, result = LEARNING_RATE, fastgd.fit(X, y, lr=LEARNING_RATE, epochs=sizes.epochs, history=True)
    return Work(lambda: fastgd.verify(result, X, y, lr=rate), lambda: agreeing.judged(result, X, y, agreeing.OURS, lr=rate))
