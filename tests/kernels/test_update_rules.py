"""The table of update rules: defaults and ranges are torch's, and no part of a rule is missing.

1. tests/support/parts_of_a_rule.py says where the parts of a rule stand. What is forgotten is told
   by the file to open.
2. A rule may have the first part alone (hands={"reference"}), and torch.optim need not have it:
   tests/house/test_contributing.py runs all tests of such rules.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, Literal

import numpy as np
import pytest

import fastgd
from fastgd import optimizers
from fastgd.input import annotations
from fastgd.kernels import cpu
from fastgd.kernels.chunk import ALGORITHMS
from fastgd.kernels.cpu.descent.update import CODES
from fastgd.kernels.cuda import specialised
from fastgd.kernels.reference import torch_autograd
from fastgd.kernels.update_rules import UPDATE_RULES, Range, UpdateRule
from tests.kernels.cpu.test_bits import make_data
from tests.specification import arbiter, golden_values
from tests.support import parts_of_a_rule, rule_options
from tests.support.against_arbiter import same_bits
from tests.support.reference_chunks import chunk_of
from tests.support.rule_options import BY_HAND, Steps, optimizer, rules_of, ways_of, wrong_steps


@pytest.mark.parametrize("rule", UPDATE_RULES.values(), ids=list(UPDATE_RULES))
def test_every_row_has_a_function_in_every_hand(rule):
    """A part that was forgotten is told by the file to open and by what that file lacks."""
    lacking = parts_of_a_rule.missing(rule)
    assert not lacking, "\n".join(lacking)


@pytest.mark.parametrize("rule", UPDATE_RULES)
def test_every_hand_has_something_to_compare_with(rule, torch):
    """The class in torch.optim; for a rule that torch does not have, numbers worked out by hand."""
    has_class = hasattr(torch.optim, UPDATE_RULES[rule].class_name)
    told = "must not" if has_class else "must"
    assert has_class != bool(BY_HAND.get(rule)), f"tests/support/rule_options.py: {rule!r} {told} be in BY_HAND, as torch.optim says"
    assert [wrong for worked in BY_HAND.get(rule, ()) for wrong in wrong_steps(UPDATE_RULES[rule], worked)] == []


RMSPROP = UPDATE_RULES["rmsprop"]
FORGOTTEN = {  # {part: (how it is taken away, the file and the name that must be told)}
    "class": (lambda m: m.delitem(optimizers._CLASSES, "rmsprop"), "fastgd/optimizers.py: the class RMSprop"),
    "default": (lambda m: m.setitem(optimizers._CLASSES, "rmsprop", _RMSpropWithAnotherDefault), "fastgd/optimizers.py: fields of RMSprop"),
    "docstring": (lambda m: m.setattr(fastgd.RMSprop, "__doc__", fastgd.RMSprop.__doc__.replace("0.99", "0.9")),
                  "fastgd/optimizers.py: the docstring of RMSprop"),
    "export": (lambda m: m.setattr(fastgd, "__all__", ["fit"]), "fastgd/__init__.py: RMSprop"),
    "choice": (lambda m: m.setattr(annotations, "OptimizerName", Literal["sgd"]),
               "fastgd/input/annotations.py: 'rmsprop' in OptimizerName"),
    "CPU code": (lambda m: m.delitem(CODES, "rmsprop"), "kernels/cpu/descent/update.py: RMSPROP = 3"),
    "CUDA struct": (lambda m: _without(m, "struct Rmsprop {"), "kernels/cuda/rules.cuh: struct Rmsprop"),
    "register limit": (lambda m: m.delitem(specialised.MOST_PARAMETERS["rmsprop"], "double"), "kernels/cuda/specialised.py: 'rmsprop'"),
    "arbiter": (lambda m: m.delitem(arbiter.RULES, "rmsprop"), "tests/specification/arbiter.py: a function rmsprop_step"),
    "options": (lambda m: m.delitem(rule_options.OPTIONS, "rmsprop"), "tests/support/rule_options.py: an entry 'rmsprop' in OPTIONS"),
    "golden options": (lambda m: m.delitem(rule_options.GOLDEN, "rmsprop"), "tests/support/rule_options.py: an entry 'rmsprop' in GOLDEN"),
    "golden values": (lambda m: _without(m, '"rule": "rmsprop"'), "tests/specification/golden: golden values of 'rmsprop'"),
    "row of the docs": (lambda m: _without(m, '| `"rmsprop"` |'), 'docs/options.md: in the table "Update rules" the row'),
    "order of operations": (lambda m: _without(m, "**rmsprop**"), "docs/arithmetic.md: in section 8 a paragraph **rmsprop**"),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class _RMSpropWithAnotherDefault(fastgd.RMSprop):
    alpha: Any = 0.9


_RMSpropWithAnotherDefault.__name__, _RMSpropWithAnotherDefault.__doc__ = "RMSprop", fastgd.RMSprop.__doc__


def _without(monkeypatch, text):
    monkeypatch.setattr(parts_of_a_rule, "read", lambda path, read=parts_of_a_rule.read: read(path).replace(text, "(taken away)"))


@pytest.mark.parametrize("part", FORGOTTEN)
def test_a_forgotten_part_is_told_by_its_file(part, monkeypatch):
    take_away, told = FORGOTTEN[part]
    take_away(monkeypatch)
    (lacking,) = parts_of_a_rule.missing(RMSPROP)
    assert lacking.startswith(told)


def test_forgotten_parts_that_a_row_shows(monkeypatch):
    """No range: the row cannot be made. A code without a branch; slots and values that the struct
    does not have."""
    with pytest.raises(ValueError, match=r"^kernels/update_rules\.py: the row of RMSprop needs a range for alpha"):
        dataclasses.replace(RMSPROP, ranges={})
    with pytest.raises(ValueError, match=r"^kernels/update_rules\.py: the row of RMSprop needs a range for eps"):
        dataclasses.replace(RMSPROP, ranges={**RMSPROP.ranges, "eps": Range(at_least=1)})
    monkeypatch.setitem(CODES, "rmsprop", 99)
    assert "kernels/cpu/descent/update.py: a branch of `update` for code 99" in parts_of_a_rule.missing(
        dataclasses.replace(RMSPROP, code=99)
    )
    more = parts_of_a_rule.missing(dataclasses.replace(RMSPROP, slots=("v",), hyperparameters={"eps": 0.0}))
    assert "kernels/cuda/rules.cuh: in struct Rmsprop N_SLOTS = 1, N_PRODUCTS = 0;" in more
    assert "kernels/cuda/rules.cuh: struct Rmsprop reads more than the row's 1 values" in more


def _beyond(allowed):
    """Numbers just outside of a range."""
    return [
        *([np.nextafter(allowed.at_least, -np.inf)] if allowed.at_least is not None else []),
        *([np.nextafter(allowed.at_most, np.inf)] if allowed.at_most is not None else []),
        *([allowed.below] if allowed.below is not None else []),
    ]


def _closed_ends(allowed):
    return [float(end) for end in (allowed.at_least, allowed.at_most) if end is not None]


@pytest.mark.parametrize("rule", UPDATE_RULES)
def test_the_ranges_are_those_of_the_row(rule):
    """Just outside of each end `fit` refuses; a closed end is accepted."""
    for name, allowed in UPDATE_RULES[rule].ranges.items():
        users = {"beta1": r"betas\[0\]", "beta2": r"betas\[1\]"}.get(name, name)
        way = ways_of(rule)[0]
        for value in _beyond(allowed):
            with pytest.raises(ValueError, match=f"^{users} must be (at least|at most|below) "):
                fastgd.fit([1.0, 2, 3], [1.0, 2, 4], optimizer=optimizer(rule, {name: value}), **way)
        for value in _closed_ends(allowed):
            fastgd.fit([1.0, 2, 3], [1.0, 2, 4], optimizer=optimizer(rule, {name: value}), epochs=0, **way)


@pytest.mark.parametrize("rule", rules_of("torch"))
def test_the_ranges_are_torchs(rule, torch):
    """Just outside of each end torch.optim refuses; it accepts a closed end."""
    row = UPDATE_RULES[rule]
    kind = torch_autograd.optimizer_class(row)

    def made_by_torch(name, value):
        values = {**row.hyperparameters, name: value}
        if "beta1" in values:
            values["betas"] = (values.pop("beta1"), values.pop("beta2"))
        return kind([torch.nn.Parameter(torch.zeros(1))], lr=0.1, **values)

    for name, allowed in row.ranges.items():
        for value in _beyond(allowed):
            with pytest.raises(ValueError, match="Invalid"):
                made_by_torch(name, value)
        for value in _closed_ends(allowed):
            made_by_torch(name, value)


# A rule that only the references have -------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Planted:
    """SGD with a rate that is divided by 1 + shrink."""

    rule: ClassVar[UpdateRule] = UpdateRule(
        class_name="Planted", code=1000, slots=(), hyperparameters={"shrink": 1.0}, ranges={"shrink": Range(at_least=0, at_most=1)},
        formula="w ← w − lr g / (1 + shrink)", source="this test", roundings=4, default_lr=0.01, hands=frozenset({"reference"}),
        step=lambda w, slots, gradient, lr, steps, *, shrink: (w - lr / (1 + shrink) * gradient, ()),
    )  # fmt: skip
    lr: Any = None
    shrink: Any = 1.0


@pytest.fixture
def planted(monkeypatch):
    monkeypatch.setitem(UPDATE_RULES, "planted", Planted.rule)
    monkeypatch.setitem(optimizers._CLASSES, "planted", Planted)
    return Planted.rule


@pytest.fixture
def planted_in_torch(planted, monkeypatch, torch):
    class PlantedOfTorch(torch.optim.SGD):
        def __init__(self, params, lr, shrink, foreach):
            super().__init__(params, lr=lr, foreach=foreach)
            self.shrink = shrink

        def step(self):
            for group in self.param_groups:
                group["lr"] /= 1 + self.shrink
            super().step()

    monkeypatch.setattr(torch.optim, "Planted", PlantedOfTorch, raising=False)


def test_a_rule_of_the_references_runs_on_torch_and_numpy(planted_in_torch):
    """It is SGD with half the rate."""
    X, y = make_data(40, 2, "float64", "normal")
    for backend in ("numpy", "torch"):
        result = fastgd.fit(X, y, lr=0.25, optimizer="planted", epochs=9, intercept=True, history=True, backend=backend)
        half = fastgd.fit(X, y, lr=0.125, epochs=9, intercept=True, history=True, backend=backend)
        assert same_bits(result.history.w, half.history.w)
        assert result.state.optimizer == "planted"
    with pytest.raises(ValueError, match=r"^shrink must be at most 1; it is 1\.5$"):
        fastgd.fit(X, y, optimizer=Planted(shrink=1.5), backend="numpy")
    assert fastgd.verify(["numpy", "torch"], X, y, lr=0.25, optimizer="planted", epochs=9).ok


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("cpu", "backend 'cpu' does"),
        ("auto", "backend 'auto' takes 'cpu', which does"),
        ("cuda-host", "backend 'cuda-host' does"),
    ],
)
def test_a_rule_of_the_references_is_refused_before_any_work(asked, told, planted, no_work):
    import tests.cuda_on_host  # noqa: F401  registers cuda-host

    with pytest.raises(ValueError, match=f"^{told} not have the update rule 'planted'; these backends have it: torch, torch-cuda, numpy$"):
        fastgd.fit([1.0, 2, 3], [1.0, 2, 4], optimizer="planted", backend=asked)


def test_golden_values_and_instantiations_leave_it_out(planted):
    assert not any("Planted" in name for names in specialised.instantiations().values() for name in names)
    assert not any(case["rule"] == "planted" for case in golden_values.cases().values())
    lacking = "\n".join(parts_of_a_rule.missing(planted))
    assert "fastgd/__init__.py: Planted" in lacking
    assert "kernels/" not in lacking
    assert "golden" not in lacking


def test_a_rule_that_torch_does_not_have(planted, torch):
    """The torch backend says so, `verify` too; NumPy runs it."""
    X, y = make_data(40, 2, "float64", "normal")
    told = r"^torch\.optim has no class Planted, so backend='torch' cannot run this update rule; backend='numpy' can$"
    for call in (
        lambda: fastgd.fit(X, y, optimizer="planted", backend="torch"),
        lambda: fastgd.verify("torch", X, y, lr=0.25, optimizer="planted", epochs=3),
        lambda: torch_autograd.optimizer_class(planted),
    ):
        with pytest.raises(ValueError, match=told):
            call()
    assert fastgd.verify("numpy", X, y, lr=0.25, optimizer="planted", epochs=9).ok


def test_numbers_worked_out_by_hand_tell_a_wrong_step(planted):
    """w goes from 1 by 0.5 · 2 / (1 + 0.25) = 0.8, then by half of it."""
    right = Steps(hyper={"shrink": 0.25}, lr=0.5, gradients=(2.0, 1.0), w=("1", "0.2", "-0.2"))
    assert wrong_steps(planted, right) == []
    wrong = wrong_steps(planted, right._replace(w=("1", "0.2", "-0.3")))
    assert wrong == ["planted, {'shrink': 0.25}, step 2: w is -0.2, by hand -0.3"]


@pytest.mark.parametrize("algorithm", ["moments", "stream"])
def test_a_code_that_no_rule_has_does_not_stand_still(algorithm):
    chunk = chunk_of(np.ones((1, 4, 1)), np.ones((1, 4)), epochs=3)
    chunk.rule = dataclasses.replace(UPDATE_RULES["sgd"], code=99)
    chunk.algorithm[:] = ALGORITHMS.index(algorithm)
    moments, indices, cancel = cpu.Moments.empty(1, 1, 1, np.dtype(float)), np.zeros(1, np.int64), np.zeros(1, np.int32)
    cpu.compress_fits(chunk, False, moments, cancel)
    cpu.descend(chunk, moments, indices, indices, cancel, np.zeros(1, np.int64))
    assert np.isnan(chunk.w).all()


@pytest.mark.parametrize("rule", [name for name in rules_of("torch") if name != "sgd"])
def test_defaults_are_torchs(rule, torch):
    kind = torch_autograd.optimizer_class(UPDATE_RULES[rule])
    group = kind([torch.nn.Parameter(torch.zeros(1))]).param_groups[0]
    ours = optimizer(rule, {})
    for field in dataclasses.fields(ours):
        expected = UPDATE_RULES[rule].default_lr if field.name == "lr" else getattr(ours, field.name)
        assert group[field.name] == expected, field.name
    for way in ways_of(rule):
        assert fastgd.fit([1.0, 2, 3], [1.0, 2, 4], optimizer=rule, epochs=0, **way).lr == group["lr"]
    assert type(ours).__name__ == kind.__name__
