"""Asking for the cause of a planted descent, and judging the answer. Shared by the tests and by
benchmarks/diagnosis.py."""

from __future__ import annotations

import numpy as np

import fastgd
from fastgd.testing import problems, rates
from tests.support.planted_cases import KINDS, Case, make_case
from tests.support.planted_descents import Planted

NEEDS_TWO_PARAMETERS = {"intercept_not_updated", "gauss_seidel"}  # without, there is nothing to see


def draw(rng: np.random.Generator, code: str, dtype: str) -> Case:
    """A problem of any kind in which this defect can show."""
    wide = "float64" if code.startswith("float32") else dtype
    return make_case(rng, wide, kind=str(rng.choice(KINDS)), need_intercept=code in NEEDS_TWO_PARAMETERS)


NAMED = [
    problem
    for problem in problems()
    if problem.n_samples in range(3, 200) and not problem.name.startswith(("subnormal", "x_1e", "zero", "constant_y"))
]


def draw_named(rng: np.random.Generator, code: str, dtype: str) -> Case:
    """One of the named problems of fastgd.testing (NIST among them), at a rate between 0.3 and 1.7
    of 1/λ_max."""
    wide = "float64" if code.startswith("float32") else dtype
    usable = [p for p in NAMED if wide in p.dtypes and (code not in NEEDS_TWO_PARAMETERS or p.intercept)]
    problem = usable[rng.integers(len(usable))]
    lr = float(np.dtype(wide).type(rng.choice([0.3, 0.7, 1.0, 1.7]) * rates(problem)[1.0]))
    start = problem.w0 if rng.random() < 0.5 else np.round(rng.standard_normal(len(problem.w0)), 2)
    return Case(problem.name, problem.X, problem.y, start, lr, int(rng.integers(8, 60)), wide, problem.intercept)


def ask(case: Case, planted: Planted) -> fastgd.Diagnosis:
    """What `diagnose` says when it is told what the author of the descent would say."""
    name, values = planted.asked.get("optimizer", ("SGD", {}))
    dtype = planted.asked.get("dtype", case.dtype)
    return fastgd.diagnose(
        case.X.astype(dtype), case.y.astype(dtype), planted.w, planted.loss, lr=case.lr, optimizer=getattr(fastgd, name)(**values),
        intercept=case.intercept, w0=planted.w0, dtype=dtype,
    )  # fmt: skip


def judge(code: str, diagnosis: fastgd.Diagnosis) -> str:
    """Right; same: it is equal on these data to what was named; unseen: within the bound; unknown;
    or WRONG."""
    if diagnosis.code in (code, "unknown"):
        return "right" if diagnosis.code == code else "unknown"
    possible = {part for name in diagnosis.also_possible for part in name.split(" + ")}
    if code in diagnosis.codes or code in possible:
        return "same"
    return "unseen" if diagnosis.code in ("ok", "not_judged") else "WRONG"
