"""`out=`: results written where the user wants them, and places that do not serve."""

from __future__ import annotations

import dataclasses
import re
import tracemalloc
from itertools import product

import numpy as np
import pytest

import fastgd
from fastgd import SGD
from fastgd.input.arguments import arrays_given
from fastgd.results.buffers import _overlap, read_out
from tests import grids
from tests.support.fit_results import batch, same, same_result
from tests.support.jobs import job_of
from tests.support.refusals import refused

MIB = 2**20


def _read_only(a):
    a = a.copy()
    a.flags.writeable = False
    return a


def outputs_of(result):
    found = {
        "w": result.w, "intercept": result.intercept, "loss": result.loss, "epochs": result.epochs, "status": result.state.status,
        "state.w": result.state.w, "state.slots": result.state.slots,
    }  # fmt: skip
    if result.history is not None:
        found |= {f"history.{name}": getattr(result.history, name) for name in ("w", "intercept", "loss")}
    return {name: np.asarray(value) for name, value in found.items() if value is not None}


OUT_CASES = list(product(
    [(), (7,), (3, 4)], [False, True], [False, True], [None, [[0.1], [0.2]]], ["C", "F", "memmap", "stepped"], ["own", "shared X", "1-D"]
))  # fmt: skip


def room_like(array, kind, folder, name):
    if kind == "memmap" and array.size:
        return np.memmap(folder / name, array.dtype, "w+", shape=array.shape)
    if kind == "stepped" and array.ndim:
        return np.empty((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)[..., ::2]
    return np.empty(array.shape, array.dtype, order="F" if kind == "F" else "C")


@pytest.mark.parametrize(("shape", "intercept", "history", "lr", "kind", "data"), grids.thin("out=", OUT_CASES, 4))
def test_results_are_written_where_the_user_wants_them(shape, intercept, history, lr, kind, data, tmp_path):
    X, y = batch(*shape, n=20, d=2)
    if data != "own":
        X = X[(0,) * len(shape)]
    if data == "1-D":
        X = X[:, 0]
    options = {"lr": lr and np.reshape(lr, (2, *[1] * len(shape))), "intercept": intercept, "epochs": 7, "history": history}
    want = fastgd.fit(X, y, **options)
    out = {name: room_like(value, kind, tmp_path, name) for name, value in outputs_of(want).items()}
    result = fastgd.fit(X, y, out=out, **options)
    assert same_result(result, want)
    for name, value in outputs_of(result).items():
        assert same(out[name], value), name
    assert result.w is out["w"]
    assert result.state.w is out["state.w"]
    if history:
        assert result.history.w is out["history.w"]
    assert same_result(fastgd.fit(X, y, out={"loss": out["loss"]}, **options), want)


def test_one_array_is_for_w():
    w = np.empty(2)
    result = fastgd.fit(*batch(n=9), out=w, epochs=3)
    assert result.w is w
    assert same(w, fastgd.fit(*batch(n=9), epochs=3).w)


def test_what_is_written_to_is_not_allocated():
    """A history on disk: nothing of its size is made, whatever its order of axes."""
    X, y = batch(2000, n=8)
    for shape in ((2000, 401, 2), (401, 2000, 2)):
        room = np.empty(shape)
        w = room if shape[0] == 2000 else room.transpose(1, 0, 2)
        options = {"epochs": 400, "history": True, "threads": 1, "lr": 0.1}
        fastgd.fit(X[:2], y[:2], **options)
        loss = np.empty((2000, 401))
        tracemalloc.start()
        fastgd.fit(X, y, out={"history.w": w, "history.loss": loss}, **options, memory_limit="6 MiB")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert room.nbytes > 12 * MIB
        assert peak < 6 * MIB
        assert same(w, fastgd.fit(X, y, **options).history.w)


RECORD = np.dtype([("x", np.float64, (9, 3)), ("w", np.float64, 3), ("used", np.int8), ("intercept", np.float64), ("loss", np.float64)])


@pytest.mark.parametrize("shape", [(), (5,), (3, 4)], ids=str)
def test_places_that_lie_between_each_other(shape):
    """Columns of one array; fields of records that hold the data too: no byte is in two of them."""
    X, y = batch(*shape, n=9, d=3)
    want = fastgd.fit(X, y, intercept=True, epochs=7)
    table = np.full((*shape, 5), np.nan)
    result = fastgd.fit(X, y, intercept=True, epochs=7, out={"w": table[..., :3], "intercept": table[..., 3]})
    assert same_result(result, want)
    assert same(table[..., :3], want.w)
    assert same(table[..., 3], want.intercept)
    assert np.isnan(table[..., 4]).all()
    records = np.zeros(shape, RECORD)
    records["x"] = X
    result = fastgd.fit(records["x"], y, intercept=True, epochs=7, out={name: records[name] for name in ("loss", "w", "intercept")})
    assert same_result(result, want)
    assert all(same(records[name], getattr(want, name)) for name in ("w", "intercept", "loss"))
    assert same(records["x"], X)
    assert not records["used"].any()


def test_whether_arrays_overlap():
    """Exactly; where that is too hard to tell, as NumPy's own hard case is, they count as if they
    did."""
    room = np.zeros(2**28, np.int8)  # never touched
    assert not _overlap(room[::2], room[1::2])
    assert _overlap(room[::2], room[1::3])
    one = np.lib.stride_tricks.as_strided(room, (1049, 1049, 1049), (36674, 61119, 85569))
    other = np.lib.stride_tricks.as_strided(room[64023025:], (1049, 1049, 1), (12223, 12224, 1))
    with pytest.raises(np.exceptions.TooHardError):
        np.shares_memory(one, other, max_work=10_000)
    assert _overlap(one, other)


REFUSED = {
    "shape": (np.empty((3, 2)), ValueError, r"^out must have shape \(2,\) and dtype float64; it has shape \(3, 2\) and dtype float64$"),
    "dtype": (np.empty(2, "f4"), ValueError, r"^out must have shape \(2,\) and dtype float64; it has shape \(2,\) and dtype float32$"),
    "a list": ([0.0, 0.0], TypeError, r"^out must be an array to write into, not \[0.0, 0.0\]$"),
    "read-only": (_read_only(np.empty(2)), ValueError, "^out is read-only$"),
    "no such name": ({"weights": np.empty(2)}, ValueError, "^out has no 'weights': it may have w, intercept, loss, "),
    "no intercept": (
        {"intercept": np.empty(())},
        ValueError,
        r"^out\['intercept'\] was given, but this fit has no intercept: give intercept=T",
    ),
    "no history": ({"history.w": np.empty((3, 2))}, ValueError, r"^out\['history.w'\] was given, .*: give history=True too$"),
}


@pytest.mark.parametrize(("out", "error", "pattern"), REFUSED.values(), ids=REFUSED)
def test_places_that_do_not_serve(no_work, out, error, pattern):
    refused(error, pattern, *batch(n=9), out=out, epochs=2)


def test_results_never_overwrite_the_data_or_each_other():
    X, y = batch(2, n=2)
    refused(ValueError, "^out shares memory with X, which would be overwritten$", X, y, out=X[:, 0])
    room = np.empty((2, 3))
    told = re.escape("out['loss'] shares memory with out['w'], which would be overwritten")
    refused(ValueError, f"^{told}$", X, y, out={"w": room[:, :2], "loss": room[:, 1]})
    table = np.empty((2, 4))
    told = re.escape("out['intercept'] shares memory with out['w'], which would be overwritten")
    refused(ValueError, f"^{told}$", X, y, intercept=True, out={"w": table[:, 1:3], "intercept": table[:, 2]})
    fields = np.zeros(2, np.dtype({"names": ["w", "loss"], "formats": [(np.float64, 2), np.float64], "offsets": [0, 12]}))
    told = re.escape("out['loss'] shares memory with out['w'], which would be overwritten")
    refused(ValueError, f"^{told}$", X, y, out={"w": fields["w"], "loss": fields["loss"]})
    weights = np.ones((2, 2))
    refused(ValueError, "^out shares memory with sample_weight", X, y, sample_weight=weights, out=weights)


M = 6
BESIDE = {  # an array that is given, and an output that may not lie in it
    "lr": lambda room: {"lr": room[:M], "out": {"loss": room[:M]}},
    "w0": lambda room: {"w0": room[: 2 * M].reshape(M, 2), "out": {"w": room[2 : 2 * M + 2].reshape(M, 2)}},
    "w0, reversed": lambda room: {"w0": room[: 2 * M].reshape(M, 2)[::-1], "out": room[: 2 * M].reshape(M, 2)},
    "intercept0": lambda room: {"intercept": True, "intercept0": room[:M], "out": {"loss": room[:M]}},
    "intercept0, moved": lambda room: {"intercept": True, "intercept0": room[:M], "out": {"intercept": room[1 : M + 1]}},
    "momentum": lambda room: {"optimizer": SGD(momentum=room[:M]), "out": {"loss": room[:M]}},
    "betas": lambda room: {"optimizer": fastgd.Adam(betas=(room[:M], 0.9)), "out": {"loss": room[:M]}},
    "nodata": lambda room: {"nodata": {"y": room[:M]}, "nan_policy": "omit", "out": {"loss": room[:M]}},
    "rows of a list": lambda room: {"y": [*np.ones((M - 1, 9)), room[:9]], "out": {"loss": room[8 : 8 + M]}},
    "a mask": lambda room: {"y": np.ma.masked_array(np.ones((M, 9)), room.view(bool)[: 9 * M].reshape(M, 9)), "out": {"loss": room[:M]}},
    "two entries": lambda room: {"out": {"loss": np.lib.stride_tricks.as_strided(room, (M,), (0,))}},
}


@pytest.mark.parametrize("case", BESIDE)
def test_no_input_is_overwritten(no_work, case):
    room = np.zeros(100)
    X, y = batch(M, n=9)
    with pytest.raises(ValueError, match=r"^out.* (shares memory with .*, which would be overwritten|has several entries in one place)"):
        fastgd.fit(**{"X": X, "y": y, "epochs": 2, **BESIDE[case](room)})


def fields_of(state):
    return [each.name for each in dataclasses.fields(state) if isinstance(getattr(state, each.name), np.ndarray)]


def test_no_array_of_a_state_is_overwritten():
    """One number further on, the state of the next fit would be lost before it is read."""
    X, y = batch(M, n=9)
    state = fastgd.fit(X, y, epochs=2, standardize=True, optimizer="adam").state
    assert len(fields_of(state)) == 9
    for name in fields_of(state):
        array = getattr(state, name)
        room = np.zeros(8 + max(array.nbytes, 16 * M), np.uint8)
        moved = dataclasses.replace(state, **{name: room[8 : 8 + array.nbytes].view(array.dtype).reshape(array.shape)})
        getattr(moved, name)[...] = array
        out = room[: 16 * M].view(float).reshape(M, 2)
        for place in ("w", "state.w"):
            with pytest.raises(ValueError, match=rf"^out.'{place}'. shares memory with state.{name}, which would be overwritten"):
                fastgd.fit(X, y, state=moved, standardize=True, optimizer="adam", out={place: out})


def test_an_input_that_is_added_later_is_compared_too():
    X, y = batch(M, n=9)
    layout = job_of(X, y).buffers.layout
    room = np.zeros(M)
    for later in (room, [[room]], {"a": room}, SGD(dampening=room)):
        with pytest.raises(ValueError, match=r"^out.'loss'. shares memory with not_thought_of_yet"):
            read_out({"loss": room}, {"out": {"loss": room}, "not_thought_of_yet": later}, layout)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("data", ["own", "shared X"])
def test_results_in_the_place_of_what_they_begin_with(order, data):
    """w over w0, and a loop of calls in one memory: the bits of results in new memory."""
    X, y = batch(3, 400, n=9)
    X = X if data == "own" else X[:, 0, None]
    options = {"lr": np.linspace(0.01, 0.1, 400), "intercept": True, "optimizer": SGD(momentum=0.5), "epochs": 3, "threads": 2}
    w0, b0 = np.asarray(batch(3, 400, n=2)[0][..., 0, :], order=order), np.ones((3, 400), order=order)
    first = fastgd.fit(X, y, w0=w0.copy(), intercept0=b0.copy(), **options)
    result = fastgd.fit(X, y, w0=w0, intercept0=b0, out={"w": w0, "intercept": b0}, **options)
    assert same_result(result, first)
    assert same(w0, first.w)
    names = ("w", "slots", "status")
    state = dataclasses.replace(first.state, **{name: np.array(getattr(first.state, name), order=order) for name in names})
    out = {"state.w": state.w, "state.slots": state.slots, "status": state.status}
    for _ in range(3):
        first = fastgd.fit(X, y, state=first.state, tol=1e-3, **options)
        result = fastgd.fit(X, y, state=state, out=out, tol=1e-3, **options)
        assert same_result(result, first)
        assert result.state.tol == first.state.tol
        state = result.state
        assert state.w is out["state.w"]


def arrays_in(value, name=""):
    if dataclasses.is_dataclass(value):
        return {k: v for each in dataclasses.fields(value) for k, v in arrays_in(getattr(value, each.name), f"{name}.{each.name}").items()}
    return {name: value} if isinstance(value, np.ndarray) and value.size else {}


@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("made_by", ["cpu", "numpy"])
def test_results_share_no_memory_with_inputs(made_by, standardize):
    """Nor with results of other calls; of one result only the statuses are one array."""
    X, y = batch(M, n=9)
    given = {"X": X, "y": y, "sample_weight": np.ones((M, 9)), "lr": np.full(M, 0.01), "epochs": 2, "history": True, "backend": made_by}
    given |= {"standardize": standardize, "optimizer": SGD(momentum=np.full(M, 0.5)), "intercept": True}
    first = fastgd.fit(w0=np.ones((M, 2)), intercept0=np.ones(M), **given)
    second = fastgd.fit(state=first.state, **given)
    solved = fastgd.solve(X, y, weight_decay=given["lr"], standardize=standardize)
    before = dict(arrays_given(given, "given", None)) | arrays_in(first)
    for result in (second, solved):
        held = arrays_in(result)
        for name, array in held.items():
            for other, taken in before.items():
                assert not np.shares_memory(array, taken), (name, other)
            alike = [other for other, taken in held.items() if np.shares_memory(array, taken)]
            assert alike == ([".status", ".state.status"] if name.endswith("status") else [name])
    x, line = X[0, :, 0].copy(), y[0].copy()
    for k in range(3):  # the third call is remembered
        small = [fastgd.fit(x, line, lr=0.01, epochs=2) for _ in range(2)]
        arrays = [array for result in small for array in arrays_in(result).values() if array.size and array.ndim]
        assert not any(np.shares_memory(a, b) for i, a in enumerate(arrays) for b in [x, line, *arrays[:i]]), k
