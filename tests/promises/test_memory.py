"""memory_limit, out=, and data of any layout: pieces, places and layouts change no bit; what cannot fit is refused with the numbers."""

from __future__ import annotations

import re
import tracemalloc
from itertools import product

import numpy as np
import pytest

import fastgd
from fastgd.input.options import read_memory_limit
from fastgd.planning import memory, plan
from fastgd.results.buffers import _overlap
from tests import grids
from tests.support.fit_results import batch, same, same_result, x, y
from tests.support.refusals import refused

MIB = 2**20

# memory_limit -----------------------------------------------------------------------------------------------------------------

LIMITS = {
    "2 GiB": 2**31, "500 MB": 500_000_000, "1.5GiB": 3 * 2**29, " 3 kb ": 3000, "7": 7, "7 B": 7, ".5 KiB": 512, "1T": 10**12, "2k": 2000,
    4096: 4096, np.int64(5): 5,
}  # fmt: skip


@pytest.mark.parametrize(("given", "size"), LIMITS.items(), ids=str)
def test_sizes_are_read(given, size):
    if str(given).strip()[-1] in "Tk":
        with pytest.raises(ValueError, match="a number of bytes, or a text such as"):
            read_memory_limit(given)
    else:
        assert read_memory_limit(given) == size


@pytest.mark.parametrize(
    ("given", "error", "pattern"),
    [
        ("much", ValueError, "a number of bytes, or a text such as '2 GiB' or '500 MB'; it is 'much'"),
        ("2 GiB of it", ValueError, "it is '2 GiB of it'"),
        ("-1 GiB", ValueError, "it is '-1 GiB'"),
        ("", ValueError, "it is ''"),
        (0, ValueError, "a whole number of bytes, or a text such as '2 GiB', at least 1; it is 0"),
        ("0 MiB", ValueError, "at least 1; it is 0"),
        (1.5, TypeError, "a whole number of bytes, or a text such as '2 GiB', not 1.5"),
        (True, TypeError, "not True"),
        ([1], TypeError, r"not \[1\]"),
    ],
)
def test_limits_that_are_none(no_work, given, error, pattern):
    refused(error, f"^memory_limit must be .*{pattern}", x, y, memory_limit=given)


CASES = {
    "own data": ((300, 20, 3), (300, 20), {}),
    "shared X": ((20, 3), (300, 20), {}),
    "shared y": ((300, 20, 3), (20,), {}),
    "a grid": ((20, 3), (2, 1, 20), {"lr": np.linspace(0, 0.1, 200)}),
    "stream": ((300, 20, 3), (300, 20), {"algorithm": "stream"}),
    "weights": ((300, 20, 3), (300, 20), {"sample_weight": np.linspace(0, 1, 20)}),
    "omit": ((20, 3), (300, 20), {"nan_policy": "omit"}),
    "whole numbers": ((300, 20, 3), (20,), {"whole": True}),
}


def data_of(case):
    x_shape, y_shape, options = CASES[case]
    rng = np.random.default_rng(3)
    X, y = rng.standard_normal(x_shape), rng.standard_normal(y_shape)
    options = {"lr": 0.01, "epochs": 5, "history": True} | options
    if options.pop("whole", False):
        X = (10 * X).astype(np.int16)
    if "nan_policy" in options:
        y[::3, 4] = np.nan
    return X, y, options


@pytest.mark.parametrize("case", CASES)
def test_smaller_pieces_change_no_bit(case, monkeypatch):
    X, y, options = data_of(case)
    want = fastgd.fit(X, y, **options)
    results = sum(np.asarray(a).nbytes for a in (want.w, want.loss, want.history.w, want.history.loss)) + 78 * want.loss.size
    monkeypatch.setattr(plan, "INLINE_NS", 0)
    pieces = []
    fit_into_memory = memory.fit_into_memory
    monkeypatch.setattr("fastgd.fitting.fit_into_memory", lambda *a, **o: pieces.append(fit_into_memory(*a, **o)) or pieces[-1])
    for room in (60_000, 200_000, 10 * MIB):
        assert same_result(fastgd.fit(X, y, threads=2, memory_limit=2 * results + room, **options), want)
    assert pieces[0].fits_per_task <= pieces[-1].fits_per_task
    assert pieces[0].pairs_per_group <= pieces[-1].pairs_per_group


