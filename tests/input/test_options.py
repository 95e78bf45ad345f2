"""Options of `fit`: every error names the option, what was given and what is needed, and comes
before any work."""

from __future__ import annotations

import math
from decimal import Decimal
from enum import Enum, IntEnum
from fractions import Fraction

import numpy as np
import pytest

import fastgd
from fastgd.input.options import read_choice, read_count, read_memory_limit, read_tol
from tests.support.fit_results import x, y
from tests.support.refusals import refused
from tests.support.values_that_raise import VALUES, OfFloat, OfText

NAMES = {
    "optimizer": r"there are: adadelta, .*, sgd$|^optimizer must be one of the names \(.*, sgd\) or an object such as fastgd\.SGD\(",
    "backend": "^backend .* is unknown; there are: auto, cpu, cuda, torch, torch-cuda, numpy$",
    "algorithm": "^algorithm .* is unknown; there are: auto, moments, stream$",
    "reduction": "^reduction must be 'mean' or 'sum', not ",
    "nan_policy": "^nan_policy must be 'raise', 'omit' or 'propagate', not ",
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", ["adamm", "", None, 3, ["cpu"], {}, np.array(["a", "b"])], ids=str)
def test_unknown_names(no_work, name, value):
    check_name(name, value)


@pytest.mark.parametrize("name", NAMES)
def test_names_are_no_classes_of_torch(no_work, name, torch):
    check_name(name, torch.optim.SGD)


def check_name(name, value):
    error = TypeError if name == "optimizer" and not isinstance(value, str) else ValueError
    refused(error, NAMES[name], x, y, **{name: value})


OPTIONS = {
    "epochs": [
        (-1, ValueError, "at least 0; it is -1"),
        (1.5, TypeError, "a whole number, not 1.5"),
        (2.0, TypeError, "a whole number, not 2.0"),
        (True, TypeError, "a whole number, not True"),
        ("3", TypeError, "a whole number, not '3'"),
        (np.nan, TypeError, "a whole number, not nan"),
        ([3], TypeError, r"a whole number, not \[3\]"),
        (np.array([3]), TypeError, r"a whole number, not array\(\[3\]\)"),
        (2**63, ValueError, r"at most 2\^63 - 1; it is 9223372036854775808"),
        (-(10**30), ValueError, "at least 0; it is -1"),
    ],
    "threads": [
        (0, ValueError, "at least 1; it is 0"),
        (-1, ValueError, "at least 1; it is -1"),
        (10**9, ValueError, "at most 1,024; it is 1000000000"),
        (1.5, TypeError, "a whole number, not 1.5"),
        (True, TypeError, "a whole number, not True"),
        ("2", TypeError, "a whole number, not '2'"),
    ],
    "history": [
        (-1, ValueError, "True, False or a whole number of epochs, at least 1; it is -1"),
        (0, ValueError, "at least 1; it is 0"),
        (1.5, TypeError, "True, False or a whole number of epochs, not 1.5"),
        ("all", TypeError, "not 'all'"),
        (None, TypeError, "not None"),
        (10**30, ValueError, r"at most 2\^63 - 1"),
    ],
    "tol": [
        (-1e-9, ValueError, "finite and at least 0; it is -1e-09"),
        (np.nan, ValueError, "finite and at least 0; it is nan"),
        (np.inf, ValueError, "finite and at least 0; it is inf"),
        (10**400, ValueError, "finite and at least 0; it is inf"),
        ("0.1", TypeError, "a number or None, not '0.1'"),
        (True, TypeError, "a number or None, not True"),
        ([0.1, 0.2], TypeError, r"a number or None, not \[0.1, 0.2\]"),
        (1j, TypeError, "a number or None, not 1j"),
    ],
    "intercept": [
        (1.5, TypeError, "True or False, not 1.5; a starting value is given as intercept0"),
        (1, TypeError, "True or False, not 1"),
        (None, TypeError, "True or False, not None"),
        ("yes", TypeError, "True or False, not 'yes'"),
    ],
}


@pytest.mark.parametrize(("name", "value", "error", "pattern"), [(name, *case) for name, cases in OPTIONS.items() for case in cases])
def test_options(no_work, name, value, error, pattern):
    refused(error, f"^{name} must be .*{pattern}", x, y, **{name: value})


@pytest.mark.parametrize("sign", [-1, 1])
def test_a_count_of_more_digits_than_python_prints(no_work, sign):
    for name in ("epochs", "history", "min_samples", "seed", "threads", "memory_limit"):
        refused(ValueError, rf"^{name} must be .*, at (least|most) .*; it is <int>$", x, y, **{name: sign * 10**5000})


@pytest.mark.parametrize("value", ["yes", 0, 1, 2.5])
def test_progress(value):
    refused(TypeError, r"^progress must be None, True, False or a function of \(done, total\), not ", x, y, progress=value)


@pytest.mark.parametrize("options", [{"shuffle": np.True_}, {"shuffle": False, "seed": 7}, {"seed": np.int64(2**62)}, {"seed": 2**63 - 1}])
def test_what_is_random_changes_nothing_without_mini_batches(options):
    assert fastgd.fit(x, y, **options).w == fastgd.fit(x, y).w


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("shuffle", [1, None, "yes"]),
        ("drop_last", [0, None]),
        ("seed", [True, 0.0, None, "7", np.array([0, 1]), np.ma.array(3, mask=True)]),
    ],
)
def test_what_is_no_seed_is_refused(no_work, name, values):
    for value in values:
        refused(TypeError, f"^{name} must be (True or False|a whole number), not ", x, y, **{name: value})


