"""No false alarm: correct programs, in every form in which they are handed over.

benchmarks/diagnosis.py runs them by the hundred, with those of torch, JAX and scikit-learn.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.support.correct_programs import NUMPY, verdict
from tests.support.planted_cases import make_case


@pytest.mark.parametrize("name", NUMPY)
def test_a_correct_program_agrees(name):
    for k, dtype in enumerate(("float64", "float32")):
        rng = np.random.default_rng([51, list(NUMPY).index(name), k])
        case = replace(make_case(rng, dtype, kind="offset", need_intercept=bool(k)), epochs=8)
        report = verdict(case, NUMPY[name](case, rng))
        assert report.outcome == "agrees", str(report)
