"""Which instantiations of the CUDA kernels there are: every rule and every fit has its own."""

from __future__ import annotations

import pytest

from fastgd.kernels.cuda import instantiations, specialised
from fastgd.kernels.update_rules import UPDATE_RULES
from tests.cuda_on_host.building import SOURCES
from tests.support.rule_options import rules_with


def test_every_name_is_listed_once_and_the_set_is_bounded():
    names = [name for file in instantiations().values() for name in file]
    assert len(names) == len(set(names)) < 40 + 18 * len(rules_with("cuda"))  # each rule: descend 12 at most, the others 2 each
    assert {path.name for path in SOURCES.glob("*.cu")} == set(instantiations())


@pytest.mark.parametrize("rule", rules_with("cuda"))
def test_every_rule_of_the_table_has_its_kernels(rule):
    """That it has a struct is told in tests/fit/test_rules.py."""
    for file in ("descend.cu", "descend_any.cu", "stream.cu", "minibatch.cu"):
        assert any(f"{specialised.struct_of(UPDATE_RULES[rule])}>" in name for name in instantiations()[file])


@pytest.mark.parametrize("d", [1, 4, 5, 8, 9, 300])
@pytest.mark.parametrize("real", ["float", "double"])
@pytest.mark.parametrize("intercept", [False, True])
def test_every_kernel_that_a_fit_takes_is_listed(real, d, intercept):
    name = specialised.compress_name(real, d, intercept)
    assert name is None or name in instantiations()["compress.cu"]
    for rule in rules_with("cuda"):
        file, name = specialised.descend_name(real, UPDATE_RULES[rule], d + intercept)
        assert name in instantiations()[file]
