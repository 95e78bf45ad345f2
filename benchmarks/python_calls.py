"""How many functions of fastgd, in Python, one small call runs: a measure without noise.

    python -P benchmarks/python_calls.py            # beside the numbers in python_calls.json
    python -P benchmarks/python_calls.py --write    # a change that is meant: new numbers

Each takes about 0.1 µs and what it does. Only the calling thread and the sources of fastgd count,
so the numbers depend on neither the machine nor NumPy; from Python 3.12 on they are smaller, as a
comprehension is no function there.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import numpy as np

import fastgd

WRITTEN = Path(__file__).with_suffix(".json")
SOURCES = tuple(str(Path(__file__).resolve().parent.parent / folder) + "/" for folder in ("fastgd", "kernels"))


def cases() -> dict[str, Callable[[], object]]:
    """Calls by name."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((1_000, 2), dtype=np.float32)
    y = X.sum(axis=1) + rng.standard_normal(1_000, dtype=np.float32)
    least = iter(range(1, 1_000))  # min_samples, which here changes nothing else
    return {
        "like an earlier one, one feature": lambda: fastgd.fit(X[:, :1].copy(), y, lr=0.05, epochs=10),
        "like an earlier one, two features": lambda: fastgd.fit(X, y, lr=0.05, epochs=10),
        "like an earlier one, ends near": lambda: fastgd.fit(X, y, lr=0.05, epochs=300),
        "unlike any": lambda: fastgd.fit(X, y, lr=0.05, epochs=10, min_samples=next(least)),
        "solve": lambda: fastgd.solve(X, y),
        "batch of 20": lambda: fastgd.fit(np.tile(X, (20, 1, 1)), np.tile(y, (20, 1)), lr=0.05, epochs=10),
    }


def count(function: Callable[[], object]) -> int:
    """Functions of fastgd that a call runs in this thread; it was made before."""
    function()
    function()
    found = 0

    def see(frame: FrameType, event: str, argument: object) -> None:
        nonlocal found
        found += event == "call" and frame.f_code.co_filename.startswith(SOURCES)

    before = sys.getprofile()
    sys.setprofile(see)
    try:
        function()
    finally:
        sys.setprofile(before)
    return found


def main() -> None:
    """Count, and compare with the numbers that are written down or write new ones."""
    found = {name: count(function) for name, function in cases().items()}
    if "--write" in sys.argv:
        WRITTEN.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    before = json.loads(WRITTEN.read_text(encoding="utf-8"))
    for name, now in found.items():
        print(f"{name:36} {now:5} written down: {before.get(name, '-')}")


if __name__ == "__main__":
    main()
