"""When a name is sure: what is wrong must be far beyond the bound, and other bounds narrower."""

from __future__ import annotations

import numpy as np

import fastgd


def diagnosis_of_a_shift(shift):
    """Of a descent that centres y + shift inside: only one of two parameters can show it."""
    x = np.arange(1.0, 9.0)
    X = np.stack([x, np.array([1.0, -1.0, -1.0, 1.0, -1.0, 1.0, 1.0, -1.0])], axis=1)  # whose second sum is 0
    y = X @ [0.5, 1.5] + np.array([0.25, -0.5, 0.125, 0.5, -0.25, 0.0, -0.25, 0.125])
    y -= y.mean()
    w, rows = np.zeros(2), [np.zeros(2)]
    for _ in range(12):
        w = w - 0.005 * 2 / 8 * X.T @ (X @ w - y)
        rows.append(w)
    return fastgd.diagnose(X, y + shift, np.array(rows), lr=0.005, w0=np.zeros(2))


def test_a_name_is_sure_only_where_what_is_wrong_is_far_beyond_the_bound():
    """y is centred inside, which shows less and less the nearer its mean is to 0."""
    found = [diagnosis_of_a_shift(2.0**-k) for k in range(4, 54)]
    codes = [one.code for one in found]
    named, unknown = codes.count("target_scaled"), codes.count("unknown")
    assert codes == ["target_scaled"] * named + ["unknown"] * unknown + ["ok"] * (50 - named - unknown)
    assert named > 25
    assert unknown >= 3
    for one in found:
        if one.code == "target_scaled":
            assert one.evidence["tau_asked"] > 50
        elif one.code == "unknown":
            assert "target_scaled" in one.also_possible or one.evidence["tau_asked"] < 16, str(one)


def test_rows_rounded_to_one_number_are_neither_one_array_nor_not_updated():
    """w moves less than the last decimal, and its start is rounded as all rows are: one cause."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=22) + 1e3
    y, w, rows, losses = 2 * x + rng.normal(size=22), 1.99941, [], []
    for _ in range(30):
        rows.append(round(w, 2))
        losses.append(np.mean((w * x - y) ** 2))
        w = w - 1e-9 * 2 / 22 * x @ (x * w - y)
    for loss in (None, losses):
        found = fastgd.diagnose(x, y, np.array(rows), loss, lr=1e-9, w0=[1.99941])
        assert found.code == "w_rounded", str(found)
        assert "initial_w" not in found.codes
        assert "parameter_not_updated" in found.also_possible
