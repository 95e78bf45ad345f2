"""Where each part of an update rule stands: `missing` names the files to open for the parts that
are not there."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from types import ModuleType
from typing import get_args

import numpy as np

import fastgd
from fastgd import optimizers
from fastgd.input import annotations
from fastgd.kernels import cpu, cuda
from fastgd.kernels.chunk import MOMENTS, STREAM
from fastgd.kernels.cpu.descent import update
from fastgd.kernels.cpu.packs import update_lanes
from fastgd.kernels.cuda import specialised
from fastgd.kernels.update_rules import NOT_NEGATIVE, UpdateRule
from tests.specification import arbiter
from tests.support import rule_options
from tests.support.paths import ROOT
from tests.support.reference_chunks import chunk_of

ARITHMETIC, OPTIONS_PAGE, GOLDEN = "docs/arithmetic.md", "docs/options.md", "tests/specification/golden"


def read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def file_of(module: ModuleType) -> str:
    return Path(str(module.__file__)).resolve().relative_to(ROOT).as_posix()


def row_of_the_docs(rule: UpdateRule) -> str:
    """The rule's row in the table "Update rules" of docs/options.md."""
    values = []
    for name, value in rule.hyperparameters.items():
        if name == "beta1":
            betas = tuple(rule.hyperparameters[beta] for beta in ("beta1", "beta2"))
            values.append(f"betas {betas} in {rule.range_of(name)}")
        elif isinstance(value, bool):
            values.append(f"{name} True" if value else name)
        elif name != "beta2":
            allowed = rule.range_of(name)
            values.append(f"{name} {value:g}" if allowed == NOT_NEGATIVE else f"{name} {value:g} in {allowed}")
    lr = "a safe rate" if rule.default_lr is None else f"{rule.default_lr:g}"
    return f'| `"{rule.name}"` | `fastgd.{rule.class_name}` | {lr} | {"; ".join(values)} |'


def missing(rule: UpdateRule) -> list[str]:
    """'file: what it lacks' for each part of the rule that is missing; [] for a rule that is
    complete."""
    found = [*_missing_for_users(rule), *_missing_in_docs_and_tests(rule)]
    found += _missing_in_cpu(rule) if "cpu" in rule.hands else []
    found += _missing_in_cuda(rule) if "cuda" in rule.hands else []
    return found


def _missing_for_users(rule: UpdateRule) -> list[str]:
    found, here = [], file_of(optimizers)
    cls = next((cls for cls in optimizers.optimizer_classes() if cls.rule.name == rule.name), None)
    if cls is None or cls.__name__ != rule.class_name:
        found.append(f"{here}: the class {rule.class_name}, also listed in Optimizer")
    else:
        betas = tuple(rule.hyperparameters[name] for name in ("beta1", "beta2") if name in rule.hyperparameters)
        expected = {"lr": None} | ({"betas": betas} if betas else {})
        expected |= {name: value for name, value in rule.hyperparameters.items() if name not in ("beta1", "beta2")}
        fields = {field.name: field.default for field in dataclasses.fields(cls)}
        if list(fields.items()) != list(expected.items()):
            found.append(f"{here}: fields of {rule.class_name} with the row's defaults: {expected}; they are {fields}")
        described = dict(re.findall(r"^ {4}(\w+) : .*?(?:, default (.+))?$", cls.__doc__ or "", re.MULTILINE))
        shown = {name: "" if value is None else str(value) for name, value in expected.items()}
        if {name: _number(text) for name, text in described.items()} != {name: _number(text) for name, text in shown.items()}:
            found.append(f"{here}: the docstring of {rule.class_name} with the row's defaults: {shown}; it has {described}")
    if rule.name not in get_args(annotations.OptimizerName):
        found.append(f"{file_of(annotations)}: {rule.name!r} in OptimizerName, for type checkers")
    if rule.class_name not in fastgd.__all__ or not hasattr(fastgd, rule.class_name):
        found.append(f"{file_of(fastgd)}: {rule.class_name} among the imports and in __all__")
    return found


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _missing_in_docs_and_tests(rule: UpdateRule) -> list[str]:
    found, options = [], rule_options.OPTIONS.get(rule.name, {})
    if {name for hyper in options.values() for name in hyper} != set(rule.hyperparameters):
        found.append(f"{file_of(rule_options)}: an entry {rule.name!r} in OPTIONS that gives each of {list(rule.hyperparameters)}")
    if row_of_the_docs(rule) not in read(OPTIONS_PAGE).splitlines():
        found.append(f'{OPTIONS_PAGE}: in the table "Update rules" the row\n{row_of_the_docs(rule)}')
    if f"**{rule.name}**" not in read(ARITHMETIC):
        found.append(f"{ARITHMETIC}: in section 8 a paragraph **{rule.name}** with the order of its operations")
    if rule.hands & {"cpu", "cuda"}:
        if rule.name not in arbiter.RULES:
            found.append(f"{file_of(arbiter)}: a function {rule.name}_step, also listed in RULES")
        if rule.name not in rule_options.GOLDEN:
            found.append(f"{file_of(rule_options)}: an entry {rule.name!r} in GOLDEN")
        golden = "".join(read(path.relative_to(ROOT).as_posix()) for path in sorted((ROOT / GOLDEN).glob("*.json")))
        if f'"rule": "{rule.name}"' not in golden:
            found.append(f"{GOLDEN}: golden values of {rule.name!r}; write them: python -m tests.specification.golden_values")
    return found


