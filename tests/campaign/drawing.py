"""Random calls of `fit` and `solve`, as text: what is drawn is a Python expression for each
argument, so that every call can be written down as a program.

A seeded generator, not hypothesis: a case takes 0.2 ms instead of several, and one that fails is
made smaller by leaving out arguments (tests/campaign/calls.py), which keeps it readable.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy import array, inf, nan

import fastgd

NAMES = {"np": np, "array": array, "inf": inf, "nan": nan, "fastgd": fastgd}
IMPORTS = "import numpy as np\nfrom numpy import array, inf, nan\n\nimport fastgd\n"

LEADING = ((), (), (), (2,), (3,), (2, 2))
DTYPES = ("float64", "float64", "float64", "float32", "float32", "float16", "int32")
PLAIN = ("", "", "", "{}[::-1][::-1]", "np.asfortranarray({})", "np.repeat({}, 2, -1)[..., ::2]", "{}.astype('>f8')", "{}.tolist()")
OPTIONS_OF_RULES: dict[str, dict[str, tuple[str, ...]]] = {
    "SGD": {
        "momentum": ("0.5", "0.9"), "dampening": ("0.25", "-0.5"), "weight_decay": ("0.1", "1e-3", "2.0"), "maximize": ("True",),
    },
    "Adam": {
        "betas": ("(0.5, 0.75)", "(0.0, 0.5)", "(0.9, 0.0)"), "eps": ("1e-3", "1.0"), "weight_decay": ("0.1",), "amsgrad": ("True",),
        "maximize": ("True",),
    },
    "AdamW": {"betas": ("(0.5, 0.75)",), "eps": ("1e-3",), "weight_decay": ("0.0", "0.5"), "amsgrad": ("True",)},
    "RMSprop": {
        "alpha": ("0.5", "0.9"), "eps": ("1e-3", "1.0"), "weight_decay": ("0.1",), "momentum": ("0.5",), "centered": ("True",),
    },
    "Adagrad": {"lr_decay": ("0.5",), "weight_decay": ("0.1",), "initial_accumulator_value": ("0.25",), "eps": ("1e-3",)},
    "NAdam": {
        "betas": ("(0.5, 0.75)",), "eps": ("1e-3",), "weight_decay": ("0.1",), "momentum_decay": ("0.0", "1.0"),
        "decoupled_weight_decay": ("True",),
    },
    "Adadelta": {"rho": ("0.5", "1.0", "0.0"), "eps": ("1e-3",), "weight_decay": ("0.1",)},
    "Adamax": {"betas": ("(0.5, 0.75)",), "eps": ("1e-3",), "weight_decay": ("0.1",), "maximize": ("True",)},
}  # fmt: skip


class Draw:
    """Choices of a seeded generator."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def one(self, options: Any) -> Any:
        """One of several."""
        return options[int(self.rng.integers(len(options)))]

    def chance(self, share: float) -> bool:
        """True in this share of cases."""
        return bool(self.rng.random() < share)


def text_of(values: np.ndarray, dtype: str) -> str:
    """An expression for an array, exact."""
    return f"array({values.astype(dtype).tolist()}, {dtype!r})"


def numbers(draw: Draw, shape: tuple[int, ...], dtype: str, scale: float) -> np.ndarray:
    """Numbers of this size: noise, small integers, or a few equal ones."""
    if dtype == "int32":
        return draw.rng.integers(-5, 6, shape).astype(float)
    kind = draw.rng.random()
    if kind < 0.6:
        values = draw.rng.standard_normal(shape)
    elif kind < 0.9:
        values = draw.rng.integers(-4, 5, shape).astype(float)
    else:
        values = draw.one((np.zeros, np.ones))(shape)
    return values * scale


def draw_data(draw: Draw) -> tuple[dict[str, str], tuple[int, ...], int | None, int]:
    """(expressions of X, y, and of what may belong to them, leading shape, features, samples).
    Features are None for a 1-D X."""
    leading = draw.one(LEADING)
    n = int(draw.rng.integers(1, 10)) if draw.chance(0.9) else int(draw.rng.integers(10, 40))
    d = draw.one((None, 1, 1, 2, 2, 3, 4))
    dtype = draw.one(DTYPES)
    most = {"float16": 0, "int32": 0, "float32": 15, "float64": 140}[dtype]
    size = draw.rng.uniform(-1, 1) * (most if draw.chance(0.1) else 2 if most else 0)
    scale = 10.0 ** float(np.round(size))
    shared = draw.chance(0.3)
    shape = (n,) if d is None else ((n, d) if shared else (*leading, n, d))
    if d is not None and shape == (*leading, n):  # y of the shape of a 2-D X is refused: it could mean either
        shape = (*leading, n, d)
    X = numbers(draw, shape, dtype, scale)
    if d and d > 1 and draw.chance(0.1):
        X[..., -1] = X[..., 0]  # deficient
    y = numbers(draw, (*leading, n), dtype, scale if draw.chance(0.7) else 1.0)
    given: dict[str, str] = {}
    if draw.chance(0.25):
        given["nan_policy"] = draw.one(("'omit'", "'propagate'"))
        if dtype not in ("int32",) and draw.chance(0.7):
            target = draw.one((X, y))
            target[draw.rng.random(target.shape) < 0.15] = draw.one((nan, inf, -inf, nan))
    for name, values in (("X", X), ("y", y)):
        layout = draw.one(PLAIN)
        text = text_of(values, dtype)
        given[name] = layout.format(text) if layout and (dtype == "float64" or layout != PLAIN[-2]) else text
    if draw.chance(0.25):
        weights = draw.one((draw.rng.random, lambda shape: draw.rng.integers(0, 3, shape).astype(float)))(
            (*leading, n) if draw.chance(0.5) else (n,)
        )
        given["sample_weight"] = text_of(weights, "float64" if dtype != "float32" else "float32")
    return given, leading, d, n


