"""Columns of a .csv file: what is read, and what is refused with its place and a way to mend it."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from fastgd.cli import csv_file
from fastgd.cli.csv_file import CommandError, read_columns
from fastgd.input import csv_header


def read(path, content, target="y", features=None):
    path = path / "data.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_columns(path, target, features)


@pytest.mark.parametrize(
    "content",
    [
        "a,b,y\n1,2,3\n-4e0,.5,6.\n",
        "a;b;y\r\n1;2;3\r\n\r\n-4;+0.5;6\r\n",
        "a\tb\ty\r1\t2\t3\r-4\t 0.5 \t600e-2",  # the line ends of old Macs, and none at the end
        '"a", b ,y\n1,"2",3\n-4,0.5,"6"\n',
        b"\xef\xbb\xbfa,b,y\n1,2,3\n-4,0.5,6\n",  # with a mark of the byte order
    ],
)
def test_what_is_read(content, tmp_path):
    X, y = read(tmp_path, content)
    assert X.tolist() == [[1, 2], [-4, 0.5]]
    assert y.tolist() == [3, 6]


def test_columns_that_are_not_asked_for_may_hold_text(tmp_path):
    X, y = read(tmp_path, 'name,y,"b,c",d\n"Smith, J",1,2,x\nÅsa,3,4,\n', features=["b,c"])
    assert (X.tolist(), y.tolist()) == ([[2], [4]], [1, 3])


def test_numbers_are_those_that_python_reads(tmp_path):
    rng = np.random.default_rng(5)
    numbers = rng.integers(0, 2**64, 3000, np.uint64).view(np.float64)
    numbers = numbers[np.isfinite(numbers)][:2000].reshape(-1, 2)
    X, y = read(tmp_path, "a,y\n" + "".join(f"{a!r},{b!r}\n" for a, b in numbers.tolist()))
    assert np.array_equal(X[:, 0], numbers[:, 0])
    assert np.array_equal(y, numbers[:, 1])


def test_every_short_text_is_a_number_for_both_checks_or_for_none():
    """float() takes those texts of the allowed characters, and only those, that the pattern has."""
    for length in range(6):
        for letters in itertools.product("1eE+-. \t", repeat=length):
            text = "".join(letters)
            try:
                float(text)
                known = True
            except ValueError:
                known = False
            assert known == (csv_header.NUMBER.fullmatch(text) is not None), text


NOT_NUMBERS = (
    *("", " ", "1_0", "1,5", "1,234.5", "1.234.5", "1 000", "0x1p3", "0x10", "1d5", "1e", "e5", "--1", "1-", "1e5.0", "1/2", "50%", "$5"),
    *("nan", "NaN", "NA", "N/A", "null", "None", "inf", "-Infinity", "true", "#1", "1#", "'1'", "=1", "1j", "1f", "1L"),
    *("\u0661\u0662", "\uff11", "\u00b2", "\u22121", "1\u00a0000", "1\u2009000", "\u00a01", "1\x0c", "1\x1c", "2020-01-01"),
)  # fmt: skip


@pytest.mark.parametrize("separator", [",", ";"])
def test_what_is_no_number(separator, tmp_path):
    for cell in NOT_NUMBERS:
        with pytest.raises(CommandError, match=r"data.csv, line 4, column 'b': .* is not a number"):
            read(tmp_path, f'a{separator}b{separator}y\n1{separator}2{separator}3\n\n1{separator}"{cell}"{separator}3\n')
    for cell in ("1e999", "-1e999", "9" * 400):
        with pytest.raises(CommandError, match=r"line 2, column 'y': .* is too large for float64"):
            read(tmp_path, f"a{separator}y\n1{separator}{cell}\n")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,y\n1,2,3\n", r"line 2 has 3 fields for 2 names; is the comma a decimal one\? Write points"),
        ("a,y\n1,5,2,5\n", "line 2 has 4 fields for 2 names; is the comma"),
        ("a,b,y\n1,2,3\n1,2\n", "line 3 has 2 fields for 3 names"),
        ("a,y\n1,2\n1\n", "line 3 has 1 field for 2 names"),
        ("a,y\n1,2,\n", "line 2 has 3 fields for 2 names"),
        ("a,y,\n1,2,\n", "line 1: column 3 of 3 has no name; name it, or take out the separator"),
        ("a,,y\n1,2,3\n", "line 1: column 2 of 3 has no name"),
        ("a,a,y\n1,2,3\n", "line 1: two columns have the name 'a'; rename one"),
        ("y,a,y\n1,2,3\n", "two columns have the name 'y'"),
        ("a, a,y\n1,2,3\n", "two columns have the name 'a'"),
        ("1,2\n3,4\n", "line 1 has numbers where the names of the columns are needed"),
        ("1.5,nan\n3,4\n", "line 1 has numbers where the names"),
        ("# a,y\n1,2\n", "line 1 begins with #"),
        ("a,y\n# from here on\n1,2\n", "line 2 has 1 field for 2 names"),
        ("a,y\n1,2 # wrong?\n", "line 2, column 'y': '2 # wrong[?]' is not a number"),
        ("a;b,y\n1,2\n", "line 1: the names are separated by both ',' and ';'"),
        ("a,b\ty\n1,2\n", r"line 1: the names are separated by both ',' and '\\t'"),
        ("a;y\n1,5;2\n", "line 2, column 'a': '1,5' is not a number: write a decimal point"),
        ("a,y\n1;2\n", "line 2 has 1 field for 2 names"),
        ('a,y\n1,"1,234"\n', "line 2, column 'y': '1,234' is not a number: write a decimal point, and no separator of thousands"),
        ('a,y\n1,"2\n3,4\n', "line 2: .*a quote is to be closed on its line"),
        ('a,"y\n1,2\n', "line 1: .*a quote is to be closed on its line"),
        ('a,y\n1,"2"3\n', "line 2: .*a quote is to be closed on its line, before a separator"),
        ('a,y\n1,"2\n3"\n', "line 2: .*a quote"),
        ('a, "y"\n1,2\n', "line 1: a quote stands within a field; a field begins and ends with one, or has none"),
        ('a,y,z\n1,2,3\n4,5,6"\n', "line 3: a quote stands within a field"),
        ('a,y,z\n1,2,"3"\n4,5,x"y"\n', "line 3: a quote stands within a field"),
        ('a,"y""z"\n1,2\n', """line 1: column 2 has the name 'y"z'; a name is printable and has no quote"""),
        ("a\x07,y\n1,2\n", r"line 1: column 1 has the name 'a\\x07'"),
        ("a,y\n1,\x002\n", "line 2 is not text in UTF-8"),
        (b"a,y\n1,2\n\xe9,4\n", "line 3 is not text in UTF-8: save it as UTF-8, or unpack it first if it is compressed"),
        ("a,y\n1,2\n".encode("utf-16"), "line 1 is not text in UTF-8"),
        ("a,y\n1,2\n".encode("utf-16-le"), "line 1 is not text in UTF-8"),
        ("a,y\n1,2\n".encode("utf-32"), "line 1 is not text in UTF-8"),
        (b"\x1f\x8b\x08\x00\x01\x02", "line 1 is not text in UTF-8"),
        (b"PK\x03\x04\x14\x00\x00\x00", "line 1 is not text in UTF-8"),
        ("a,y\n\u2028\n1,2\n", "line 2 has 1 field for 2 names"),
        ("", "data.csv needs a header and at least one row of numbers; it is empty"),
        ("\n\n", "it is empty"),
        ("a,y\n", "data.csv needs a header and at least one row of numbers"),
        ("y\n1\n", "has no column of features beside 'y'"),
        ("a b y\n1 2 3\n", "has no column 'y'; it has a b y"),
    ],
)  # fmt: skip
def test_what_is_refused(content, message, tmp_path):
    with pytest.raises(CommandError, match=message):
        read(tmp_path, content)


def test_columns_that_are_asked_for(tmp_path):
    for target, features, message in (
        (None, None, "--y is needed: the column with the targets, one of a, b, y"),
        ("c", None, "has no column 'c'; it has a, b, y"),
        ("y", ["a", ""], "has no column ''"),
        ("y", ["a", "a"], "the column 'a' is asked for twice"),
        ("y", ["a", "y"], "the column 'y' is asked for twice"),
    ):
        with pytest.raises(CommandError, match=message):
            read(tmp_path, "a,b,y\n1,2,3\n", target, features)


def test_a_line_without_an_end_is_refused_before_it_fills_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_file, "_LONGEST", 1000)
    with pytest.raises(CommandError, match="line 2 has more than 1,000 characters"):
        read(tmp_path, "a,y\n" + "1" * 5000)
    with pytest.raises(CommandError, match="line 1 has more than 1,000 characters"):
        read(tmp_path, "a" * 5000)


def test_what_is_no_file(tmp_path):
    """In a process of its own with a deadline: reading a pipe would wait for ever."""
    os.mkfifo(tmp_path / "pipe.csv")
    code = """
        import sys
        from pathlib import Path
        from fastgd.cli.csv_file import CommandError, read_columns
        for name in sys.argv[1:]:
            try:
                read_columns(Path(name), "y", None)
            except CommandError as error:
                print(error)
    """
    names = [tmp_path / "pipe.csv", "/dev/zero", "/dev/stdin", tmp_path, tmp_path / "gone.csv"]
    command = [sys.executable, "-P", "-c", textwrap.dedent(code), *names]
    done = subprocess.run(command, stdin=subprocess.PIPE, capture_output=True, text=True, timeout=120, check=True)
    pipe, zero, stdin, folder, gone = done.stdout.splitlines()
    for line in (pipe, zero, stdin):
        assert line.endswith("is a pipe or a device; write what comes from it to a file first")
    assert folder.endswith("is a folder; a file is needed")
    assert gone.endswith("gone.csv: there is no such file")