@pytest.mark.parametrize("case", CASES)
def test_what_cannot_hold_one_fit_is_refused_with_the_numbers(case):
    X, y, options = data_of(case)
    pattern = r"^the results of [\d,]+ fits of 3 parameters with 6 history rows each need [\d.,]+ [KM]iB, computing one fit at a time "
    pattern += r"[\d.]+ [KM]iB, and memory_limit is 19\.5 KiB: (record fewer rows|give a larger memory_limit)"
    refused(MemoryError, pattern, X, y, memory_limit=20_000, **options)
    with pytest.raises(MemoryError, match=r"^the results of [\d,]+ fits? of 3 parameters need .* memory_limit is 1.0 KiB: "):
        fastgd.solve(X, y, memory_limit=1000, **{name: options[name] for name in ("sample_weight", "nan_policy") if name in options})


def test_the_default_is_a_share_of_what_is_free(monkeypatch):
    monkeypatch.setattr(memory, "_SMALL_BYTES", 0)
    monkeypatch.setattr(memory, "free_memory", lambda: 1000)
    refused(MemoryError, r"and 0\.00 GiB \(80% of what is free\) may be used", x, y, epochs=1)
    monkeypatch.setattr(memory, "free_memory", lambda: None)
    fastgd.fit(x, y, epochs=1)


RASTER = (24, 60, 50)  # time first


def raster(dtype="float32", gaps=False):
    rng = np.random.default_rng(9)
    cube = rng.standard_normal(RASTER).astype(dtype)
    if gaps:
        cube[rng.random(RASTER) < 0.1] = np.nan
    return np.linspace(0, 1, RASTER[0]).astype(dtype), cube


@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int16"])
def test_a_raster_with_time_first_is_never_copied_whole(dtype, gaps, monkeypatch):
    """Equal to the transposed copy with ==, and the peak stays below what such a copy takes."""
    t, cube = raster(dtype if dtype != "int16" else "float64", gaps and dtype != "int16")
    if dtype == "int16":
        cube = (100 * cube).astype(dtype)
    pixels = np.moveaxis(cube, 0, -1)
    options = {"intercept": True, "epochs": 20, "dtype": "float32" if dtype == "int16" else None, "nan_policy": "omit" if gaps else "raise"}
    want = fastgd.fit(t, np.ascontiguousarray(pixels), **options)
    monkeypatch.setattr(plan, "INLINE_NS", 0)
    monkeypatch.setattr(plan, "MOMENTS_BYTES", 10_000)
    fastgd.fit(t, pixels, threads=2, **options)  # what the first call loads is not counted
    tracemalloc.start()
    result = fastgd.fit(t, pixels, threads=2, **options)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert same_result(result, want)
    held = sum(
        np.asarray(a).nbytes
        for a in (
            result.w,
            result.intercept,
            result.loss,
            result.epochs,
            result.status,
            result.n_used,
            result.lr,
            *vars(result.state).values(),
        )
        if isinstance(a, np.ndarray)
    )
    assert peak < held + cube.size * (8 if dtype == "float64" else 4), (peak, held)


def interleaved(a):
    """The same numbers, sample after sample of all items."""
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(a, -1, 0)), 0, -1)


def noise(*shape):
    return np.random.default_rng(shape).standard_normal(shape)


def whole(*shape):
    return (100 * noise(*shape)).astype(np.int16)


def gaps(*shape):
    return np.where(abs(noise(*shape)) < 0.1, np.nan, noise(*shape))