def test_a_negative_seed_is_refused(no_work):
    refused(ValueError, "^seed must be a whole number, at least 0; it is -1$", x, y, seed=-1)


LIMITS = {
    "2 GiB": 2**31, "500 MB": 500_000_000, "1.5GiB": 3 * 2**29, " 3 kb ": 3000, "7": 7, "7 B": 7, ".5 KiB": 512, "1T": 10**12, "2k": 2000,
    4096: 4096, np.int64(5): 5,
}  # fmt: skip


@pytest.mark.parametrize(("given", "size"), LIMITS.items(), ids=str)
def test_sizes_are_read(given, size):
    if str(given).strip()[-1] in "Tk":
        with pytest.raises(ValueError, match="a number of bytes, or a text such as"):
            read_memory_limit(given)
    else:
        assert read_memory_limit(given) == size


@pytest.mark.parametrize(
    ("given", "error", "pattern"),
    [
        ("much", ValueError, "a number of bytes, or a text such as '2 GiB' or '500 MB'; it is 'much'"),
        ("2 GiB of it", ValueError, "it is '2 GiB of it'"),
        ("-1 GiB", ValueError, "it is '-1 GiB'"),
        ("", ValueError, "it is ''"),
        (0, ValueError, "a whole number of bytes, or a text such as '2 GiB', at least 1; it is 0"),
        ("0 MiB", ValueError, "at least 1; it is 0"),
        (1.5, TypeError, "a whole number of bytes, or a text such as '2 GiB', not 1.5"),
        (True, TypeError, "not True"),
        ([1], TypeError, r"not \[1\]"),
    ],
)
def test_limits_that_are_none(no_work, given, error, pattern):
    refused(error, f"^memory_limit must be .*{pattern}", x, y, memory_limit=given)


HUGE = {"10^400": 10**400, "-10^400": -(10**400), "10^5000": 10**5000, "1e999": Decimal("1e999"), "(10^400)/3": Fraction(10**400, 3)}
NO_COUNTS = (1.5, "3", b"3", None, math.nan, True, np.True_, np.float64(2), np.array([1]), Fraction(3), Decimal(3), [1], np.ma.masked)


@pytest.mark.parametrize("name", ["epochs", "threads", "seed", "history", "min_samples", "memory_limit"])
def test_counts_of_every_kind(name, no_work):
    fine = {
        "history": (bool, np.bool_),
        "memory_limit": (type(None), str),
        "threads": (type(None),),
        "min_samples": (type(None),),
        "epochs": (type(None),),
    }
    values = [*HUGE.values(), -1, *NO_COUNTS, *(make() for make in VALUES.values())]
    for value in (value for value in values if type(value) not in fine.get(name, ())):
        with pytest.raises((TypeError, ValueError), match=rf"^{name} "):
            fastgd.fit([1.0, 2], [2.0, 4], **{name: value})


def test_numbers_that_count():
    for value in (3, np.int8(3), np.uint64(3), np.array(3), IntEnum("Three", {"THREE": 3}).THREE):
        assert read_count(value, "epochs", 0) == 3
    for value in (2, 2.0, np.float32(2), np.array(2.0), Fraction(2), Decimal(2), OfFloat(2)):
        assert read_tol(value) == 2.0


NO_TOL = ("0.1", b"1", True, [0.1], np.array([0.1]), 1j, np.complex128(1), np.datetime64("2020"), np.timedelta64(3, "D"), np.ma.masked, {})


def test_no_tol():
    for value in (*NO_TOL, *(make() for kind, make in VALUES.items() if kind != "class")):
        with pytest.raises((TypeError, ValueError), match=r"^tol must be "):
            read_tol(value)
    for value in (*HUGE.values(), math.nan, -1, np.float16(-1), Fraction(-1, 3), Decimal("NaN"), Decimal("-inf")):
        with pytest.raises(ValueError, match=r"^tol must be finite and at least 0; it is "):
            read_tol(value)


@pytest.mark.parametrize("value", ["9" * 400 + " GiB", "9" * 5000, "1e400", "8388608 TiB", OfText("9" * 20 + " B")])
def test_a_memory_limit_beyond_all_memory(value):
    with pytest.raises(ValueError, match=r"^memory_limit must be (at most 2|a number of bytes)"):
        read_memory_limit(value)


def test_names_of_subclasses_of_str():
    reduction = Enum("Reduction", {"SUM": "sum"}, type=str).SUM
    for value in (reduction, np.str_("sum"), OfText("sum")):
        assert type(read_choice(value, "reduction", ("mean", "sum"))) is str
