"""Shapes and dtypes of the data: every error names the argument and comes before any work."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import fastgd
from tests.support.refusals import X2, X5, Y2, refused, x, y

repeat = np.broadcast_to


def test_no_work_would_be_seen(no_work):
    with pytest.raises(AssertionError, match="work began"):
        fastgd.fit(x, y)


SHAPES = {
    "samples differ": (X2, Y2[:7], r"X has 8 samples \(shape \(8, 2\)\) but y has 7 \(shape \(7,\)\)"),
    "one sample": (x[:1], y, r"X has 1 sample \(shape \(1,\)\) but y has 4"),
    "leading axes": (X5, np.zeros((4, 8)), r"broadcast.*X has shape \(5, 8, 2\), so \(5,\) fits, y has shape \(4, 8\), so \(4,\)"),
    "2-D y, 2-D X": (
        X2,
        X2,
        r"both have shape \(8, 2\), and a 2-D X is always \(n_samples, n_features\).*8 fits.*X\[\.\.\., None\].*2 targets give y\.T$",
    ),
    "X rows are fits": (np.ones((100, 8)), np.ones(8), r"100 samples.*y has 8.*always \(n_samples, n_features\).*X\[\.\.\., None\]"),
    "y is a column": (X2, Y2[:, None], r"y has 1 \(shape \(8, 1\)\); the samples are the last axis of y: give y\[:, 0\]"),
    "y is (n, k)": (X2, np.zeros((8, 5)), r"the samples are the last axis of y: give y\.T for many targets"),
    "1-D X, y is (n, k)": (x, np.zeros((4, 3)), r"X has 4 samples.*give y\.T for many targets"),
    "no samples": ([], [], r"X is empty, it has shape \(0,\); at least one sample"),
    "no samples, 2-D": (np.zeros((0, 2)), np.zeros(0), r"X is empty, it has shape \(0, 2\)"),
    "no features": (np.zeros((3, 0)), np.zeros(3), r"X is empty, it has shape \(3, 0\); .*one feature"),
    "no fits": (np.zeros((0, 8, 2)), np.zeros((0, 8)), r"X is empty, it has shape \(0, 8, 2\); .*one fit"),
    "no fits in y": (X2, np.zeros((0, 8)), r"y is empty, it has shape \(0, 8\)"),
    "X is a number": (1.5, y, r"X must have at least one axis, the samples; it is the single number 1\.5"),
    "y is a number": (x, 2.5, r"y must have at least one axis, the samples; it is the single number 2\.5"),
    "frame as y": (pd.DataFrame(X2), pd.DataFrame(Y2), r"give y\[:, 0\]"),
}


@pytest.mark.parametrize(("X", "y", "pattern"), SHAPES.values(), ids=SHAPES)
def test_shapes(no_work, X, y, pattern):
    refused(ValueError, pattern, X, y)


@pytest.mark.parametrize("value", ["foo", 3, ["cpu"], "float16", int, complex, np.longdouble, np.array(["a", "b"])], ids=str)
def test_dtype(no_work, value):
    refused(ValueError, r"^dtype must be 'float32' or 'float64', not ", x, y, dtype=value)


def test_dtype_of_torch(no_work, torch):
    refused(ValueError, r"^dtype must be 'float32' or 'float64', not ", x, y, dtype=torch.float32)


@pytest.mark.parametrize("options", [{"sample_weight": repeat(1.0, 2**31)}, {"nan_policy": "omit"}], ids=["weights", "omit"])
def test_samples_whose_numbers_are_not_int32(no_work, options):
    """The lists of samples that stay are int32; where nobody is left out there are none."""
    X = repeat(1.0, 2**31)
    refused(ValueError, r"^fits of 2\^31 samples or more cannot leave samples out; X has 2,147,483,648$", X, X, **options)
    refused(ValueError, "cannot leave samples out", X[:, None], X, **options)
    last = {name: value[1:] if name == "sample_weight" else value for name, value in options.items()}
    for n, allowed in ((2**31, {}), (2**31 - 1, last)):
        with pytest.raises(AssertionError, match="work began"):
            fastgd.fit(X[:n], X[:n], memory_limit="1 TB", **allowed)
