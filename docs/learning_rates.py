"""Draw docs/learning_rates.png, a picture of the README: python docs/learning_rates.py [FILE.png].

The tutorial's four samples at 121 learning rates, with the gradient of the mean and with that of
the sum of the squared residuals, which is four times as large.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import fastgd

X = np.array([1, 2, 3, 4], dtype=np.float32)
Y = np.array([2, 4, 6, 8], dtype=np.float32)
RATES = np.geomspace(1e-3, 1, 121)
TUTORIAL = 0.01  # its learning rate


def draw(path: Path) -> None:
    """Sweep, draw the heat map, and mark the tutorial's rate."""
    found = fastgd.sweep(X, Y, grid={"lr": RATES, "reduction": ["mean", "sum"]}, epochs=100)
    axes = found.plot()
    axes.axvline(TUTORIAL, color="white", linewidth=1.2, linestyle=(0, (4, 3)))
    axes.annotate("the tutorial's 0.01", (TUTORIAL, 1.5), xytext=(-5, -5), textcoords="offset points", color="white", fontsize=9,
                  ha="right", va="top")  # fmt: skip
    axes.set_xlabel("learning rate")
    axes.set_ylabel("gradient of the")
    axes.set_title("y = 2x, 100 epochs: where descent converges, and where it cannot", loc="left", fontsize=11, fontweight="bold")
    axes.figure.set_size_inches(8.4, 3.6)
    axes.figure.savefig(path, dpi=110)
    for reduction in ("mean", "sum"):
        row = found.sel(reduction=reduction)
        shrinks = 1 - 2 * TUTORIAL / row.stability_limit[0]
        lost = row.lr[row.status == fastgd.Status.DIVERGED].min()
        print(f"{reduction}: limit {row.stability_limit[0]:.6f}, overflows from {lost:.3f}, distance times {shrinks:.2f} in an epoch")


if __name__ == "__main__":
    draw(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_suffix(".png"))