def draw_rate(draw: Draw, given: Mapping[str, str], leading: tuple[int, ...]) -> str:
    """A learning rate around the stable ones, of all fits or of each."""
    X = np.asarray(value_of(given["X"]), float)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        finite = X[np.isfinite(X)]
        curvature = 2 * float(np.square(finite).max(initial=0)) * (1 if X.ndim == 1 else X.shape[-1])
    safe = 1 / curvature if 0 < curvature < 1e290 else 1.0
    safe = min(max(float(f"{safe:.3g}"), 1e-35), 1e30) if "float32" in given["X"] else safe
    if leading and draw.chance(0.3):
        return text_of(safe * draw.rng.uniform(0, 2, leading[-1:]), "float64")
    return repr(float(safe * draw.one((0.5, 1.0, 1.9, 2.5, 1e-3, 0.0))))


def draw_rule(draw: Draw) -> str:
    """An update rule with some of its options."""
    name = draw.one(list(OPTIONS_OF_RULES))
    chosen = {key: draw.one(values) for key, values in OPTIONS_OF_RULES[name].items() if draw.chance(0.3)}
    if name == "SGD" and chosen.get("momentum") and draw.chance(0.3):
        chosen = {key: value for key, value in chosen.items() if key != "dampening"} | {"nesterov": "True"}
    if not chosen and draw.chance(0.5):
        return draw.one((f"'{name.lower()}'", f"fastgd.{name}"))
    return f"fastgd.{name}({', '.join(f'{key}={value}' for key, value in chosen.items())})"


def draw_fit(draw: Draw) -> dict[str, str]:
    """A call of `fit` that is right: {argument: expression}."""
    given, leading, d, _ = draw_data(draw)
    if draw.chance(0.6):
        given["optimizer"] = draw_rule(draw)
    rule = given.get("optimizer", "'sgd'").lower()
    if draw.chance(0.7) or "maximize" in rule:
        given["lr"] = draw_rate(draw, given, leading) if "sgd" in rule else draw.one(("0.5", "0.01", "0.0"))
    given["epochs"] = str(int(draw.rng.integers(0, 7)))
    if draw.chance(0.3):
        given["reduction"] = draw.one(("'sum'", "'mean'"))
    if draw.chance(0.35):
        given["intercept"] = "True"
        if draw.chance(0.3):
            given["intercept0"] = repr(float(np.round(draw.rng.standard_normal(), 3)))
    if draw.chance(0.3):
        shape = leading if d is None else (d,) if draw.chance(0.5) else (*leading, d)
        given["w0"] = text_of(draw.rng.standard_normal(shape), "float64")
    if draw.chance(0.12):
        given["standardize"] = "True"
    elif draw.chance(0.4):
        given["algorithm"] = draw.one(("'stream'", "'moments'")) if "nan_policy" not in given else "'stream'"
    if draw.chance(0.1) and "maximize" not in rule:
        given["tol"] = draw.one(("0.5", "0.01", "0.0"))
    if draw.chance(0.15):
        given["excess_loss"] = draw.one(("True", "False")) if "maximize" not in rule and "tol" not in given else "None"
    if draw.chance(0.4):
        given["history"] = draw.one(("True", "2", "3"))
    if draw.chance(0.1):
        given["min_samples"] = draw.one(("1", "2", "5"))
    if draw.chance(0.1):
        given["dtype"] = draw.one(("'float32'", "'float64'", "np.float32"))
    if draw.chance(0.06) and "algorithm" not in given and "standardize" not in given:
        given["backend"] = "'numpy'"
    elif draw.chance(0.2):
        given["threads"] = draw.one(("1", "2", "None"))
    if draw.chance(0.15):
        given["memory_limit"] = draw.one(("'1 GiB'", "2**30", "10**8"))
    if draw.chance(0.1):
        given["progress"] = draw.one(("False", "lambda done, total: None"))
    return given


def draw_solve(draw: Draw) -> dict[str, str]:
    """A call of `solve` that is right."""
    given, leading, _, _ = draw_data(draw)
    if draw.chance(0.4):
        given["intercept"] = "True"
    if draw.chance(0.2):
        given["standardize"] = "True"
    if draw.chance(0.3):
        given["weight_decay"] = (
            draw.one(("0.1", "2.0", "1e-3", "0.0")) if not leading else text_of(draw.rng.random(leading[-1:]), "float64")
        )
    if draw.chance(0.3):
        given["reduction"] = draw.one(("'sum'", "'mean'"))
    if draw.chance(0.1):
        given["min_samples"] = draw.one(("1", "2", "5"))
    if draw.chance(0.15):
        given["memory_limit"] = draw.one(("'1 GiB'", "10**8"))
    if draw.chance(0.2):
        given["threads"] = draw.one(("1", "2"))
    return given


@functools.lru_cache(4096)
def _compiled(text: str) -> Any:
    return compile(text, "argument", "eval")


def value_of(text: str, names: Mapping[str, Any] | None = None) -> Any:
    """The value of an expression."""
    return eval(_compiled(text), dict(NAMES if names is None else names))


def program(function: str, given: Mapping[str, str], imports: str = IMPORTS, after: str = "print(result)") -> str:
    """A call as a program."""
    lines = "".join(f"    {name}={text},\n" for name, text in given.items())
    return f"{imports}\nresult = {function}(\n{lines})\n{after}\n"
