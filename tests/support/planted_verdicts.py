"""Asking for the cause of a planted descent, and judging the answer. Shared by the tests and by
benchmarks/diagnosis.py."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

import fastgd
from fastgd.testing import problems, rates
from tests.support.planted_batches import BATCHES
from tests.support.planted_cases import KINDS, Case, make_case
from tests.support.planted_causes import MORE
from tests.support.planted_descents import PLANTS, Planted

# By the name of the plant: a code, and where it is planted in another way, words after it.
ALL_PLANTS = {**PLANTS, **MORE, **BATCHES}
NEEDS_INTERCEPT = (
    "intercept_not_updated",
    "rule_part",
    "ridge_on_intercept",
    "rows_are_one_array beside",
    "gauss_seidel",
    "residual_without_intercept",
    "intercept_first",
)
NEEDS_TWO_FEATURES = (  # without, nothing shows
    "columns_permuted", "column_repeated", "gradient_part", "gradient_clipped_values", "gradient_without_axis", "rates_of_parameters",
)  # fmt: skip


def draw(rng: np.random.Generator, name: str, dtype: str) -> Case:
    """A problem of any kind in which this defect can show."""
    wide = "float64" if name.startswith("float32") else dtype
    two = name.startswith(NEEDS_TWO_FEATURES)
    kinds = tuple(kind for kind in KINDS if kind != "tutorial") if two else KINDS
    return make_case(rng, wide, kind=str(rng.choice(kinds)), need_intercept=name.startswith(NEEDS_INTERCEPT), least_d=1 + two)


NAMED = [
    problem
    for problem in problems()
    if problem.n_samples in range(3, 200) and not problem.name.startswith(("subnormal", "x_1e", "zero", "constant_y"))
]


def draw_named(rng: np.random.Generator, name: str, dtype: str) -> Case:
    """One of the named problems of fastgd.testing (NIST among them), at a rate between 0.3 and 1.7
    of 1/λ_max."""
    wide = "float64" if name.startswith("float32") else dtype
    intercept, least = name.startswith(NEEDS_INTERCEPT), 1 + name.startswith(NEEDS_TWO_FEATURES)
    usable = [p for p in NAMED if wide in p.dtypes and (p.intercept or not intercept) and p.n_features >= least]
    problem = usable[rng.integers(len(usable))]
    lr = float(np.dtype(wide).type(rng.choice([0.3, 0.7, 1.0, 1.7]) * rates(problem)[1.0]))
    start = problem.w0 if rng.random() < 0.5 else np.round(rng.standard_normal(len(problem.w0)), 2)
    return Case(problem.name, problem.X, problem.y, start, lr, int(rng.integers(8, 60)), wide, problem.intercept)


def ask(case: Case, planted: Planted) -> fastgd.Diagnosis:
    """What `diagnose` says when it is told what the author of the descent would say."""
    name, values = planted.asked.get("optimizer", ("SGD", {}))
    dtype = planted.asked.get("dtype", case.dtype)
    told = {"lr": planted.asked.get("lr", case.lr), "intercept": case.intercept, "w0": planted.w0, "dtype": dtype}
    X, y = case.X.astype(dtype), case.y.astype(dtype)
    if "verify" in planted.asked:
        history = planted.w if planted.loss is None else (planted.w, planted.loss)
        report = fastgd.verify(history, X, y, optimizer=getattr(fastgd, name)(**values), **told, **planted.asked["verify"])
        found = report.diagnosis or fastgd.Diagnosis("ok" if report.ok else "unknown", ("ok",), str(report))
        return replace(found, evidence={"tau_asked": report.tau_w, "tau_loss_asked": report.tau_loss, **found.evidence})
    told |= {one: planted.asked[one] for one in ("schedule", "ridge") if one in planted.asked}
    return fastgd.diagnose(X, y, planted.w, planted.loss, optimizer=getattr(fastgd, name)(**values), **told)


def judge(name: str, diagnosis: fastgd.Diagnosis, planted: Planted) -> str:
    """Right; same: it is equal on these data to what was named; unseen: within the bound; unknown;
    or WRONG."""
    code = name.split(" ")[0]
    if diagnosis.code in (code, "unknown"):
        return "right" if diagnosis.code == code else "unknown"
    possible = {part for name in diagnosis.also_possible for part in name.split(" + ")}
    if code in diagnosis.codes or code in possible:
        return "same"
    halved = "half" in planted.asked or name.endswith("in 1/m code")
    if halved and diagnosis.codes == ("half_convention",):
        return "unseen"  # all but the convention is within the bound
    return "unseen" if diagnosis.code in ("ok", "not_judged") else "WRONG"
