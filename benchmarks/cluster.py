"""A raster on disk, in chunks along time too, to slope, p value and mask on a cluster of processes.

`python -P benchmarks/cluster.py [times rows columns] [--folder FOLDER]`; default 120
x 2000 x 2000 float32 in chunks of 12 x 500 x 500, 1.9 GB. It needs zarr, Dask's distributed and
SciPy.

1. The raster is written once into FOLDER, and read from there by everything that is measured.
2. fastgd.xarray.solve(stats=True) runs on 1, 2 and 4 workers of one thread, and once more on 2, one
   of which is killed in the midst: all bits are compared.
3. Beside it, on 2 workers, after the rechunk along time that they need: xarray.polyfit, slope
   alone, with skipna=False of all points, and as it is by default, looking for gaps, of a quarter;
   and scipy.stats.linregress point by point through xarray.apply_ufunc, slope and p value, of one
   point in 100. Times of a share are scaled, which leaves the cost of starting in.
4. A worker's peak is its greatest resident memory, libraries included; what it had before is
   printed beside it. It is VmHWM, of Linux: ru_maxrss of a child begins with what its parent had.
   Times include reading from disk, whose pages may be cached. The processor time of the workers
   together says more on a machine that others use too.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import xarray
from distributed import Client, LocalCluster
from scipy.stats import linregress

import fastgd.xarray

CHUNK = (12, 500, 500)
MEMORY = "2GiB"  # of a worker
RESULTS = ("slope", "intercept", "p", "status")


def make_raster(shape: tuple[int, ...], folder: Path) -> Path:
    """A raster of lines with noise in FOLDER, chunk by chunk; one that is there is taken."""
    path = folder / ("raster_" + "_".join(map(str, shape)) + ".zarr")
    if path.exists():
        return path

    def block(block_info: Any) -> np.ndarray:
        begin, end = zip(*block_info[None]["array-location"], strict=True)
        sizes = np.subtract(end, begin)
        lines = np.random.default_rng([1, *begin[1:]]).standard_normal((2, *sizes[1:]), np.float32)
        noise = np.random.default_rng([2, *begin]).standard_normal(sizes, np.float32)
        years = np.arange(begin[0], end[0], dtype=np.float32)[:, None, None] / np.float32(12)
        return lines[0] + np.float32(0.1) * lines[1] * years + noise

    chunks = da.core.normalize_chunks(CHUNK, shape)
    cube = da.map_blocks(block, chunks=chunks, dtype=np.float32, meta=np.empty((0, 0, 0), np.float32))
    coords = {"time": (np.datetime64("2000-01") + np.arange(shape[0])).astype("datetime64[ns]")}
    coords |= {"y": np.arange(shape[1]), "x": np.arange(shape[2])}
    xarray.DataArray(cube, coords, ["time", "y", "x"], name="air").to_zarr(unfinished := path.with_suffix(".part"), consolidated=False)
    unfinished.rename(path)
    return path


def peaks(client: Client) -> list[float]:
    """The greatest resident memory of each worker so far, in MiB."""
    return sorted(client.run(_peak).values())


def _peak() -> float:
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) / 1024


def processor_time(client: Client) -> float:
    """Seconds that all workers have spent so far."""
    return sum(client.run(time.process_time).values())


def measured(n_workers: int, function: Callable[[], Any], kill_after: float | None = None) -> tuple[Any, float]:
    """Run a function on a cluster of n_workers; print the workers' peaks of memory.

    Returns what the function returned, and the seconds that it took. kill_after: seconds until one
    worker is killed.
    """
    options = {"threads_per_worker": 1, "memory_limit": MEMORY, "dashboard_address": None, "silence_logs": logging.CRITICAL}
    with LocalCluster(n_workers, **options) as cluster, Client(cluster) as client:
        client.run(_warm)
        before, spent = peaks(client), processor_time(client)
        pid = next(iter(cluster.workers.values())).pid
        killer = threading.Timer(kill_after or 0.0, os.kill, (pid, signal.SIGKILL))
        if kill_after is not None:
            killer.start()
        began = time.perf_counter()
        found = function()
        seconds = time.perf_counter() - began
        if kill_after is not None:
            assert not killer.is_alive(), "the work was over before a worker was killed"
        after, spent = peaks(client), processor_time(client) - spent
        print(f"   peak of a worker {after[-1]:.0f} MiB (before {before[-1]:.0f} MiB)  {seconds:.1f} s, ", end="")
        print("one was killed" if kill_after is not None else f"{spent:.1f} s of processor time", flush=True)
        return found, seconds


def _warm() -> None:
    """Load the kernels, as a worker that has run before has them."""
    fastgd.xarray.solve(xarray.DataArray(np.ones((9, 2), np.float32), {"time": np.arange(9)}, ["time", "x"]), stats=True)


def ours(path: Path) -> dict[str, np.ndarray]:
    """Slope, intercept, p values, statuses and the mask of what is significant."""
    trend = xarray.open_zarr(path, consolidated=False).air.fastgd.solve("time", stats=True)[list(RESULTS)].compute()
    return {**{name: trend[name].values for name in RESULTS}, "mask": fastgd.xarray.significant(trend.p).values}


def years_of(air: xarray.DataArray) -> np.ndarray:
    """The times in years from the first."""
    return ((air.time - air.time[0]) / np.timedelta64(1, "s")).values / (365.2425 * 86400.0)


def corner(path: Path, side: int) -> xarray.DataArray:
    """The first rows and columns of the raster: 1 of side² points."""
    air = xarray.open_zarr(path, consolidated=False).air
    return air.isel(y=slice(0, air.sizes["y"] // side), x=slice(0, air.sizes["x"] // side))


def with_polyfit(path: Path, side: int, skipna: bool | None) -> np.ndarray:
    """The slopes of xarray's own, per year."""
    air = corner(path, side).chunk(time=-1)
    air = air.assign_coords(time=years_of(air))
    return air.polyfit("time", 1, skipna=skipna).polyfit_coefficients.sel(degree=1).compute().values


