"""Which kernels there are: every instantiation of every template, and which of them a fit takes.

1. float32 sums are one float64 per entry, float64 sums are two, so float64 runs out of registers
   with half as many columns. The limits below are the largest at which NVRTC (13.0, compute
   capability 9.0) spills no register; the tests compile every line of `instantiations`. Above them
   a generic kernel takes any number.
2. What is instantiated is a rule's struct in rules.cuh: its name in the table, capitalised.
"""

from __future__ import annotations

import numpy as np

from ..update_rules import UPDATE_RULES, UpdateRule

TYPES = {np.dtype(np.float32): "float", np.dtype(np.float64): "double"}
MOST_COLUMNS = {"float": 9, "double": 6}  # of `compress`: parameters and y
MOST_PARAMETERS = {  # of `descend`
    "sgd": {"float": 8, "double": 4},
    "adam": {"float": 4, "double": 4},
    "adamw": {"float": 4, "double": 4},
    "rmsprop": {"float": 4, "double": 4},
    "adagrad": {"float": 7, "double": 4},
    "nadam": {"float": 4, "double": 4},
    "adadelta": {"float": 6, "double": 4},
    "adamax": {"float": 6, "double": 4},
}


def struct_of(rule: UpdateRule) -> str:
    """The rule's struct in rules.cuh."""
    return rule.name.capitalize()


def most_parameters(real: str, rule: UpdateRule) -> int:
    """Up to how many parameters `descend` keeps moments and state in registers."""
    return MOST_PARAMETERS[rule.name][real]


def compress_name(real: str, n_features: int, intercept: bool) -> str | None:
    """The specialised `compress`; None where only the generic one is."""
    if n_features + intercept + 1 > MOST_COLUMNS[real]:
        return None
    return f"compress<{real}, {n_features}, {str(bool(intercept)).lower()}>"


def descend_name(real: str, rule: UpdateRule, n_parameters: int) -> tuple[str, str]:
    """(file, name) of the kernel that descends on the moments."""
    if n_parameters <= most_parameters(real, rule):
        return "descend.cu", f"descend<{real}, {n_parameters}, {struct_of(rule)}>"
    return descend_any_name(real, rule)


def descend_any_name(real: str, rule: UpdateRule) -> tuple[str, str]:
    """(file, name) of the kernel that descends on any number of moments."""
    return "descend_any.cu", f"descend_any<{real}, {struct_of(rule)}>"


def minibatch_name(real: str, rule: UpdateRule) -> str:
    """The kernel that descends on mini-batches."""
    return f"minibatch<{real}, {struct_of(rule)}>"


def instantiations() -> dict[str, list[str]]:
    """Everything that can be compiled: {file: [name expressions]}."""
    reals, rules = list(TYPES.values()), [rule for rule in UPDATE_RULES.values() if "cuda" in rule.hands]
    generic = [f"{name}<{real}>" for name in ("weigh", "compress_any", "join") for real in reals]
    generic.append("find_exponents<double>")
    specialised = [compress_name(real, d, i) for real in reals for d in range(1, MOST_COLUMNS[real]) for i in (False, True)]
    return {
        "compress.cu": generic + [name for name in specialised if name],
        "curvature.cu": [f"largest_eigenvalues<{real}>" for real in reals],
        "standardize.cu": [f"standardize<{real}>" for real in reals],
        "units.cu": [f"{name}<{real}>" for name in ("enter_standard", "leave_standard") for real in reals],
        "least.cu": [f"{name}<{real}>" for name in ("least_values", "initial_excesses") for real in reals],
        "rates.cu": [f"safe_rates<{real}>" for real in reals],
        "descend.cu": [
            f"descend<{real}, {D}, {struct_of(rule)}>"
            for real in reals for rule in rules for D in range(1, most_parameters(real, rule) + 1)
        ],
        "missing.cu": [f"{name}<{real}>" for name in ("find_kept", "find_invalid") for real in reals],
        "descend_any.cu": [f"descend_any<{real}, {struct_of(rule)}>" for real in reals for rule in rules],
        "minibatch.cu": [minibatch_name(real, rule) for real in reals for rule in rules],
        "stream.cu": [f"stream<{real}, {struct_of(rule)}>" for real in reals for rule in rules],
    }  # fmt: skip
