"""The problem that Moments are: nothing of the samples is left, and nothing is planned for them."""

from __future__ import annotations

import numpy as np

import fastgd
from fastgd.planning.compressed import is_compressed, read_moments

NOTHING = {"y": None, "sample_weight": None, "nodata": None, "dtype": None, "nan_policy": "raise", "intercept": False}


def test_the_problem_has_the_fits_and_no_samples():
    X, y = np.zeros((3, 1, 8, 2)), np.zeros((4, 8))
    moments = fastgd.compress(X, y, intercept=True, nan_policy="omit")
    assert is_compressed(moments)
    assert not is_compressed(X)
    problem = read_moments({"X": moments, "min_samples": None, **NOTHING})
    assert (problem.leading, problem.n_samples, problem.n_parameters) == ((3, 4), 0, 3)
    assert problem.min_samples == 3  # as for samples: as many as there are parameters
    assert problem.X.array.nbytes == problem.y.array.nbytes == 0
    assert read_moments({"X": moments, "min_samples": 5, **NOTHING}).min_samples == 5