def with_linregress(path: Path, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Slopes and p values, point by point."""
    air = corner(path, side).chunk(time=-1, y=50, x=-1)
    years = xarray.DataArray(years_of(air), dims="time")

    def line(y: np.ndarray, t: np.ndarray) -> tuple[float, float]:
        found = linregress(t, y)
        return found.slope, found.pvalue

    found = xarray.apply_ufunc(
        line, air, years, input_core_dims=[["time"], ["time"]], output_core_dims=[[], []], vectorize=True, dask="parallelized",
        output_dtypes=[float, float],
    )  # fmt: skip
    slope, p = xarray.Dataset({"slope": found[0], "p": found[1]}).compute().values()
    return slope.values, p.values


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    """Whether all bits are equal."""
    return all(one[name].tobytes() == other[name].tobytes() for name in one)


def main() -> int:
    """Measure, compare."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("shape", nargs="*", type=int, default=[120, 2000, 2000], help="times rows columns")
    parser.add_argument("--folder", default=tempfile.gettempdir())
    given = parser.parse_args()
    path = make_raster(tuple(given.shape), Path(given.folder))
    results, seconds = {}, {}
    for n_workers in (2, 1, 4):
        print(f"fastgd, {n_workers} workers", flush=True)
        results[n_workers], seconds[n_workers] = measured(n_workers, lambda: ours(path))
    print("fastgd, 2 workers, one of them killed", flush=True)
    results["killed"], _ = measured(2, lambda: ours(path), kill_after=seconds[2] / 3)
    equal = all(same(results[2], other) for other in results.values())
    print(f"all bits are {'equal' if equal else 'NOT EQUAL'} on 1, 2 and 4 workers and after the kill")
    print(f"{results[2]['mask'].mean():.3f} of the points are significant; {results[2]['slope'].size:,} fits", flush=True)
    peers: tuple[tuple[str, int, Callable[[int], Any]], ...] = (
        ("xarray.polyfit(skipna=False), slope alone", 1, lambda side: [with_polyfit(path, side, False)]),
        ("xarray.polyfit, slope alone", 2, lambda side: [with_polyfit(path, side, None)]),
        ("linregress by apply_ufunc, slope and p", 10, lambda side: with_linregress(path, side)),
    )
    for name, side, peer in peers:
        print(f"rechunk and {name}, 1 of {side**2} points, 2 workers", flush=True)
        found, took = measured(2, lambda side=side, peer=peer: peer(side))
        place = tuple(slice(0, length) for length in found[0].shape)
        apart = [np.abs(theirs - results[2][ours][place]).max() for ours, theirs in zip(("slope", "p"), found, strict=False)]
        print(
            f"   all points would take about {took * side**2:,.0f} s; values differ by {', '.join(f'{one:.1e}' for one in apart)} at most"
        )
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())
