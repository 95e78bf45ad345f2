"""
On a cluster
============

`fastgd.dask` makes a task for each block of fits. Here the cluster is two processes of this
machine; another one is another address for ``Client``.
"""

# sphinx_gallery_thumbnail_path = 'docs/scaling.png'
import dask.array
import numpy as np
from distributed import Client, LocalCluster

import fastgd.dask

if __name__ == "__main__":  # workers import this file
    cluster = LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None
    )
    client = Client(cluster)

    # a cube as climate models write it: in chunks along time, too
    t = np.arange(1200.0)
    cube = dask.array.random.default_rng(0).normal(
        size=(1200, 60, 80), chunks=(300, 30, 40)
    )

    fits = fastgd.dask.solve(t, cube.transpose(1, 2, 0), intercept=True)
    print(fits.w)  # nothing has been computed yet
    slopes = fits.w.compute()
    print(slopes.shape, slopes.std())

    # Which worker did what, and when, changes no bit: the moments of the chunks are added in a
    # fixed order. One process with one thread has the same ones.
    alone = fits.w.compute(scheduler="single-threaded")
    print("the same bits:", np.array_equal(slopes, alone))

    # the moments of all samples, to fit and sweep with at home
    samples = dask.array.random.default_rng(1).normal(
        size=(100_000, 4), chunks=(25_000, 4)
    )
    moments = fastgd.dask.compress(samples, samples.sum(axis=1)).compute()
    print(fastgd.solve(moments).w)

    # a sweep: the data are read once, blocks of cells are tasks
    grid = {"lr": np.geomspace(1e-4, 0.5, 200), "momentum": [0.0, 0.9]}
    cells = fastgd.dask.sweep(samples, samples.sum(axis=1), grid=grid, tasks=8)
    print(cells.compute())

    client.shutdown()
