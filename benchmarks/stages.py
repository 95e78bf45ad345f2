"""Where the time of a fit goes: kernels with a stage left out, and the instructions of their loops.

`python benchmarks/stages.py [--loops]`.

1. A case of cases.py is fitted by one thread, and the calls of the kernels are listened to. Then
   each kernel is called again by itself, as it was and with a stage left out: no epoch after the
   first row, or all fits read the samples of one (these stay in the cache). What is left of the fit
   beside its kernels is Python, and the first touch of memory. Times are the smallest of many, of
   the processor, in nanoseconds a fit.
2. `--loops`: the instructions of the innermost loops with the most multiply-adds, counted in the
   machine code that Numba makes here (for this the kernels are compiled anew). A loop that does
   nothing but multiply and add is at the limit; what else is in it, is beside.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).resolve().parent.parent))  # for benchmarks.…

import fastgd
from benchmarks.compare import assembly_of_kernels, is_fma, loops_of, types_of_kernels
from fastgd.speed.making import LEARNING_RATE, make_data

CASES = (  # fits, samples, features, epochs, dtype
    (100_000, 100, 1, 100, "float32"),
    (20_000, 256, 8, 200, "float32"),
    (1, 1_000_000, 16, 100, "float32"),
    (100_000, 100, 1, 100, "float64"),
)
LISTENED = ("compress", "descend_packs", "_descend")
LOOPS = 3  # of each kernel


def least(function: Callable[[], object], repeats: int = 15) -> float:
    """The smallest processor time of a call, after a first one."""
    function()
    found = []
    for _ in range(repeats):
        began = time.process_time()
        function()
        found.append(time.process_time() - began)
    return min(found)


def listen(fit: Callable[[], object]) -> list[tuple[str, tuple[Any, ...]]]:
    """The calls of kernels that a fit makes: (name, arguments)."""
    from fastgd.kernels import cpu

    calls: list[tuple[str, tuple[Any, ...]]] = []
    real = {name: getattr(cpu, name) for name in LISTENED}

    def listener(name: str) -> Callable[..., object]:
        def called(*arguments: object) -> object:
            calls.append((name, arguments))
            return real[name](*arguments)

        return called

    for name in LISTENED:
        setattr(cpu, name, listener(name))
    try:
        fit()
    finally:
        for name, kernel in real.items():
            setattr(cpu, name, kernel)
    return calls


def left_out(name: str, arguments: tuple[Any, ...]) -> dict[str, tuple[Any, ...]]:
    """The same call with a stage left out."""
    from fastgd.kernels.cpu import compile_ahead

    names = compile_ahead.KERNELS[name.lstrip("_")].py_func.__code__.co_varnames
    given = dict(zip(names, arguments, strict=False))
    changed: dict[str, dict[str, Any]] = {}
    if name != "compress":
        changed["no epochs"] = {"epochs": 0}
    if len(given["index"][0]) > 1:
        changed["samples in the cache"] = {"index": tuple(np.zeros_like(part) if k < 3 else part for k, part in enumerate(given["index"]))}
    return {what: tuple((given | new)[each] for each in names[: len(arguments)]) for what, new in changed.items()}


def stages(m: int, n: int, d: int, epochs: int, dtype: str) -> None:
    """Print one case."""
    from fastgd.kernels import cpu

    X, y = make_data(m, n, d, dtype)

    def fit(threads: int = 1) -> object:
        return fastgd.fit(X, y, lr=LEARNING_RATE, epochs=epochs, progress=False, threads=threads)

    fit()
    whole, of_kernels = least(fit), 0.0
    print(f"\n{m:,} × {n:,} × {d}, {epochs} epochs, {dtype}: {whole / m * 1e9:,.1f} ns a fit, one thread, w only")
    calls = listen(fit)
    for name in dict.fromkeys(name for name, _ in calls):
        kernel, own = getattr(cpu, name), [arguments for other, arguments in calls if other == name]
        seconds = least(lambda kernel=kernel, own=own: [kernel(*arguments) for arguments in own])
        of_kernels += seconds
        print(f"  {name.lstrip('_'):18}{seconds / m * 1e9:12,.1f}")
        for what in left_out(name, own[0]):
            variants = [left_out(name, arguments)[what] for arguments in own]
            seconds = least(lambda kernel=kernel, variants=variants: [kernel(*arguments) for arguments in variants])
            print(f"    {what:24}{seconds / m * 1e9:12,.1f}")
    print(f"  {'all else':18}{(whole - of_kernels) / m * 1e9:12,.1f}")


def loops() -> None:
    """Print what the loops with the most multiply-adds are made of."""
    for name, code in assembly_of_kernels(types_of_kernels()):
        found = [Counter("fma" if is_fma(line) else re.sub(r"\d+x\d+$", "", line.split()[0]) for line in loop) for loop in loops_of(code)]
        print(f"\n{name} data")
        for count in sorted(found, key=lambda count: -count["fma"])[:LOOPS]:
            print("  " + ", ".join(f"{number} {word}" for word, number in count.most_common(8)))


def main() -> None:
    """Measure all cases, or count instructions."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loops", action="store_true", help="count the instructions of the innermost loops instead")
    if parser.parse_args().loops:
        loops()
        return
    for case in CASES:
        stages(*case)


if __name__ == "__main__":
    main()
