"""What a change does to the kernels' loops and to Python around them, without a clock.

    make bench-compare                              # all kernels: some minutes, compiled for both
    python -P benchmarks/compare.py --quick         # what the tests compare: some seconds
    python -P benchmarks/compare.py --write         # a change that is meant: new numbers

1. counts.json has the instructions of each kernel, for each type of data, compiled for processors
   with AVX-512 and with AVX2, whatever processor is here: new processes with NUMBA_CPU_NAME. Of the
   innermost loops that multiply and add (those of most multiply-adds first) it has the number of
   instructions, of multiply-adds, and of those that touch the stack: spilled registers. A loop is a
   block that jumps to its own beginning.
2. PARTS are functions of the kernels in which most time goes, compiled alone, in a second each: the
   tests compare these. What has grown by more than TOLERANCE is an error; what has shrunk is told.
3. Numbers hold for one version of LLVM (llvmlite) and of Numba; with others nothing is compared.
4. It also has how many functions of fastgd, in Python, a small call runs. Each takes about 0.1 µs
   and what it does. Only the calling thread and the sources of fastgd count, so the numbers depend
   on neither the machine nor NumPy; from Python 3.12 on they are smaller, as a comprehension is no
   function there.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import llvmlite
import numba
import numpy as np

import fastgd

ROOT = Path(__file__).resolve().parent.parent
WRITTEN = Path(__file__).with_name("counts.json")
SOURCES = tuple(str(ROOT / folder) + "/" for folder in ("fastgd", "kernels"))
TOLERANCE = 0.03
LOOPS = 8  # of each kernel
AVX2 = "+sse4.2,+popcnt,+avx,+avx2,+fma,+bmi,+bmi2,+lzcnt,+f16c"
PROCESSORS = {  # name: NUMBA_CPU_NAME, NUMBA_CPU_FEATURES
    "AVX-512": ("x86-64-v4", f"{AVX2},+avx512f,+avx512cd,+avx512bw,+avx512dq,+avx512vl"),
    "AVX2": ("x86-64-v3", AVX2),
}
KERNELS = ("compress", "descend_packs", "descend_rule_packs", "descend", "solve")
FMA = re.compile(r"vfn?m(add|sub)\d+[ps][sd]")
STACK = re.compile(r"\(%rsp\b")
Counts = dict[str, Any]


def versions() -> dict[str, str]:
    """What the instructions depend on beside the sources."""
    return {"llvmlite": llvmlite.__version__, "numba": numba.__version__}


# -- instructions ----------------------------------------------------------------------------------


def loops_of(code: str) -> list[list[str]]:
    """The instructions of each innermost loop of some assembly."""
    blocks = re.split(r"^(\.LBB\w+):", code, flags=re.M)
    found = []
    for label, block in zip(blocks[1::2], blocks[2::2], strict=True):
        lines = instructions_of(block)
        back = [number for number, line in enumerate(lines) if re.match(rf"j\w+\s+{re.escape(label)}\b", line)]
        found += [lines[: back[-1] + 1]] if back else []
    return found


def instructions_of(code: str) -> list[str]:
    """Its lines that are instructions."""
    return [line.strip() for line in code.splitlines() if line.startswith("\t") and not line.startswith("\t.")]


def count_code(code: str) -> Counts:
    """Instructions of assembly, and [instructions, multiply-adds, on the stack] of its loops."""
    loops = [[len(loop), sum(map(is_fma, loop)), sum(bool(STACK.search(line)) for line in loop)] for loop in loops_of(code)]
    loops = sorted((loop for loop in loops if loop[1]), key=lambda loop: (-loop[1], loop[0]))
    return {"instructions": len(instructions_of(code)), "loops": loops[:LOOPS]}


def is_fma(instruction: str) -> bool:
    """Whether an instruction multiplies and adds."""
    return FMA.match(instruction) is not None


def types_of_kernels() -> dict[str, list[Any]]:
    """{kernel: the types of arguments of its versions}, by running each once on this machine."""
    from fastgd.kernels.cpu import compile_ahead

    for dtype in (np.float32, np.float64):
        compile_ahead.compile_parts(np.dtype(dtype), (*compile_ahead.PARTS, "solve"))
    return {name: list(compile_ahead.KERNELS[name].signatures) for name in KERNELS}


def assembly_of_kernels(types: dict[str, list[Any]]) -> Iterator[tuple[str, str]]:
    """(kernel, type of data; its assembly), compiled anew; not run: here it may be illegal."""
    from fastgd.kernels.cpu import compile_ahead
    from fastgd.kernels.cpu.simd.compiling import OPTIONS

    for name, signatures in types.items():
        kernel = numba.njit(**OPTIONS)(compile_ahead.KERNELS[name].py_func)  # of one that is kept on disk the code cannot be read
        for signature in signatures:
            kernel.compile(signature)
        for signature, code in kernel.inspect_asm().items():
            yield f"{name}, {'float32' if 'float32' in str(signature) else 'float64'}", code


def count_parts() -> dict[str, Counts]:
    """{part: its counts}: the loops in which most time goes, each in a function of its own."""
    from fastgd.kernels.cpu.moments import lane_sums, register_tiles
    from fastgd.kernels.cpu.packs import plain_epochs
    from fastgd.kernels.cpu.simd.addresses import address, further
    from fastgd.kernels.cpu.simd.compiling import OPTIONS

    flat, number, flag = numba.float64[::1], numba.int64, numba.boolean

    def sums(left, tile, groups, first, last, lanes, fresh, ahead):
        panel = register_tiles.Panel(0, last, first, last, 0)
        register_tiles.multiply_block(
            address(left), address(tile), groups, panel, address(lanes), fresh, further(address(ahead), len(ahead)), len(ahead)
        )

    def butterflies(lanes, count, found):
        lane_sums.add_lanes(address(lanes), count, address(found))

    def epochs(grams, targets, state, constants, rates, rate_step, rows, losses, size, count, recorded):
        plain_epochs.plain_epochs(
            address(grams), address(targets), address(state), address(constants), address(rates), rate_step, address(rows),
            address(losses), size, count, recorded,
        )  # fmt: skip

    singles = numba.float32[::1]
    parts = {
        "sums of pairs of columns": (sums, (flat, flat, number, number, number, flat, flag, flat)),
        "butterflies": (butterflies, (flat, number, flat)),
        "epochs of plain SGD": (epochs, (flat, flat, flat, flat, flat, number, singles, singles, number, number, flag)),
    }
    found = {}
    for name, (function, kinds) in parts.items():
        compiled = numba.njit(**OPTIONS)(function)
        compiled.compile(kinds)
        (code,) = compiled.inspect_asm().values()
        found[name] = count_code(code)
    return found


def count_for(processor: str, types: dict[str, list[Any]] | None) -> dict[str, Counts]:
    """Counts of the kernels, or of parts, by a new process that compiles for this processor."""
    name, features = PROCESSORS[processor]
    environment = os.environ | {"NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": features}
    command = [sys.executable, "-P", __file__, "--count"]
    done = subprocess.run(command, env=environment, input=pickle.dumps(types), capture_output=True, check=False)
    if done.returncode:
        raise SystemExit(f"compiling for {processor} ended with {done.returncode}: {done.stderr.decode()[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def count_instructions(types: dict[str, list[Any]] | None = None) -> dict[str, dict[str, Counts]]:
    """{processor: counts of the kernels, or of parts}."""
    return {processor: count_for(processor, types) for processor in PROCESSORS}


# -- functions of Python ---------------------------------------------------------------------------


def small_calls() -> dict[str, Callable[[], object]]:
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


def count_functions(function: Callable[[], object]) -> int:
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


# -- comparing -------------------------------------------------------------------------------------


def numbers_of(counts: Counts) -> dict[str, int]:
    """{what: number} of one kernel: the loops are told in their order."""
    found = {"instructions": counts["instructions"]}
    for place, (instructions, fma, stack) in enumerate(counts["loops"], 1):
        found |= {f"loop {place}: instructions": instructions, f"loop {place}: multiply-adds": fma, f"loop {place}: on the stack": stack}
    return found


def differences(found: dict[str, dict[str, Counts]], written: dict[str, dict[str, Counts]]) -> tuple[list[str], list[str]]:
    """(what has grown by more than TOLERANCE, all else that is not as it is written), in words."""
    grown, other = [], []
    for processor, kernels in found.items():
        for name, counts in kernels.items():
            if name not in written.get(processor, {}):
                other.append(f"{processor}, {name}: not written down yet")
                continue
            now, before = numbers_of(counts), numbers_of(written[processor][name])
            for what in {**before, **now}:
                old, new = before.get(what, 0), now.get(what, 0)
                words = f"{processor}, {name}, {what}: {new}, {old} are written down"
                worse = new > old * (1 + TOLERANCE) and not what.endswith("multiply-adds")
                (grown if worse else other).extend([words] if new != old else [])
    return grown, other


def main() -> None:
    """Count, and compare with what is written down, or write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="parts of kernels alone, and functions of Python")
    parser.add_argument("--write", action="store_true", help="write the numbers; with --quick those of all kernels stay")
    parser.add_argument("--count", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.count:
        types = pickle.load(sys.stdin.buffer)  # of this program itself: count_for
        print(json.dumps(count_parts() if types is None else {name: count_code(code) for name, code in assembly_of_kernels(types)}))
        return
    found: dict[str, Any] = {"parts": count_instructions(), "python": {name: count_functions(call) for name, call in small_calls().items()}}
    if not asked.quick:
        found["kernels"] = count_instructions(types_of_kernels())
    written = json.loads(WRITTEN.read_text(encoding="utf-8")) if WRITTEN.exists() else {}
    if asked.write:
        lines = json.dumps(written | found | {"versions": versions()}, indent=1)
        WRITTEN.write_text(re.sub(r"\[\s+(\d+),\s+(\d+),\s+(\d+)\s+\]", r"[\1, \2, \3]", lines) + "\n", encoding="utf-8")
        return
    grown: list[str] = []
    if written["versions"] != versions():
        print(f"instructions are not compared: these are of {versions()}, those written down of {written['versions']}")
    else:
        for what in sorted(found.keys() - {"python"}):
            worse, other = differences(found[what], written.get(what, {}))
            grown += worse
            print(
                f"{what}: {len(worse)} numbers have grown by more than {TOLERANCE:.0%}, {len(other)} others differ",
                *worse,
                *other,
                sep="\n",
            )
    for name, now in found["python"].items():
        before = written["python"].get(name, 0)
        grown += [f"functions of Python, {name}: {now}, {before} are written down"] if now > before * 1.05 else []
        print(f"functions of Python, {name:36} {now:5} written down: {before}")
    if grown:
        raise SystemExit("\n".join(["more than before; where that is meant: python -P benchmarks/compare.py --write", *grown]))


if __name__ == "__main__":
    main()
