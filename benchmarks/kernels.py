"""Kernels of two checkouts beside each other: the instructions that they execute, and their times.

    python -P benchmarks/kernels.py OLD NEW                   # instructions; Linux on x86-64
    python -P benchmarks/kernels.py OLD NEW --times 15        # and times, in as many turns
    python -P benchmarks/kernels.py OLD NEW --processor AVX2 --cases "compress, 256"

OLD and NEW are folders with a .venv each (`git worktree add ../old COMMIT`).

1. A kernel is called again with the arguments of a fit; arrays that it writes are put back first.
2. Instructions are counted one by one: the processor's trap flag is set for the call, and a handler
   counts those that lie in memory of no file, which is Numba's machine code. Two counts of the same
   call are equal, on a busy machine too; another place of its arrays in memory can make a
   difference (up to 14 % in `compress`), so the least of a few counts is told. `perf` counts none
   on rented machines, and valgrind knows no AVX-512.
3. Times are of the processor. Two processes stay and take turns, the order changing from turn to
   turn; the first turn is not counted. A ratio is the median of the turns' ratios. Two processes of
   one commit differ by 1 to 3 %, where data are beyond the cache by 10.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

LEARNING_RATE = 0.05
SECONDS = 0.008  # of calls in a turn
PLACES = 4  # in memory, of which the one with the fewest instructions counts
SGD, MOMENTUM, ADAM = ("SGD", {}), ("SGD", {"momentum": 0.9}), ("Adam", {})
PROCESSORS = {  # NUMBA_CPU_NAME, NUMBA_CPU_FEATURES; as in compare.py
    "AVX2": ("x86-64-v3", "+sse4.2,+popcnt,+avx,+avx2,+fma,+bmi,+bmi2,+lzcnt,+f16c"),
}


class Case(NamedTuple):
    kernel: str
    words: str
    fits: tuple[int, int]  # for instructions, for times
    samples: int
    features: int
    optimizer: tuple[str, dict[str, Any]] | None  # None: `solve`
    options: dict[str, Any] = {}  # noqa: RUF012


CASES = (
    Case("compress", "100 x 1", (32, 1_000), 100, 1, None),
    Case("compress", "256 x 2", (8, 200), 256, 2, SGD, {"epochs": 1}),
    Case("compress", "256 x 8", (8, 100), 256, 8, SGD, {"epochs": 1}),
    Case("compress", "256 x 32", (1, 8), 256, 32, SGD, {"epochs": 1}),
    Case("compress", "8 x 3", (32, 1_000), 8, 3, SGD, {"epochs": 1}),
    Case("descend_packs", "d = 1, 100 epochs", (32, 3_200), 100, 1, SGD, {"epochs": 100}),
    Case("descend_packs", "d = 2, 100 epochs", (32, 1_600), 100, 2, SGD, {"epochs": 100}),
    Case("descend_packs", "d = 8, 100 epochs", (32, 320), 100, 8, SGD, {"epochs": 100}),
    Case("descend_packs", "d = 16, 100 epochs", (32, 64), 100, 16, SGD, {"epochs": 100}),
    Case("descend_packs", "d = 8, 64 epochs, history", (32, 256), 256, 8, SGD, {"epochs": 64, "history": True}),
    Case("descend_packs", "d = 2, tol", (32, 320), 100, 2, SGD, {"epochs": 100, "tol": 1e-3}),
    Case("descend_rule_packs", "d = 8, momentum, 100 epochs", (32, 320), 100, 8, MOMENTUM, {"epochs": 100}),
    Case("descend_rule_packs", "d = 8, Adam, 30 epochs", (32, 128), 100, 8, ADAM, {"epochs": 30}),
    Case("_descend", "d = 8, momentum, 200 epochs", (1, 1), 100, 8, MOMENTUM, {"epochs": 200}),
    Case("_descend", "d = 50, momentum, 20 epochs", (1, 8), 100, 50, MOMENTUM, {"epochs": 20}),
    Case("_descend", "d = 3, Adam, 200 epochs", (1, 1), 100, 3, ADAM, {"epochs": 200}),
    Case("_descend", "d = 8, Adam, 200 epochs", (1, 1), 100, 8, ADAM, {"epochs": 200}),
    Case("_descend", "stream, 1,024 x 1, 20 epochs", (1, 10), 1_024, 1, SGD, {"epochs": 20, "algorithm": "stream"}),
    Case("_descend", "stream, 1,024 x 8, 20 epochs", (1, 4), 1_024, 8, SGD, {"epochs": 20, "algorithm": "stream"}),
    Case("_descend", "stream, 1,024 x 8, Adam, 20 epochs", (1, 4), 1_024, 8, ADAM, {"epochs": 20, "algorithm": "stream"}),
    Case("_descend_batches", "1,024 x 8, 5 epochs of 64", (1, 4), 1_024, 8, SGD, {"epochs": 5, "batch_size": 64, "seed": 0}),
    Case("_solve", "d = 1", (32, 3_200), 100, 1, None),
    Case("_solve", "d = 8", (32, 320), 100, 8, None),
    Case("_solve", "d = 40", (1, 8), 100, 40, None),
)


# -- the trap flag ---------------------------------------------------------------------------------


def _make_counter() -> Callable[[Callable[[], object]], int]:
    """A function that counts the instructions in memory of no file that a call executes."""
    import numba
    from numba import types
    from numba.extending import intrinsic

    state = np.zeros(2 + 2 * 4_096, np.int64)  # count, ranges, and their begins and ends

    @intrinsic
    def pointer(typing_context, address):
        def generate(context, builder, signature, args):
            return builder.inttoptr(args[0], context.get_value_type(signature.return_type))

        return types.CPointer(types.int64)(types.int64), generate

    at, user = state.ctypes.data, int(signal.SIGUSR1)

    @numba.cfunc(types.void(types.int32, types.CPointer(types.int64), types.CPointer(types.int64)))
    def handler(number, information, context):
        if number == user:
            context[22] ^= 0x100  # the flags of the processor, which come back when the handler ends
            return
        memory, place = pointer(at), context[21]  # of the instruction
        for k in range(memory[1]):
            if memory[2 + 2 * k] <= place < memory[3 + 2 * k]:
                memory[0] += 1
                return

    class Action(ctypes.Structure):
        _fields_ = (("handler", ctypes.c_void_p), ("mask", ctypes.c_char * 128), ("flags", ctypes.c_int), ("restorer", ctypes.c_void_p))

    for number in (signal.SIGUSR1, signal.SIGTRAP):
        ctypes.CDLL(None).sigaction(int(number), ctypes.byref(Action(handler.address, b"", 4, None)), None)

    def count(call: Callable[[], object]) -> int:
        lines = [line.split() for line in Path("/proc/self/maps").read_text().splitlines()]
        ranges = [int(end, 16) for line in lines if "x" in line[1] and len(line) == 5 for end in line[0].split("-")]
        state[0], state[1] = 0, len(ranges) // 2
        state[2 : 2 + len(ranges)] = ranges
        process = os.getpid()
        os.kill(process, signal.SIGUSR1)
        call()
        os.kill(process, signal.SIGUSR1)
        return int(state[0])

    count.keeps = handler  # type: ignore[attr-defined]
    return count


# -- a process of one checkout ---------------------------------------------------------------------


def _at_a_page(array: np.ndarray) -> np.ndarray:
    """A copy that begins with a page: some loops are as long as it is to the next cache line."""
    room = np.empty(array.nbytes + 4_096, np.uint8)
    begin = -room.ctypes.data % 4_096
    copy = room[begin : begin + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def _calls_of(case: Case, dtype: str, fits: int) -> list[tuple[Any, tuple[Any, ...], list[tuple[np.ndarray, np.ndarray]]]]:
    """(kernel, arguments, arrays that it may write with what is in them) of a case's calls."""
    import fastgd
    from fastgd.kernels import cpu

    rng = np.random.default_rng(0)
    X = _at_a_page(rng.standard_normal((fits, case.samples, case.features)).astype(dtype))
    y = _at_a_page((X.sum(axis=-1) + rng.standard_normal((fits, case.samples))).astype(dtype))
    found: list[tuple[Any, tuple[Any, ...], list[tuple[np.ndarray, np.ndarray]]]] = []
    kernel = getattr(cpu, case.kernel)

    def listener(*arguments: Any) -> object:
        written = [(each, each.copy()) for each in arguments if isinstance(each, np.ndarray) and each.flags.writeable]
        found.append((kernel, arguments, written))
        return kernel(*arguments)

    setattr(cpu, case.kernel, listener)
    try:
        if case.optimizer is None:
            fastgd.solve(X, y, threads=1)
        else:
            name, options = case.optimizer
            fastgd.fit(X, y, optimizer=getattr(fastgd, name)(lr=LEARNING_RATE, **options), threads=1, **case.options)
    finally:
        setattr(cpu, case.kernel, kernel)
    return found


