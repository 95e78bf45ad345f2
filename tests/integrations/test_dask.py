"""`fastgd.dask`: blocks of fits have the bits of one call; chunks along the samples are added as
`Moments.merge` adds them, whatever workers there are; nothing is rechunked. Blocks of the cells of
a sweep have the bits of the whole. Data frames: test_dask_frames.py."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import textwrap

import dask
import dask.array as da
import numpy as np
import pytest

import fastgd
import fastgd.dask

rng = np.random.default_rng(8)
T = np.arange(20.0)
CUBE = rng.normal(size=(7, 5, 20))
FIELDS = {
    "fit": ("w", "intercept", "loss", "excess_loss", "status", "n_used", "epochs"),
    "solve": ("w", "intercept", "loss", "status", "n_used", "rank", "condition", "ill_conditioned"),
}


def same(found, expected, name):
    [found] = dask.compute(found, scheduler="synchronous")
    for field in FIELDS[name]:
        np.testing.assert_array_equal(getattr(found, field), getattr(expected, field), strict=True)


@pytest.mark.parametrize("chunks", [(7, 5, 20), (3, 2, 20), ((1, 6), (5,), (20,))])
@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_blocks_of_fits_have_the_bits_of_one_call(chunks, name, dtype):
    y = CUBE.astype(dtype)
    y[2, 3, 4], y[4] = np.nan, np.nan
    options = {"intercept": True, "nan_policy": "omit"}
    found = getattr(fastgd.dask, name)(T.astype(dtype), da.from_array(y, chunks=chunks), **options)
    assert found.w.chunks == da.from_array(y, chunks=chunks).chunks[:2]
    same(found, getattr(fastgd, name)(T.astype(dtype), y, **options), name)


@pytest.mark.parametrize("name", FIELDS)
def test_chunks_of_4096_samples_have_the_bits_of_the_whole(name):
    X, y, weights = rng.normal(size=(20_000, 3)), rng.normal(size=(4, 20_000)), rng.uniform(size=20_000)
    chunked = [da.from_array(array, chunks=chunks) for array, chunks in ((X, (8192, 3)), (y, (3, 8192)), (weights, 8192))]
    found = getattr(fastgd.dask, name)(chunked[0], chunked[1], sample_weight=chunked[2], intercept=True)
    same(found, getattr(fastgd, name)(X, y, sample_weight=weights, intercept=True), name)


def test_samples_that_are_cut_anywhere_are_added_as_moments_are_merged():
    """Also where some are missing, and where a chunk has none."""
    y = CUBE.copy()
    y[0, 0, 3:9], y[1, 1] = np.nan, np.nan
    cuts = (0, 3, 8, 9, 17, 20)
    found = fastgd.dask.fit(T, da.from_array(y, chunks=(4, 5, (3, 5, 1, 8, 3))), intercept=True, nan_policy="omit", standardize=True)
    [found] = dask.compute(found, scheduler="synchronous")
    parts = [
        fastgd.compress(T[first:last], y[..., first:last], intercept=True, nan_policy="omit") for first, last in itertools.pairwise(cuts)
    ]
    expected = fastgd.fit(fastgd.Moments.merge(parts), standardize=True)
    for field in FIELDS["fit"]:
        np.testing.assert_array_equal(getattr(found, field), getattr(expected, field))
    assert found.n_used[0, 0] == 14
    assert found.status[1, 1] == fastgd.Status.TOO_FEW_SAMPLES


def test_leading_axes_broadcast():
    X, y, weights = rng.normal(size=(7, 1, 20, 3)), CUBE, rng.uniform(size=(5, 20))
    chunked = [da.from_array(array, chunks=chunks) for array, chunks in ((X, (3, 1, 20, 3)), (y, (3, 2, 20)), (weights, (2, 20)))]
    found = fastgd.dask.fit(*chunked[:2], sample_weight=chunked[2], optimizer="adam", epochs=7)
    expected = fastgd.fit(X, y, sample_weight=weights, optimizer="adam", epochs=7)
    assert found.w.chunks == ((3, 3, 1), (2, 2, 1), (3,))
    assert (found.w.compute(scheduler="synchronous") == expected.w).all()


@pytest.mark.parametrize("length", [4096, 1000])
def test_moments(length):
    X, y = rng.normal(size=(10_000, 3)), rng.normal(size=(2, 10_000))
    found = fastgd.dask.compress(da.from_array(X, chunks=(length, 3)), da.from_array(y, chunks=(2, length)), intercept=True)
    found = found.compute(scheduler="synchronous")
    cuts = range(0, 10_000, length)
    expected = fastgd.Moments.merge(fastgd.compress(X[k : k + length], y[:, k : k + length], intercept=True) for k in cuts)
    assert (found.gram == expected.gram).all()
    assert (found.target == expected.target).all()
    assert (fastgd.fit(found).w == fastgd.fit(expected).w).all()


def test_nothing_is_computed_before_it_is_asked_for():
    def explode(block):
        raise AssertionError("computed")

    y = da.from_array(CUBE, chunks=(3, 2, 10)).map_blocks(explode, dtype=float, meta=np.empty((0, 0, 0)))
    for name in FIELDS:
        assert getattr(fastgd.dask, name)(T, y, intercept=True).w.shape == (7, 5)
    with pytest.raises(AssertionError, match="computed"):
        fastgd.dask.fit(T, y).w.compute(scheduler="synchronous")


CHUNKED = da.from_array(CUBE, chunks=(3, 2, 10))
WRONG = {
    "no array": (lambda: fastgd.dask.fit([1.0], CHUNKED), "X must be a dask array or a NumPy array, not list"),
    "another length": (lambda: fastgd.dask.fit(T[:-1], CHUNKED), "X has the length 19 along the samples, y 20"),
    "other fits": (lambda: fastgd.dask.fit(np.ones((4, 20, 1)), CHUNKED), "X has the length 4 along the axis -1 of the fits, y 5"),
    "other chunks": (
        lambda: fastgd.dask.fit(da.from_array(T, chunks=2), CHUNKED),
        r"X and y have different chunks along the samples: \(2, 2, 2, 2, ... 10 in all\) and \(10, 10\)",
    ),
    "features in chunks": (lambda: fastgd.dask.fit(da.ones((20, 4), chunks=(10, 2)), CHUNKED), r"give X.rechunk\(\{-1: -1\}\)"),
    "chunks of unknown size": (lambda: fastgd.dask.fit(T, CHUNKED[0, 0][CHUNKED[0, 0] > 0]), "call y.compute_chunk_sizes"),
    "a number": (lambda: fastgd.dask.fit(T, da.from_array(1.0)), "y must have at least one axis"),
    "many rates": (lambda: fastgd.dask.fit(T, CHUNKED, lr=[0.1, 0.2]), "lr must be one value for all fits"),
    "history": (lambda: fastgd.dask.fit(T, CHUNKED, history=True), "no option 'history'"),
    "an unknown option": (lambda: fastgd.dask.fit(T, CHUNKED, epoch=3), "give epochs="),
    "a wrong value": (lambda: fastgd.dask.solve(T, CHUNKED, weight_decay=-1), "weight_decay"),
    "moments of blocks": (lambda: fastgd.dask.compress(T, CHUNKED), "moments are of one block of fits"),
    "not finite": (
        lambda: fastgd.dask.fit(T, da.full((2, 20), np.nan, chunks=(1, 20))).w.compute(scheduler="synchronous"),
        r"not finite.*in a block with y of shape \(1, 20\)",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_errors_say_what_to_give(case):
    call, words = WRONG[case]
    with pytest.raises((TypeError, ValueError), match=words):
        call()


# -- sweeps ----------------------------------------------------------------------------------------

SAMPLES, TARGETS = rng.normal(size=(3000, 3)), rng.normal(size=(2, 3000))
SWEEPS = {
    "a grid": {"grid": {"lr": [1e-3, 0.1, 0.3, 1e4, 0.2], "momentum": [0.0, 0.9], "weight_decay": [0.0, 0.1]}, "intercept": True},
    "rules that have no momentum": {"grid": {"optimizer": ["adam", "sgd"], "momentum": [0.0, 0.5], "lr": [0.01, 0.1]}},
    "schedules of one name, and none": {"grid": {"schedule": [None, lambda k: 0.9**k, lambda k: 0.5**k], "lr": [0.1, 0.2]}},
    "points": {"points": {"lr": [0.1, 0.2, 1e-3], "optimizer": ["sgd", "adam", "sgd"], "momentum": [0.1, 0.2, 0.3]}},
    "starts, reductions": {"grid": {"w0": [[0.0, 0, 0], [1.0, 2, 3]], "reduction": ["mean", "sum"], "lr": [1e-5, 1e-4]}, "tol": 1e-3},
    "penalties, histories": {"grid": {"ridge": [0.0, 1.0], "lr": [0.1, 0.3]}, "history": 5, "standardize": True},
}
OF_SWEEPS = ("w", "loss", "status", "epochs", "n_used", "lr", "val_loss", "excess_loss", "intercept", "stability_limit")


@pytest.mark.parametrize("tasks", [1, 3, 100])
@pytest.mark.parametrize("case", SWEEPS)
def test_blocks_of_cells_have_the_bits_of_one_sweep(case, tasks):
    """Cut at the axes, and into single cells; the data are compressed once, chunk by chunk."""
    options = {"epochs": 12, **SWEEPS[case]}
    X, y = da.from_array(SAMPLES, chunks=(700, 3)), da.from_array(TARGETS, chunks=(2, 700))
    found = fastgd.dask.sweep(X, y, X_val=X[:700], y_val=y[:, :700], tasks=tasks, **options).compute(scheduler="synchronous")
    intercept = options.pop("intercept", False)
    moments = fastgd.dask.compress(X, y, intercept=intercept).compute(scheduler="synchronous")
    validation = fastgd.compress(SAMPLES[:700], TARGETS[:, :700], intercept=intercept)
    expected = fastgd.sweep(moments, X_val=validation, **options)
    assert found.dims == expected.dims
    for name, coordinate in expected.coordinates.items():
        np.testing.assert_array_equal(found.coordinates[name].labels, coordinate.labels)
    for name in OF_SWEEPS:
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)
    if expected.history is not None:
        np.testing.assert_array_equal(found.history.w, expected.history.w)
    assert (found.tol, found._penalised) == (expected.tol, expected._penalised)


def test_a_sweep_of_moments_and_of_few_chunks():
    """One chunk has the bits of `fastgd.sweep` with the arrays themselves."""
    grid = {"lr": [0.1, 0.2, 0.3]}
    arrays, moments = (SAMPLES, TARGETS[0]), fastgd.compress(SAMPLES, TARGETS[0], dtype="float32")
    for data, dtype in ((arrays, "float32"), ((moments,), None)):
        own = {} if dtype is None else {"dtype": dtype}
        found = fastgd.dask.sweep(*data, grid=grid, **own).compute(scheduler="synchronous")
        assert (found.loss == fastgd.sweep(*arrays, grid=grid, dtype="float32").loss).all()


OF_MOMENTS = {"X": fastgd.compress(SAMPLES, TARGETS), "y": None, "grid": {"lr": [0.1]}}
WRONG_SWEEPS = {
    "no grid": ({}, "neither grid nor points was given"),
    "a name that is none": ({"grid": {"rate": [0.1]}}, "is called 'lr' here"),
    "a rate for each cell": ({"grid": {"momentum": [0.1]}, "lr": [0.1, 0.2]}, "values that differ between cells are an axis"),
    "no tasks": ({"grid": {"lr": [0.1]}, "tasks": 0}, "tasks must be a whole number, at least 1; it is 0"),
    "progress": ({"grid": {"lr": [0.1]}, "progress": True}, "no option 'progress'"),
    "a wrong value": ({"grid": {"lr": [0.1]}, "tol": -1}, "tol"),
    "a start of another length": ({"grid": {"w0": [[0.0, 1]]}}, "lists of 3 numbers"),
    "another validation": ({"grid": {"lr": [0.1]}, "X_val": np.ones((9, 2)), "y_val": np.ones(9)}, "features"),
    "targets of no validation": ({"grid": {"lr": [0.1]}, "y_val": np.ones(9)}, "y_val"),
    "no targets": ({"y": None, "grid": {"lr": [0.1]}}, "y must be a dask array or a NumPy array, not None"),
    "options of moments": (OF_MOMENTS | {"intercept": True}, "X is Moments, so intercept"),
    "weights of moments": (OF_MOMENTS | {"sample_weight": np.ones(3000)}, "X is Moments, so sample_weight"),
}


@pytest.mark.parametrize("case", WRONG_SWEEPS)
def test_what_is_wrong_about_a_sweep_is_said_at_once(case):
    options, words = WRONG_SWEEPS[case]
    with pytest.raises((TypeError, ValueError), match=words):
        fastgd.dask.sweep(**{"X": SAMPLES, "y": TARGETS, **options})


# -- a cluster -------------------------------------------------------------------------------------


def test_workers_change_no_bit_nor_does_one_that_is_killed():
    """In a process of its own, since distributed's warnings are not ours."""
    script = textwrap.dedent("""
        import json, os, signal, time
        import dask, dask.array as da, numpy as np
        from distributed import Client, LocalCluster
        import fastgd, fastgd.dask

        def slowly(block):
            time.sleep(0.05)
            return block

        if __name__ == "__main__":
            values = np.random.default_rng(0).normal(size=(6, 40)).astype("f4")
            t = np.arange(40, dtype="f4")
            cube = da.from_array(values, chunks=(1, 8)).map_blocks(slowly, dtype="f4", meta=np.empty((0, 0), "f4"))
            fits = fastgd.dask.solve(t, cube, intercept=True)
            found = fastgd.dask.sweep(t, cube[0], grid={"lr": [1e-4, 1e-3]}, tasks=2)
            alone = fits.w.compute(scheduler="synchronous").tolist()
            swept = found.compute(scheduler="synchronous").loss
            with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
                together = fits.w.compute().tolist()
                assert (found.compute().loss == swept).all()
                future = client.compute(fits.w)
                time.sleep(0.2)
                os.kill(next(iter(cluster.workers.values())).pid, signal.SIGKILL)
                print(json.dumps([alone, together, future.result(timeout=60).tolist()]))
    """)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    alone, together, killed = json.loads(done.stdout.splitlines()[-1])
    assert len(alone) == 6
    assert alone == together == killed
