"""Two commits side by side: each case in fresh processes, which alternate; the ratio of medians.

    python -P benchmarks/pairs.py OLD NEW --rounds 15 --cases "a small call"

OLD and NEW are folders of two checkouts, each with its own .venv (`git worktree add ../old
COMMIT`). The first is what the others are compared with.

1. Two processors of a rented machine are slowed by their neighbours, in waves longer than a process
   and shorter than a run. So the order of the checkouts rotates from round to round, and a ratio is
   the median of the rounds' own ratios: of two processes that ran one after the other.
2. A process lays out its memory once, which moves the time of small calls by a few per cent: each
   round has new processes, each of which does a case REPEATS times and gives the median of those.
3. Processor time is less noisy than wall time, and does not show waiting. Both are told.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np

LEARNING_RATE = 0.05
SECONDS = 0.3  # of repetitions in a process
FEWEST, MOST = 5, 2_000  # of them


def _data(n_fits: int, n_samples: int, n_features: int, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_fits, n_samples, n_features), dtype=np.dtype(dtype).type)
    y = X.sum(axis=-1) + rng.standard_normal((n_fits, n_samples), dtype=np.dtype(dtype).type)
    return X, y


def _fit(n_fits: int, n_samples: int, n_features: int, epochs: int, dtype: str = "float32", **options: object) -> Callable[[], object]:
    import fastgd

    X, y = _data(n_fits, n_samples, n_features, dtype)
    optimizer = options.pop("optimizer", None)
    rates = {"lr": LEARNING_RATE} if optimizer is None else {"optimizer": getattr(fastgd, optimizer[0])(lr=LEARNING_RATE, **optimizer[1])}
    return lambda: fastgd.fit(X, y, epochs=epochs, **rates, **options)


def _small(epochs: int, unlike: bool = False) -> Callable[[], object]:
    import fastgd

    X, y = (array[0] for array in _data(1, 1_000, 1, "float32"))
    if not unlike:
        return lambda: fastgd.fit(X, y, lr=LEARNING_RATE, epochs=epochs)
    least = iter(range(1, MOST + 2))  # min_samples, which here changes nothing else
    return lambda: fastgd.fit(X, y, lr=LEARNING_RATE, epochs=epochs, min_samples=1 + next(least) % 1_000)


def _rates(n_features: int) -> Callable[[], object]:
    import fastgd

    X, y = (array[0] for array in _data(1, 1_000, n_features, "float32"))
    lr = np.logspace(-4, 0, 4_096)
    return lambda: fastgd.fit(X, y, lr=lr, epochs=100)


def _solve(n_fits: int, n_samples: int, n_features: int) -> Callable[[], object]:
    import fastgd

    X, y = _data(n_fits, n_samples, n_features, "float32")
    X, y = (X[0], y[0]) if n_fits == 1 else (X, y)
    return lambda: fastgd.solve(X, y)


CASES: dict[str, Callable[[], Callable[[], object]]] = {
    "a small call like an earlier one, ends near": lambda: _small(200),
    "a small call like an earlier one, ends far": lambda: _small(10),
    "a small call unlike any": lambda: _small(10, unlike=True),
    "a small solve": lambda: _solve(1, 1_000, 1),
    "10^5 x 100 x 1, 100 epochs": lambda: _fit(100_000, 100, 1, 100),
    "2*10^4 x 256 x 8, 200 epochs": lambda: _fit(20_000, 256, 8, 200),
    "4*10^3 x 256 x 8 float64, 200 epochs": lambda: _fit(4_000, 256, 8, 200, "float64"),
    "momentum, 2*10^4 x 100 x 2, 100 epochs": lambda: _fit(20_000, 100, 2, 100, optimizer=("SGD", {"momentum": 0.9})),
    "Adam, 2*10^3 x 100 x 2, 100 epochs": lambda: _fit(2_000, 100, 2, 100, optimizer=("Adam", {})),
    "stream, 200 x 1,000 x 4, 50 epochs": lambda: _fit(200, 1_000, 4, 50, algorithm="stream"),
    "4,096 rates on one data set of 1,000 x 1": lambda: _rates(1),
    "4,096 rates on one data set of 1,000 x 8": lambda: _rates(8),
    "solve, 2*10^4 x 100 x 2": lambda: _solve(20_000, 100, 2),
}


def _measure(case: str) -> dict[str, float]:
    """Seconds of one call, by the wall's clock and by the processors'."""
    function = CASES[case]()
    function(), function()
    walls, processors, began = [], [], time.perf_counter()
    while len(walls) < FEWEST or (len(walls) < MOST and time.perf_counter() - began < SECONDS):
        wall, processor = time.perf_counter(), time.process_time()
        result = function()
        walls.append(time.perf_counter() - wall)
        processors.append(time.process_time() - processor)
        del result
    return {"wall": median(walls), "best": min(walls), "processor": median(processors)}


def _in_process(checkout: Path, case: str) -> dict[str, float]:
    python = checkout / ".venv" / "bin" / "python"
    command = [str(python), "-P", __file__, "--measure", case]
    made = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)
    if made.returncode:
        raise SystemExit(f"{checkout}: {case}\n{made.stderr}")
    return json.loads(made.stdout)


def _shown(seconds: float) -> str:
    return f"{seconds * 1e6:.1f} µs" if seconds < 1e-3 else f"{seconds * 1e3:.2f} ms"


def compare(checkouts: list[Path], case: str, rounds: int) -> str:
    """A line for each checkout: times, and ratios to those of the first."""
    found: list[list[dict[str, float]]] = [[] for _ in checkouts]
    for turn in range(rounds):
        for place in range(len(checkouts)):
            which = (place + turn) % len(checkouts)
            found[which].append(_in_process(checkouts[which], case))
    lines = [f"{case} ({rounds} rounds)"]
    for checkout, values in zip(checkouts, found, strict=True):
        of = {kind: [each[kind] for each in values] for kind in ("wall", "best", "processor")}
        base = {kind: [each[kind] for each in found[0]] for kind in of}
        ratios = {kind: [now / before for now, before in zip(of[kind], base[kind], strict=True)] for kind in of}
        low, middle, high = np.percentile(ratios["wall"], [20, 50, 80])
        lines.append(
            f"  {checkout.name:12} median {_shown(median(of['wall'])):>10}, best {_shown(min(of['best'])):>10}, "
            f"processor {_shown(median(of['processor'])):>10}; ratio {middle:.3f} ({low:.3f}-{high:.3f}), "
            f"best {min(of['best']) / min(base['best']):.3f}, processor {median(ratios['processor']):.3f}"
        )
    return "\n".join(lines)


def main() -> None:
    """Read the command line; compare case by case."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("checkouts", nargs="*", type=Path, help="folders, each with .venv; the first is what others are compared with")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--cases", default="", help="only those with this text in their name")
    parser.add_argument("--measure", metavar="CASE", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure:
        print(json.dumps(_measure(asked.measure)))
        return
    for case in CASES:
        if asked.cases in case:
            print(compare([each.resolve() for each in asked.checkouts], case, asked.rounds), flush=True)


if __name__ == "__main__":
    sys.exit(main())
