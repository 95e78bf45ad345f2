"""
Data larger than memory
=======================

Full-batch descent on a quadratic loss needs the second moments of the data, not the data. They are
small, they add up, and they can be made part after part.
"""

import tempfile
from pathlib import Path

import numpy as np

import fastgd

# %%
# A file of 2 million samples of 8 features, 144 MB; think of one of 144 GB.

rng = np.random.default_rng(0)
folder = tempfile.TemporaryDirectory()
path = Path(folder.name) / "samples.npy"
file = np.lib.format.open_memmap(path, "w+", np.float64, (2_000_000, 9))
for first in range(0, len(file), 250_000):
    block = rng.normal(size=(250_000, 9))
    block[:, 8] = block[:, :8] @ np.arange(1, 9) + block[:, 8]
    file[first : first + 250_000] = block
file.flush()

# %%
# Part after part
# ---------------
# `fastgd.compress` returns the moments of a part; `Moments.merge` adds them in a fixed order.

data = np.load(path, mmap_mode="r")
size = (
    2**18
)  # 4,096 times a power of two: then the bits are those of one read of everything
parts = [
    fastgd.compress(data[k : k + size, :8], data[k : k + size, 8], intercept=True)
    for k in range(0, len(data), size)
]
moments = fastgd.Moments.merge(parts)
print(moments)

# %%
# Fit as often as you like
# ------------------------
# From here on the file is not read. A sweep of 1,000 cells:

found = fastgd.sweep(
    moments,
    grid={"lr": np.geomspace(1e-4, 1, 500), "momentum": [0, 0.9]},
    epochs=200,
)
print(found)
_ = found.plot()

# %%
# The answer itself, with its standard errors:

print(fastgd.solve(moments, stats=True).stats.std_error)

# %%
# They can be kept, and more can be added next month.

moments.save(Path(folder.name) / "moments.npz")
again = fastgd.load(Path(folder.name) / "moments.npz")
new = rng.normal(size=(1000, 8))
print(
    (again + fastgd.compress(new, new.sum(axis=1), intercept=True)).n_used,
    "samples",
)

# %%
# Many fits that do not fit into memory
# -------------------------------------
# A raster on disk is fitted piece by piece as it is, through a memory-mapped array;
# ``memory_limit`` holds the call within what you give it, and ``out`` takes arrays on disk for the
# results.

cube = np.lib.format.open_memmap(
    Path(folder.name) / "cube.npy", "w+", np.float32, (300, 400, 24)
)
cube[:] = rng.normal(size=cube.shape)
slopes = np.lib.format.open_memmap(
    Path(folder.name) / "slopes.npy", "w+", np.float32, (300, 400)
)
result = fastgd.fit(
    np.arange(24, dtype=np.float32) / 24,
    cube,
    lr=0.5,
    epochs=200,
    memory_limit="64 MiB",
    out={"w": slopes},
)
print(result)
print(slopes.shape, slopes.dtype, "on disk")
folder.cleanup()