COSTLY = {  # (X, y, options, limit): a call must hold a piece at a time. Fits that share an X are computed together: their y lie far apart
    "converted, far apart": lambda: (noise(40, 1000, 2), whole(30, 40, 1000), {}, "300 KiB"),
    "converted, far apart, stream": lambda: (noise(40, 1000, 2), whole(30, 40, 1000), {"algorithm": "stream"}, "300 KiB"),
    "interleaved": lambda: (noise(1000, 2), interleaved(noise(1200, 1000)), {}, "800 KiB"),
    "interleaved, far apart": lambda: (noise(40, 1000, 2), interleaved(noise(30, 40, 1000)), {}, "800 KiB"),
    "interleaved, threads": lambda: (
        np.swapaxes(interleaved(noise(1200, 2, 1000)), 1, 2), interleaved(noise(1200, 1000)),
        {"lr": [[0.01], [0.02]], "threads": 4}, "1.5 MiB",
    ),
    "one X, converted": lambda: (whole(60_000, 6), noise(2, 60_000), {}, "3.2 MiB"),
    "y converted, one at a time": lambda: (noise(60_000, 1), whole(6, 60_000), {}, "600 KiB"),
    "lists": lambda: (noise(40, 1000, 1), gaps(30, 40, 1000), {"nan_policy": "omit"}, "300 KiB"),
    "lists, weights": lambda: (
        noise(30, 40, 1000, 1), gaps(30, 40, 1000), {"nan_policy": "omit", "sample_weight": whole(30, 40, 1000) & 3}, "300 KiB",
    ),
    "lists, stream": lambda: (noise(30, 40, 1000, 1), noise(30, 40, 1000), {"algorithm": "stream"}, "300 KiB"),
}  # fmt: skip


@pytest.mark.parametrize("case", COSTLY)
def test_the_limit_is_kept(case):
    X, y, options, limit = COSTLY[case]()
    options = {"lr": 0.01, "epochs": 2, "threads": 1, **options}
    want = fastgd.fit(X, y, **options)  # what the first call loads is not counted
    tracemalloc.start()
    result = fastgd.fit(X, y, memory_limit=limit, **options)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert same_result(result, want)
    assert peak <= read_memory_limit(limit)


LAYOUTS = {
    "Fortran order": np.asfortranarray,
    "samples backwards": lambda a: np.ascontiguousarray(a[:, ::-1])[:, ::-1],
    "fits backwards": lambda a: np.ascontiguousarray(a[::-1])[::-1],
    "all backwards": lambda a: np.ascontiguousarray(a[tuple([slice(None, None, -1)] * a.ndim)])[tuple([slice(None, None, -1)] * a.ndim)],
    "every second": lambda a: np.repeat(a, 2, axis=1)[:, ::2],
    "samples first": lambda a: np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 1, 0)), 0, 1),
    "byte-swapped": lambda a: a.astype(a.dtype.newbyteorder()),
    "not aligned": lambda a: np.frombuffer(b"\0" + a.tobytes(), np.uint8)[1:].view(a.dtype).reshape(a.shape),
    "in a record": lambda a: _in_a_record(a),
    "read-only": lambda a: _read_only(a),
}


def _in_a_record(a):
    records = np.zeros(a.shape, np.dtype([("flag", np.int8), ("value", a.dtype)]))
    records["value"] = a
    return records["value"]


def _read_only(a):
    a = a.copy()
    a.flags.writeable = False
    return a


@pytest.mark.parametrize("algorithm", ["moments", "stream"])
@pytest.mark.parametrize("name", ["float32", "float64"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_change_no_bit(layout, name, algorithm, backend):
    if backend != "cpu":
        algorithm = "auto"
    X, y = (a.astype(name) for a in batch(6, n=40, d=3))
    weights = np.linspace(0, 2, 40).astype(name)
    options = {"lr": 0.05, "epochs": 6, "history": True, "intercept": True, "algorithm": algorithm, "backend": backend}
    want = fastgd.fit(X, y, sample_weight=weights, **options)
    lay = LAYOUTS[layout]
    for one_x, one_y in ((lay(X), lay(y)), (X, lay(y)), (lay(X), y)):
        assert same_result(fastgd.fit(one_x, one_y, sample_weight=np.broadcast_to(weights, (6, 40)), **options), want)
    assert same_result(fastgd.fit(X, y, sample_weight=lay(np.broadcast_to(weights, (6, 40))), **options), want)
    assert same_result(fastgd.fit(X, lay(y), **options | {"lr": [[0.05], [0.1]]}), fastgd.fit(X, y, **options | {"lr": [[0.05], [0.1]]}))


# out --------------------------------------------------------------------------------------------------------------------------


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
    """Exactly; where that is too hard to tell, as NumPy's own hard case is, they count as if they did."""
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