def _run(calls: Any, around: Callable[[Callable[[], object]], float]) -> float:
    """All calls, with the arrays put back before each: the sum of what `around` finds for them."""
    total = 0.0
    for kernel, arguments, written in calls:
        for array, before in written:
            array[...] = before
        total += around(lambda kernel=kernel, arguments=arguments: kernel(*arguments))
    return total


def _processor_time(call: Callable[[], object]) -> float:
    began = time.process_time()
    call()
    return time.process_time() - began


def _serve() -> None:
    """Answer lines of JSON: [what, number of the case, dtype]."""
    count, loaded = None, None
    for line in sys.stdin:
        what, number, dtype = json.loads(line)
        answer: Any = None
        if what == "count":
            count = count or _make_counter()
            tried = [_calls_of(CASES[number], dtype, CASES[number].fits[0]) for _ in range(PLACES)]
            for calls in tried:
                _run(calls, _processor_time)
            answer = min(round(_run(calls, count)) for calls in tried) if tried[0] else None
        elif what == "load":
            calls = _calls_of(CASES[number], dtype, CASES[number].fits[1])
            once = min(_run(calls, _processor_time) for _ in range(3))
            loaded = calls, max(1, round(SECONDS / once)) if once else 0
        elif what == "time" and loaded:
            answer = sum(_run(loaded[0], _processor_time) for _ in range(loaded[1])) / max(1, loaded[1])
        print(json.dumps(answer), flush=True)


