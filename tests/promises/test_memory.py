"""`memory_limit` is kept, and smaller pieces change no bit."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

import fastgd
from fastgd.input.options import read_memory_limit
from fastgd.planning import memory, plan
from tests.support.fit_results import same_result
from tests.support.memory_cases import CASES, data_of

MIB = 2**20


@pytest.mark.parametrize("case", CASES)
def test_smaller_pieces_change_no_bit(case, monkeypatch):
    X, y, options = data_of(case)
    want = fastgd.fit(X, y, **options)
    results = sum(np.asarray(a).nbytes for a in (want.w, want.loss, want.history.w, want.history.loss)) + 78 * want.loss.size
    monkeypatch.setattr(plan, "INLINE_NS", 0)
    pieces = []
    fit_into_memory = memory.fit_into_memory
    monkeypatch.setattr("fastgd.planning.job.fit_into_memory", lambda *a, **o: pieces.append(fit_into_memory(*a, **o)) or pieces[-1])
    least = memory.OF_A_CALL + 60_000
    for room in (least, 200_000, 10 * MIB):
        assert same_result(fastgd.fit(X, y, threads=2, memory_limit=2 * results + room, **options), want)
    assert pieces[0].fits_per_task <= pieces[-1].fits_per_task
    assert pieces[0].pairs_per_group <= pieces[-1].pairs_per_group


RASTER = (24, 60, 50)  # time first


def raster(dtype="float32", gaps=False, shape=RASTER):
    rng = np.random.default_rng(9)
    cube = rng.standard_normal(shape).astype(dtype)
    if gaps:
        cube[rng.random(shape) < 0.1] = np.nan
    return np.linspace(0, 1, shape[0]).astype(dtype), cube


@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int16"])
def test_a_raster_with_time_first_is_never_copied_whole(dtype, gaps, monkeypatch):
    """Equal to the transposed copy with ==, and the peak stays below what such a copy takes."""
    shape = (96, *RASTER[1:])  # many times, since what a call takes for each place is not looked at
    t, cube = raster(dtype if dtype != "int16" else "float64", gaps and dtype != "int16", shape)
    if dtype == "int16":
        cube = (100 * cube).astype(dtype)
    pixels = np.moveaxis(cube, 0, -1)
    options = {"intercept": True, "epochs": 20, "dtype": "float32" if dtype == "int16" else None, "nan_policy": "omit" if gaps else "raise"}
    want = fastgd.fit(t, np.ascontiguousarray(pixels), **options)
    monkeypatch.setattr(plan, "INLINE_NS", 0)
    monkeypatch.setattr(plan, "PIECE_NS", 5_000)  # a task of a real raster has as small a share of it
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


def nearly_repeated(n):
    """A column that the elimination can not tell from a copy of the other."""
    X = noise(n, 2)
    X[:, 1] = X[:, 0] * (1 + 1e-14 * np.sign(X[:, 1]))
    return X


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
    "masked": lambda: (noise(40, 1000, 1), np.ma.masked_invalid(gaps(30, 40, 1000)), {"nan_policy": "omit"}, "400 KiB"),
    "masked, one X": lambda: (np.ma.masked_invalid(gaps(60_000, 6)), noise(2, 60_000), {"nan_policy": "omit"}, "9 MiB"),
    "masked, interleaved": lambda: (
        noise(1000, 2), np.ma.masked_invalid(gaps(1000, 1200)).T, {"nan_policy": "omit"}, "800 KiB",
    ),
    "nodata": lambda: (whole(30, 40, 1000, 1), whole(30, 40, 1000), {"nan_policy": "omit", "nodata": [7, -3]}, "300 KiB"),
    **{
        f"F*, {', '.join(options)}": lambda options=options: (
            np.float32(noise(200_000, 4)), np.float32(noise(200_000)), {"algorithm": "stream", **options}, "3 MiB",
        )
        for options in ({"excess_loss": True}, *({"tol": 1e-3, **more} for more in ({}, {"standardize": True})))
    },
    **{
        f"F*, doubtful moments, {', '.join(options)}": lambda options=options: (
            nearly_repeated(200_000), noise(200_000), {"tol": 1e-3, **options}, "6 MiB",
        )
        for options in ({}, {"standardize": True}, {"intercept": True})
    },
    "lists, stream": lambda: (noise(30, 40, 1000, 1), noise(30, 40, 1000), {"algorithm": "stream"}, "300 KiB"),
}  # fmt: skip


@pytest.mark.share(3)
@pytest.mark.parametrize("case", COSTLY)
def test_the_limit_is_kept(case):
    X, y, options, limit = COSTLY[case]()
    options = {"lr": 0.01, "epochs": 2, "threads": 1, **options}
    want = fastgd.fit(X, y, **options)
    fastgd.fit(X, y, memory_limit=limit, **options)  # what the first call loads is not counted
    tracemalloc.start()
    result = fastgd.fit(X, y, memory_limit=limit, **options)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert same_result(result, want)
    assert peak <= read_memory_limit(limit)


STANDARDIZED = {  # (X, y, options, limits of bytes). All but the last were passed by what center, scale, their copies and the way back take
    "far apart": lambda: (noise(40, 1000, 2), whole(30, 40, 1000), {"intercept": True}, (350_000, 383_000, 470_000)),
    "far apart, short": lambda: (noise(40, 20, 3), whole(300, 40, 20), {}, (2_347_000, 2_587_000, 3_700_000)),
    "many features": lambda: (noise(2000, 12, 6), noise(2000, 12), {"intercept": True}, (858_000, 945_000, 1_155_000)),
    "histories": lambda: (noise(8000, 12, 1), noise(8000, 12), {"history": True, "epochs": 3, "optimizer": "adam"}, (1_686_000, 1_900_000)),
    "one X": lambda: (noise(1000, 6), noise(1200, 1000), {"intercept": True}, (608_000, 830_000)),
}  # fmt: skip


@pytest.mark.share(3)
@pytest.mark.parametrize("case", STANDARDIZED)
def test_the_limit_is_kept_by_standardized_fits_or_they_are_refused(case):
    X, y, options, limits = STANDARDIZED[case]()
    options = {"lr": 0.01, "epochs": 2, "threads": 1, "standardize": True, **options}
    want, refused = fastgd.fit(X, y, **options), []
    for limit in limits:
        try:
            fastgd.fit(X, y, memory_limit=limit, **options)  # what the first call loads is not counted
        except MemoryError:
            refused.append(limit)
            continue
        tracemalloc.start()
        result = fastgd.fit(X, y, memory_limit=limit, **options)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert same_result(result, want)
        assert peak <= limit
    assert limits[-1] not in refused


SPOILED = {  # a bad number in the last row, which is looked for once the fit has seen it
    "one long fit": ((200_000, 6), (200_000,), {}, "4 MiB"),
    "one long fit, weights": ((200_000, 6), (200_000,), {"weights": True}, "6 MiB"),
    "many short fits, weights": ((2000, 100, 6), (2000, 100), {"weights": True}, "3 MiB"),
    "whole numbers, masked, weights": ((60_000, 6), (60_000,), {"weights": True, "masked": True}, "9 MiB"),
}


@pytest.mark.parametrize("function", [fastgd.fit, fastgd.solve])
@pytest.mark.parametrize("case", SPOILED)
def test_the_limit_is_kept_where_a_number_is_bad(case, function):
    x_shape, y_shape, options, limit = SPOILED[case]
    X, y = noise(*x_shape), noise(*y_shape)
    X[..., -1, 3] = np.nan
    if "masked" in options:
        X = np.ma.masked_array(whole(*x_shape), np.isnan(X))
    how = {"sample_weight": abs(noise(*y_shape))} if "weights" in options else {}
    how |= {"memory_limit": limit, "threads": 2}

    def refuse():
        with pytest.raises(ValueError, match=rf"^X is (missing|not finite).* in row {y_shape[-1] - 1}, feature 3"):
            function(X, y, **how)

    refuse()  # what the first call loads is not counted
    tracemalloc.start()
    refuse()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak <= read_memory_limit(limit)
