"""Memory limits, beside the peak that is measured."""

from __future__ import annotations

import gc
import tracemalloc
from typing import Any

import numpy as np

import fastgd
from tests.campaign.attack import Attack, Trial
from tests.campaign.drawing import Draw
from tests.campaign.surroundings import is_a_sentence

IMPORTS = "import numpy as np\n\nimport fastgd\nfrom tests.campaign.ceilings import peak_of\n"


def peak_of(function: Any, make: Any, **options: Any) -> tuple[int, BaseException | None]:
    """(most bytes that a call held at a time beside its data, its error). Memory that NumPy
    allocates is counted, and Python's own; what a LAPACK routine takes for itself is not."""
    X, y = make()
    gc.collect()
    tracemalloc.start()
    error = None
    try:
        function(X, y, **options)
    except Exception as caught:
        error = caught
        error.__traceback__ = error.__traceback__ if not isinstance(caught, ValueError | MemoryError) else None
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak, error


def draw_case(draw: Draw) -> tuple[str, str, dict[str, str]]:
    """(function, an expression that makes X and y, options as expressions)."""
    fits, n, d = draw.one(((1, 60_000, 3), (2_000, 40, 2), (8_000, 12, 1), (100, 300, 5), (1, 2_000, 40), (20, 50, 40)))
    dtype = draw.one(("'f8'", "'f4'", "'f8'", "'i4'", "'>f8'"))
    lead = f"{fits}, " if fits > 1 else ""
    noise = f"np.random.default_rng({int(draw.rng.integers(1000))})"
    X = f"(9 * {noise}.standard_normal(({lead}{n}, {d}))).astype({dtype})"
    if fits > 1 and draw.chance(0.4):
        X = f"np.moveaxis((9 * {noise}.standard_normal(({n}, {d}, {fits}))).astype({dtype}), -1, 0)"  # fits interleave
    y = f"{noise}.standard_normal(({lead}{n},)).astype({dtype})"
    options: dict[str, str] = {}
    function = draw.one(("fastgd.fit", "fastgd.fit", "fastgd.solve"))
    if function == "fastgd.fit":
        options["epochs"] = draw.one(("3", "20"))
        options["lr"] = "0.001"
        if draw.chance(0.3):
            options["history"] = draw.one(("True", "5"))
        if draw.chance(0.3):
            options["algorithm"] = draw.one(("'stream'", "'moments'"))
        if draw.chance(0.2):
            options["optimizer"] = "'adam'"
    if draw.chance(0.3):
        options["intercept"] = "True"
    if draw.chance(0.3):
        options["standardize"] = "True"
        options.pop("algorithm", None)
    if draw.chance(0.3):
        options["sample_weight"] = f"{noise}.random(({n},))"
    if draw.chance(0.3):
        options["dtype"] = draw.one(("'float32'", "'float64'"))
    options["threads"] = draw.one(("1", "2"))
    make = f"lambda: ({X}, {y})"
    if draw.chance(0.15) and dtype in ("'f8'", "'f4'"):
        make = f"lambda: ({X}, np.where(np.arange({n}) == {n - 1}, np.nan, {y}))"  # an error, found last
    options["memory_limit"] = str(int(2 ** draw.rng.uniform(20, 24)))
    return function, make, options


def run(trial: Trial) -> None:
    """Make calls with a limit, and measure."""
    draw = Draw(trial.rng)
    for dtype in ("f4", "f8"):  # what the first calls load is not theirs
        for function in (fastgd.fit, fastgd.solve):
            function(np.ones((3, 2), dtype), np.ones(3, dtype))
    while trial.time_is_left():
        name, make, options = draw_case(draw)
        asked = "".join(f", {key}={text}" for key, text in options.items())
        program = f"{IMPORTS}\nfor _ in range(2):  # the first call loads what it needs\n    print(peak_of({name}, {make}{asked}))\n"
        trial.doing(program)
        values = {key: eval(text, {"np": np}) for key, text in options.items()}
        made = eval(make, {"np": np})
        function = getattr(fastgd, name.removeprefix("fastgd."))
        peak_of(function, made, **values)  # the first call of a kind loads what it needs
        peak, error = peak_of(function, made, **values)
        if error is not None and not isinstance(error, ValueError | MemoryError):
            trial.failed("internal exception", f"{type(error).__name__}: {error}: {is_a_sentence(error)}", program)
        if peak > values["memory_limit"]:
            told = f", then {type(error).__name__}" if error is not None else ""
            trial.failed("over the limit", f"{peak:,} bytes, and {values['memory_limit']:,} are allowed{told}", program)
        trial.tried()


ATTACK = Attack(
    name="ceilings",
    promise="memory_limit is kept, from 1 MiB on",
    how="Calls of fit and solve with a random memory_limit, of every layout and option that needs memory, errors among them; the peak of "
    "the call beside its data is measured by tracemalloc, or the call is refused with a MemoryError.",
    unit="calls",
    share=1,
    run=run,
)