# -- the process that asks -------------------------------------------------------------------------


def _start(checkout: Path, processor: str) -> Any:
    environment = dict(os.environ)
    if processor:
        environment["NUMBA_CPU_NAME"], environment["NUMBA_CPU_FEATURES"] = PROCESSORS[processor]
    command = [str(checkout / ".venv" / "bin" / "python"), "-P", __file__, "--serve"]
    return subprocess.Popen(command, cwd=checkout, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _ask(process: Any, *words: object) -> Any:
    process.stdin.write(json.dumps(words) + "\n")
    process.stdin.flush()
    line = process.stdout.readline()
    if not line:
        raise SystemExit(f"a process has ended: {words}")
    return json.loads(line)


def _times(processes: list[Any], turns: int, number: int, dtype: str) -> list[str]:
    """In words, for each checkout after the first: the median of the turns' ratios, 20 to 80 %."""
    for process in processes:
        _ask(process, "load", number, dtype)
    found: list[list[float]] = [[] for _ in processes]
    for turn in range(turns + 1):
        for place in range(len(processes)):
            which = (place + turn) % len(processes)
            found[which].append(_ask(processes[which], "time", number, dtype))
    words = []
    for each in found[1:]:
        low, middle, high = np.percentile(np.divide(each, found[0])[1:], [20, 50, 80])
        words.append(f"{middle:.3f} ({low:.2f}-{high:.2f})")
    return [f"{min(found[0]) * 1e6:,.0f} µs", *words]


def main() -> None:
    """Read the command line; a row for each case."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("checkouts", nargs="*", type=Path, help="folders, each with .venv; the first is what others are compared with")
    parser.add_argument("--times", type=int, default=0, metavar="TURNS")
    parser.add_argument("--cases", default="", help="only those with this text in their row")
    parser.add_argument("--processor", default="", choices=["", *PROCESSORS])
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.serve:
        _serve()
        return
    processes = [_start(each.resolve(), asked.processor) for each in asked.checkouts]
    ratios: list[list[float]] = []
    for dtype in ("float32", "float64"):
        for number, case in enumerate(CASES):
            words = f"`{case.kernel.lstrip('_')}`, {case.words} | {dtype}"
            if asked.cases not in words:
                continue
            counts = [_ask(process, "count", number, dtype) for process in processes]
            if None in counts:
                print(f"| {words} | not called |", flush=True)
                continue
            ratios.append([count / counts[0] for count in counts[1:]])
            columns = [f"{count:,}" for count in counts] + [f"{ratio:.3f}" for ratio in ratios[-1]]
            columns += _times(processes, asked.times, number, dtype) if asked.times else []
            print(f"| {words} | " + " | ".join(columns) + " |", flush=True)
    if not ratios:
        parser.error(f"no row holds {asked.cases!r}")
    print("geometric means of the instructions' ratios:", *np.round(np.exp(np.log(ratios).mean(axis=0)), 4))


if __name__ == "__main__":
    main()