def _missing_in_cpu(rule: UpdateRule) -> list[str]:
    if update.CODES.get(rule.name) != rule.code:
        return [f"{file_of(update)}: {rule.name.upper()} = {rule.code} and CODES[{rule.name!r}]"]
    chunk = chunk_of(np.ones((1, 4, 1)), np.ones((1, 4)), epochs=1)
    values = rule.all_values()
    chunk.rule, chunk.algorithm[:] = rule, STREAM
    chunk.hyper = np.array([[float(values[name]) for name in (*rule.hyperparameters, *rule.derived)]])
    chunk.slots, chunk.products = np.zeros((1, len(rule.slots), 1)), np.ones((1, len(rule.products)))
    moments, own, cancel = cpu.Moments.empty(1, 1, 1, np.dtype(float)), np.zeros(1, np.int64), np.zeros(1, np.int32)
    cpu.compress_fits(chunk, False, moments, cancel)
    cpu.descend(chunk, moments, own, own, cancel, np.zeros(1, np.int64))
    found = [f"{file_of(update)}: a branch of `update` for code {rule.code}"] if np.isnan(chunk.w).any() else []
    chunk.w[:], chunk.slots[:], chunk.products[:], chunk.steps[:], chunk.algorithm[:] = 0, 0, 1, 0, MOMENTS
    cpu.descend(chunk, moments, own, own, cancel, np.zeros(1, np.int64))  # a pack that cannot do a step hands the fit over
    return found + [f"{file_of(update_lanes)}: a branch of `update_lanes` for code {rule.code}"] * int(chunk.algorithm[0] != MOMENTS)


def _missing_in_cuda(rule: UpdateRule) -> list[str]:
    found, rules, struct = [], f"{Path(file_of(cuda)).parent.as_posix()}/rules.cuh", specialised.struct_of(rule)
    source = read(rules)
    head = re.search(rf"\nstruct {struct}(?: : (\w+)<S, \w+>)? {{", source)
    if head is None:
        found.append(f"{rules}: struct {struct}")
    else:
        begin = source.index(f"\nstruct {head[1] or struct} {{")
        body = source[begin : source.index("\n};", begin)]
        counts = f"N_SLOTS = {len(rule.slots)}, N_PRODUCTS = {len(rule.products)};"
        n_values = len(rule.hyperparameters) + len(rule.derived)
        if counts not in body:
            found.append(f"{rules}: in struct {struct} {counts}")
        if max(map(int, re.findall(r"hyper\[(\d+)\]", body)), default=0) >= n_values:
            found.append(f"{rules}: struct {struct} reads more than the row's {n_values} values")
    if set(specialised.MOST_PARAMETERS.get(rule.name, ())) != set(specialised.TYPES.values()):
        found.append(f"{file_of(specialised)}: {rule.name!r} in MOST_PARAMETERS, for float and double")
    return found
