"""Asking for the cause of a planted descent, and judging the answer. Shared by the tests and by benchmarks/diagnosis.py."""

from __future__ import annotations

import numpy as np

import fastgd
from tests.planted_cases import KINDS, Case, make_case
from tests.planted_descents import Planted

NEEDS_TWO_PARAMETERS = {"intercept_not_updated", "gauss_seidel"}  # without, there is nothing to see


def draw(rng: np.random.Generator, code: str, dtype: str) -> Case:
    """A problem of any kind in which this defect can show."""
    wide = "float64" if code.startswith("float32") else dtype
    return make_case(rng, wide, kind=str(rng.choice(KINDS)), need_intercept=code in NEEDS_TWO_PARAMETERS)


def ask(case: Case, planted: Planted) -> fastgd.Diagnosis:
    """What `diagnose` says when it is told what the author of the descent would say."""
    name, values = planted.asked.get("optimizer", ("SGD", {}))
    dtype = planted.asked.get("dtype", case.dtype)
    return fastgd.diagnose(
        case.X.astype(dtype), case.y.astype(dtype), planted.w, planted.loss, lr=case.lr, optimizer=getattr(fastgd, name)(**values),
        intercept=case.intercept, w0=planted.w0, dtype=dtype,
    )  # fmt: skip


def judge(code: str, diagnosis: fastgd.Diagnosis) -> str:
    """Right; same: it is equal on these data to what was named; unseen: within the bound; unknown; or WRONG."""
    if diagnosis.code == code:
        return "right"
    possible = {part for name in diagnosis.also_possible for part in name.split(" + ")}
    if code in diagnosis.codes or code in possible:
        return "same"
    if diagnosis.code == "ok":
        return "unseen"
    return "unknown" if diagnosis.code == "unknown" else "WRONG"
