"""benchmarks/stages.py leaves out what it says."""

from __future__ import annotations

import numpy as np
import pytest

import fastgd
from benchmarks import stages


@pytest.mark.parametrize(("d", "names"), [(1, ["descend_packs"]), (2, ["compress", "descend_packs"])])
def test_stages_are_the_calls_of_a_fit_with_one_left_out(d, names):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(3, 40, d)).astype(np.float32), rng.normal(size=(3, 40)).astype(np.float32)
    results = []
    calls = stages.listen(lambda: results.append(fastgd.fit(X, y, lr=0.1, epochs=5)))
    assert [name for name, _ in calls] == names
    from fastgd.kernels import cpu

    assert {name: list(stages.left_out(name, arguments)) for name, arguments in calls} == {
        name: ["samples in the cache"] if name == "compress" else ["no epochs", "samples in the cache"] for name in names
    }
    w_out = next(
        argument for argument in calls[-1][1] if isinstance(argument, np.ndarray) and argument.shape == (3, d) and argument.dtype == "f4"
    )
    assert np.array_equal(w_out, results[0].w)
    assert w_out.any()
    if d == 1:
        cpu.descend_packs(*stages.left_out("descend_packs", calls[0][1])["no epochs"])
        state = results[0].state.w.astype(np.float32)
        assert np.array_equal(w_out, state)  # it began where the fit had ended, and stayed there
        cpu.descend_packs(*stages.left_out("descend_packs", calls[0][1])["samples in the cache"])
        assert not np.array_equal(w_out[1:], state[1:])
