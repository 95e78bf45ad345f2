"""The same fit in other company: equal bits."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from unittest import mock

import numpy as np

import fastgd
from fastgd.planning import plan
from tests.campaign.attack import Attack, Trial
from tests.campaign.drawing import Draw, draw_fit, draw_solve, program, value_of
from tests.support.saved_files import same

PARTS = (
    "w",
    "intercept",
    "loss",
    "status",
    "epochs",
    "n_used",
    "lr",
    "excess_loss",
    "center",
    "scale",
    "rank",
    "condition",
    "ill_conditioned",
)
OF_STATE = ("w", "slots", "products", "epoch", "algorithm", "status", "initial_excess", "center", "scale")
OF_HISTORY = ("epoch", "w", "loss", "intercept")
Values = dict[str, Any]


def bits(value: Any) -> Any:
    """What is compared of an array: its shape, its dtype, its bytes; every NaN is the same one."""
    if value is None:
        return None
    array = np.array(value, np.int8 if isinstance(value, fastgd.Status) else None)
    if array.dtype.kind == "f":
        array[np.isnan(array)] = np.nan
    return array.shape, array.dtype.str, array.tobytes()


def parts_of(result: Any, index: tuple[int, ...] = ()) -> dict[str, Any]:
    """All numbers of a result, or of one of its fits, by name."""
    lengths = len(np.shape(result.loss))

    def of(value: Any) -> Any:
        return None if value is None else np.asarray(value)[index] if index and np.ndim(value) >= lengths else value

    found = {name: bits(of(getattr(result, name))) for name in PARTS}
    found |= {f"state.{name}": bits(of(getattr(result.state, name))) for name in OF_STATE}
    if result.history is not None:
        found |= {
            f"history.{name}": bits(of(getattr(result.history, name)) if name != "epoch" else result.history.epoch) for name in OF_HISTORY
        }
    return found


def differing(one: Mapping[str, Any], other: Mapping[str, Any], without: tuple[str, ...] = ()) -> list[str]:
    """The names of what differs."""
    return [name for name in one if name not in without and one[name] != other.get(name)]


# -- the same call, told otherwise -----------------------------------------------------------------


def other_layout(draw: Draw, array: Any) -> Any:
    """The same numbers with other strides, byte order or flags, or as a list."""
    array = np.asarray(array)
    if array.ndim == 0:
        return array
    way = draw.rng.integers(7)
    if way == 0:
        return np.asfortranarray(array)
    if way == 1:
        return np.repeat(array, 2, axis=-1)[..., ::2]
    if way == 2:
        return np.ascontiguousarray(array[..., ::-1])[..., ::-1]
    if way == 3:
        return array.astype(array.dtype.newbyteorder(">"))
    if way == 4 and array.dtype == np.float64:
        return array.tolist()
    if way == 5:
        unaligned = np.zeros(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(array.shape)
        unaligned[...] = array
        return unaligned
    readonly = array.copy()
    readonly.flags.writeable = False
    return readonly


def layouts(draw: Draw, values: Values) -> Values:
    return values | {name: other_layout(draw, values[name]) for name in ("X", "y", "sample_weight", "w0") if values.get(name) is not None}


def threads(draw: Draw, values: Values) -> Values:
    return values | ({"threads": int(draw.rng.integers(1, 5))} if values.get("backend") != "numpy" else {})


def told(draw: Draw, values: Values) -> Values:
    return values | {"progress": lambda done, total: None}


def limited(draw: Draw, values: Values) -> Values:
    return values | {"memory_limit": int(draw.one((20_000, 60_000, 200_000, 2**20)))}


def outputs(draw: Draw, values: Values) -> Values:
    """Arrays for some of the results."""
    result = fastgd.fit(**values)
    names = [name for name in ("w", "loss", "epochs", "status", "intercept", "excess_loss") if getattr(result, name) is not None]
    out = {name: np.zeros(np.shape(getattr(result, name)), bits(getattr(result, name))[1]) for name in names if draw.chance(0.6)}
    out |= {f"state.{name}": np.zeros_like(np.asarray(getattr(result.state, name))) for name in ("w", "slots") if draw.chance(0.3)}
    if result.history is not None and draw.chance(0.5):
        out["history.w"] = np.zeros_like(np.asarray(result.history.w))
    return values | {"out": out}


RETOLD: Mapping[str, Callable[[Draw, Values], Values]] = {
    "layout": layouts, "threads": threads, "progress": told, "memory_limit": limited, "out": outputs,
    "again": lambda draw, values: dict(values),
}  # fmt: skip


# -- one fit, in other batches ---------------------------------------------------------------------


def alone(values: Values, index: tuple[int, ...], leading: tuple[int, ...]) -> Values:
    """The call of one fit of a batch."""
    X, y = np.asarray(values["X"]), np.asarray(values["y"])
    one: Values = dict(values) | {"y": np.broadcast_to(y, (*leading, y.shape[-1]))[index]}
    one["X"] = X if X.ndim <= 2 else np.broadcast_to(X, (*leading, *X.shape[-2:]))[index]
    weights = values.get("sample_weight")
    if weights is not None:
        one["sample_weight"] = np.broadcast_to(weights, (*leading, y.shape[-1]))[index]
    if values.get("w0") is not None:
        w0 = np.asarray(values["w0"])
        one["w0"] = np.broadcast_to(w0, leading)[index] if X.ndim == 1 else np.broadcast_to(w0, (*leading, w0.shape[-1]))[index]
    for name in ("lr", "weight_decay"):
        if np.ndim(values.get(name)) > 0:
            one[name] = float(np.broadcast_to(values[name], leading)[index])
    return one


def in_a_batch(draw: Draw, one: Values) -> tuple[Values, int]:
    """(a call of many fits, the place of this one among them)."""
    many = int(draw.one((2, 3, 7, 33, 40)))
    place = int(draw.rng.integers(many))
    X, y = np.asarray(one["X"]), np.asarray(one["y"])
    ys = np.stack([y[draw.rng.permutation(len(y))] if k != place else y for k in range(many)])
    if X.shape != ys.shape and (X.ndim == 1 or draw.chance(0.5)):  # of that shape y is refused: it could mean either
        return one | {"y": ys}, place
    Xs = np.stack([X[draw.rng.permutation(len(X))] if k != place else X for k in range(many)])
    return one | {"X": Xs, "y": ys}, place


def comparisons(draw: Draw, function: Callable[..., Any], values: Values, result: Any) -> Iterator[tuple[str, list[str]]]:
    """(what was compared, names of what differs) of a few comparisons."""
    whole = parts_of(result)
    ways = [name for name in RETOLD if name != "out" or function is fastgd.fit]
    way = draw.one(ways)
    with mock.patch.object(plan, "INLINE_NS", 0 if draw.chance(0.7) else plan.INLINE_NS):
        again = RETOLD[way](draw, values)
        try:
            other = function(**again)
        except MemoryError:
            if way != "memory_limit":
                raise
        else:
            yield way, differing(whole, parts_of(other))
            if way == "out":
                for name, array in again["out"].items():
                    owner, _, part = name.rpartition(".")
                    yield "out", [name] if bits(array) != bits(getattr(getattr(other, owner) if owner else other, part)) else []
    leading = np.shape(result.loss)
    index = tuple(int(draw.rng.integers(length)) for length in leading)
    one = alone(values, index, leading)
    single = parts_of(function(**one))
    yield "alone", differing(parts_of(result, index), single)
    batch, place = in_a_batch(draw, one)
    yield "in a batch", differing(single, parts_of(function(**batch), (place,)))
    if function is fastgd.fit and not values.get("history"):
        first = int(draw.rng.integers(values["epochs"] + 1))
        begun = function(**values | {"epochs": first})
        rest = {name: value for name, value in values.items() if name not in ("w0", "intercept0", "algorithm")}
        ended = function(**rest | {"epochs": values["epochs"] - first, "state": begun.state})
        without: tuple[str, ...] = ("epochs",)
        if values.get("excess_loss") is None and values.get("tol") is None:
            kept = np.asarray(begun.state.algorithm) == begun.state.algorithm_names.index("moments")
            without += () if kept.all() else ("excess_loss",)  # near overflow "stream" takes over, which knows no least loss
        yield "in two calls", differing(whole, parts_of(ended), without)


def run(trial: Trial) -> None:
    """Compare the bits of a fit with those that it has otherwise."""
    draw = Draw(trial.rng)
    while trial.time_is_left():
        solving = draw.chance(0.2)
        given = draw_solve(draw) if solving else draw_fit(draw)
        function, name = (fastgd.solve, "fastgd.solve") if solving else (fastgd.fit, "fastgd.fit")
        text = program(name, given)
        trial.doing(text)
        values = {key: value_of(each) for key, each in given.items()}
        try:
            result = function(**values)
        except ValueError:  # numbers that are not finite in the dtype that was asked for
            continue
        if solving and (np.asarray(result.state.algorithm) == result.state.algorithm_names.index("lstsq")).any():
            continue  # the last bits are LAPACK's
        state = trial.rng.bit_generator.state
        try:
            for way, names in comparisons(draw, function, values, result):
                if names:
                    trial.failed("other bits", f"{way}: {', '.join(names)}", reproducer(name, given, state))
                trial.tried()
        except Exception as error:
            trial.failed("refused in other company", f"{type(error).__name__}: {error}", reproducer(name, given, state))
        if draw.chance(0.1):
            path = trial.folder / "saved.npz"
            result.save(path)
            if not same_result(fastgd.load(path), result):
                trial.failed("other bits", "saved and read", reproducer(name, given, state))
            trial.tried()


def same_result(one: Any, other: Any) -> bool:
    """Every field, as it was before it was saved."""
    plain = [each for each in dataclasses.fields(one) if each.name not in ("state", "history")]
    return all(same(getattr(one, each.name), getattr(other, each.name)) for each in plain) and parts_of(one) == parts_of(other)


def reproducer(name: str, given: Mapping[str, str], state: Mapping[str, Any]) -> str:
    """A program that makes the same comparisons."""
    after = (
        "from tests.campaign.company import comparisons\nfrom tests.campaign.drawing import Draw\n\n"
        f"draw = Draw(np.random.default_rng())\ndraw.rng.bit_generator.state = {state!r}\n"
        f"given = {dict(given)!r}\nvalues = {{name: eval(text) for name, text in given.items()}}\n"
        f"print([found for found in comparisons(draw, {name}, values, result) if found[1]])"
    )
    return program(name, given, after=after)


ATTACK = Attack(
    name="company",
    promise="a fit has the same bits in any company",
    how="A random call, and the same with other layouts, byte orders, threads, memory limits and outputs; one of its fits alone, and among "
    "others at any place; the epochs in two calls; saved and read. Every number is compared by its bits.",
    unit="comparisons",
    share=3,
    run=run,
)
