"""The named cases: one registry of all uses, each with its aim; `fastgd bench`, `make bench`.

1. A case is sizes, a maker (making.py), a limit and an aim: how many times the limit its call may
   take. The limit is a formula of what limits.py measures in the same repetitions. Aims are those
   of the design; a case without one is measured all the same.
2. "read + write" counts the history; "fresh" results lie in new pages, and are compared with
   writing into memory that was touched before, so that clearing pages counts as ours.
3. A twin is another call in the same repetitions: the same without `excess_loss`, for which 5 % are
   aimed at, or ordinary fits beside those of dependent columns, for which 20 times are.
4. USERS are the cases of `fastgd bench`: those that most calls are like.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import fastgd

from . import making
from .limits import Machine, fastest
from .making import Sizes, Work
from .measuring import Row, interleaved, percentiles, shown, timed

READ, READ_WRITE, ROOF, GATHER, ONE_THREAD = "read", "read + write", "max(read, fma64)", "gather", "fma32, one thread"
WITHOUT, ORDINARY = "twin, without excess_loss", "twin, of ordinary fits"


@dataclass(frozen=True)
class Case:
    """One named case."""

    name: str  # for --only, the files of results and the tables
    words: str
    sizes: Sizes
    make: Callable[[Sizes], Work]
    limit: str | float | None  # a formula, or seconds
    most: float | None  # the aim: times the limit


def _batch(name: str, sizes: Sizes, aims: tuple[tuple[str, float], ...]) -> list[Case]:
    """A batch that keeps w alone, and its history in given and in fresh memory."""
    made = []
    for (keep, words), (limit, most) in zip((("w", "w only"), ("out", "history, out="), ("fresh", "history, fresh")), aims, strict=False):
        made.append(Case(f"{name} {keep}", f"{sizes}, {words}", sizes, making.descent(keep), limit, most))
    return made


def _registry() -> list[Case]:
    cases: list[Case] = []
    tiny = Sizes(1, 1_000, 1, 10)
    for like, seconds in ((True, 30e-6), (False, 100e-6)):
        words = "like an earlier one" if like else "unlike any"
        cases.append(Case(f"tiny {'like' if like else 'unlike'}", f"{tiny}, {words}", tiny, making.tiny(like), seconds, 1.0))
    shapes = {
        "100x1": (Sizes(100_000, 100, 1, 100), ((READ, 1.5), (READ_WRITE, 1.5), (READ_WRITE, 2.0))),
        "100x2": (Sizes(100_000, 100, 2, 0), ()),  # `solve` alone
        "256x8": (Sizes(20_000, 256, 8, 200), ((ROOF, 1.5), (ROOF, 1.5), (ROOF, 2.0))),
        "10000x32": (Sizes(1_000, 10_000, 32, 100), ((ROOF, 1.5),)),
        "1e6x16": (Sizes(1, 1_000_000, 16, 100), ((ROOF, 2.0),)),
        "1e5x256": (Sizes(1, 100_000, 256, 100), ((ROOF, 2.0),)),
    }
    for dtype in ("float32", "float64"):
        suffix = "" if dtype == "float32" else " float64"
        for name, (sizes, aims) in shapes.items():
            of = replace(sizes, dtype=dtype)
            cases += _batch(f"fit {name}{suffix}", of, aims if dtype == "float32" else tuple((ROOF, most) for _, most in aims))
            limit, most = (READ, 2.0) if of.n_features <= 2 else (ROOF, None)
            cases.append(Case(f"solve {name}{suffix}", f"{replace(of, epochs=0)}, closed form", of, making.solve, limit, most))
        many, few = Sizes(20_000, 256, 8, 0, dtype), Sizes(10_000, 6, 8, 0, dtype)
        for name, words, sizes, make in (
            ("dead", "one of them zeros", many, making.deficient(0.0)),
            ("constant", "one of them constant, an intercept", many, making.deficient(3.0, intercept=True)),
            ("few", "fewer samples than features", few, making.deficient(None)),
        ):
            cases.append(Case(f"solve {name}{suffix}", f"{sizes}, {words}, closed form", sizes, make, ORDINARY, 20.0))
        shared = Sizes(20_000, 1_000, 8, 0, dtype)
        cases.append(Case(f"solve one X{suffix}", f"{shared}, one X for all, closed form", shared, making.one_X, ROOF, None))
    cases.append(Case("solve tiny", f"{replace(tiny, epochs=0)}, closed form", tiny, making.tiny_solve, 150e-6, 1.0))
    rates = Sizes(4_096, 10_000, 16, 200)
    for keep, words in (("w", "w only"), ("fresh", "history")):
        cases.append(Case(f"rates {keep}", f"4,096 rates on one 10^4 x 16, 200 epochs, {words}", rates, making.rates(keep), ROOF, 2.0))
    rule = Sizes(5_000, 64, 8, 500)
    for name, optimizer in (("adam", fastgd.Adam(lr=0.01)), ("nesterov", fastgd.SGD(lr=0.01, momentum=0.9, nesterov=True))):
        for keep, words in (("w", "w only"), ("fresh", "history")):
            cases.append(Case(f"{name} {keep}", f"{rule}, {words}", rule, making.descent(keep, optimizer=optimizer), ROOF, None))
    one_epoch = Sizes(1, 1_000_000, 16, 1)
    for name, limit, most in (("ordered", READ, 2.0), ("shuffled", GATHER, 1.5)):
        words = f"10^6 x 16, one epoch of batches of {making.BATCH}, {'in order' if name == 'ordered' else name}"
        cases.append(Case(f"batches {name}", words, one_epoch, making.batches(name == "shuffled"), limit, most))
    groups = "10^6 groups of 5 to 200 rows"
    for d in (1, 3):
        sizes = Sizes(1_000_000, 0, d, 100, "float64")
        cases.append(Case(f"groups {d} solve", f"{groups}, {d} + 1 parameters, closed form", sizes, making.groups(True), READ, 1.5))
    cases.append(Case("groups 3 fit", f"{groups}, 3 + 1 parameters, 100 epochs", sizes, making.groups(False), READ, 1.5))
    raster = Sizes(1_000_000, 120, 1, 50)
    for name, words in (("fit", "50 epochs"), ("solve", "closed form")):
        text = f"raster 120 x 1,000 x 1,000, times first, a line each, {words}"
        cases.append(Case(f"raster {name}", text, raster, making.raster(name == "solve"), READ, 1.5))
    scaled = Sizes(20_000, 256, 8, 200)
    cases.append(Case("standardized", f"{scaled}, standardised", scaled, making.descent("fresh", standardize=True), ROOF, None))
    gaps = Sizes(100_000, 100, 1, 100)
    cases.append(Case("gaps", f"{gaps}, a tenth missing, history", gaps, making.descent("fresh", nan_policy="omit"), READ_WRITE, None))
    for d in (1, 8):
        stream = Sizes(1, 1_024, d, 20_000)
        cases.append(Case(f"stream {d}", f'{stream}, algorithm="stream"', stream, making.stream, ONE_THREAD, 1.5))
    for name in ("tiny like", "fit 100x1 w", "fit 256x8 w", "rates w"):
        case = next(case for case in cases if case.name == name)
        words, make = f"{case.words}, with its excess loss", making.without_excess(case.make)
        cases.append(replace(case, name=f"excess {name}", words=words, make=make, limit=WITHOUT, most=1.05))
    told = Sizes(1, 1_000, 8, 1_000)
    cases.append(Case("verify", f"verify of a history of {told}", told, making.verify, None, None))
    return cases


CASES = {case.name: case for case in _registry()}
USERS = ("tiny like", "fit 100x1 w", "fit 100x1 fresh", "fit 256x8 w", "solve 256x8", "fit 1e6x16 w", "rates w", "adam w", "raster fit")


def _limits(case: Case, work: Work, machine: Machine) -> dict[str, Callable[[], object]]:
    """The functions whose times make the limit of a case."""
    formula = case.limit if isinstance(case.limit, str) else ""
    ways: dict[str, Callable[[], object]] = {}
    if "read" in formula:
        ways |= machine.ways_to_read(work.reads)
    if "write" in formula:
        ways |= machine.ways_to_write(work.writes)
    if "fma64" in formula:
        ways |= machine.ways_to_multiply("float64", machine.threads)
    if formula == ONE_THREAD:
        ways |= machine.ways_to_multiply("float32", 1)
    if formula == GATHER:
        ways |= machine.ways_to_gather(*work.gathered)
    ways |= {"twin call": work.twin} if work.twin else {}
    return ways | ({"empty call": work.empty} if work.empty else {})


def measure(case: Case, machine: Machine, share: float = 1.0, most_seconds: float = 3.0) -> Row:
    """One case: checked, then timed in turn with its limits.

    share: of the fits, or of the samples of one fit.
    """
    sizes = case.sizes.share(share)
    work = case.make(sizes)
    tau = work.check()
    first = timed(work.call)
    ways = _limits(case, work, machine)
    repeats = 1_000 if work.empty else 31 if work.twin else 9
    seconds = interleaved({**ways, "call": work.call}, repeats, most_seconds)
    spent = np.array(seconds["call"])
    row: Row = {"case": case.name, "words": case.words, **sizes.told(), "share": share, **percentiles(spent), "first_call": first}
    row |= {"repeats": len(spent), "threads": machine.threads, "worst_tau": tau, "fits_per_s": sizes.n_fits / float(np.median(spent))}
    of_kind, by = _seconds_of_kinds(work, seconds, machine)
    row |= {"bytes_read": sum(array.nbytes for array in work.reads), "bytes_written": sum(array.nbytes for array in work.writes)}
    row |= {
        "operations": work.operations,
        "limits_s": {kind: float(np.median(values)) for kind, values in of_kind.items()},
        "limits_by": by,
    }
    if case.limit is None:
        return row
    limit = np.full(len(spent), case.limit) if isinstance(case.limit, float) else _of_formula(case.limit, of_kind)
    ratios, at_median = percentiles(spent / limit), float(np.median(limit))
    if isinstance(case.limit, str):
        at_median = float(_of_formula(case.limit, {kind: np.median(values) for kind, values in of_kind.items()}))
    words = case.limit if isinstance(case.limit, str) else shown(case.limit)
    return row | {"limit": words, "limit_s": at_median, "most": case.most, "ratio": row["median"] / at_median,
                  "ratio_p20": ratios["p20"], "ratio_p80": ratios["p80"]}  # fmt: skip


def _seconds_of_kinds(work: Work, seconds: dict[str, list[float]], machine: Machine) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """{kind of limit: seconds of each repetition}, {kind: the way that was fastest}."""
    kinds = dict.fromkeys(name.split()[0] for name in seconds if name != "call")
    ways = {kind: fastest(seconds, kind) for kind in kinds}
    found = {kind: np.array(values) for kind, (_, values) in ways.items()}
    for kind, threads in (("fma64", machine.threads), ("fma32", 1)):
        if kind in found:
            found[kind] = found[kind] * work.operations / machine.operations(threads)
    return found, {kind: name for kind, (name, _) in ways.items()}


def _of_formula(formula: str, of_kind: dict[str, Any]) -> Any:
    """The limit that a formula names."""
    if formula == ROOF:
        return np.maximum(of_kind["read"], of_kind["fma64"])
    if formula == READ_WRITE:
        return of_kind["read"] + of_kind["write"]
    return of_kind[formula.partition(",")[0]]
