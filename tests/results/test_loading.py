"""What load refuses: damaged, cut short, foreign, newer and crafted files, and those that unpack to
too much."""

from __future__ import annotations

import io
import json
import os
import pickle
import re
import threading
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastgd
from tests.support.saved_files import members, npy, same, seal, sign
from tests.support.saved_results import CASES
from tests.support.values_that_raise import VALUES


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "result.npz"


@pytest.fixture
def saved(path: Path) -> Path:
    CASES["grid"].save(path)
    return path


def test_every_flipped_bit_is_noticed(path: Path) -> None:
    CASES["one number"].save(path)
    good = path.read_bytes()
    rng = np.random.default_rng(0)
    everywhere = {*range(300), *range(len(good) - 300, len(good)), *rng.integers(0, len(good), 400).tolist()}
    for at in sorted(everywhere):
        bad = bytearray(good)
        bad[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(bad)
        with pytest.raises(ValueError, match=r"result\.npz is damaged: "):
            fastgd.load(path)
    path.write_bytes(good)
    assert same(fastgd.load(path), CASES["one number"])


@pytest.mark.parametrize("keep", [50, 1000, -1, -64, -65, -100, -1000])
def test_a_truncated_file_says_so(saved: Path, keep: int) -> None:
    data = saved.read_bytes()[:keep]
    saved.write_bytes(data)
    with pytest.raises(ValueError, match=rf"damaged: its end is missing or changed \({len(data):,} bytes are there\)"):
        fastgd.load(saved)


def test_appended_bytes_are_noticed(saved: Path) -> None:
    saved.write_bytes(saved.read_bytes() + b"\0")
    with pytest.raises(ValueError, match="damaged: its end is missing or changed"):
        fastgd.load(saved)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "it is empty"),
        (b"hello", "it holds something else"),
        (pickle.dumps([1, 2]), "it holds something else"),
        ("npz", "an .npz, but not of fastgd"),
    ],
)
def test_other_files_are_named(path: Path, data: bytes | str, said: str) -> None:
    if data == "npz":
        np.savez(path, w=np.ones(3))
    else:
        path.write_bytes(data)
    with pytest.raises(ValueError, match=rf"result\.npz is not a result that was saved by fastgd: {said}"):
        fastgd.load(path)
    with pytest.raises(FileNotFoundError):
        fastgd.load(path.parent / "nothing.npz")
    with pytest.raises(IsADirectoryError):
        fastgd.load(path.parent)


def test_a_newer_format_is_named(saved: Path) -> None:
    saved.write_bytes(seal(members(saved), version=7))
    with pytest.raises(ValueError, match="has format 7, of a newer version of fastgd; this one reads formats up to 1"):
        fastgd.load(saved)


def bomb(path: Path, n_bytes: int) -> None:
    """A small file that unpacks to n_bytes of zeros."""
    CASES["one fit"].save(path)
    inside = members(path)
    shape = (n_bytes // 8,)
    inside["state.w.npy"] = npy(f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}", bytes(n_bytes))
    path.write_bytes(seal(inside, compression=zipfile.ZIP_DEFLATED))


def test_what_unpacks_to_much_more_is_refused_before_it_is_read(path: Path) -> None:
    n_bytes = 190 * 2**20
    bomb(path, n_bytes)
    assert path.stat().st_size < 200 * 2**10
    tracemalloc.start()
    try:
        with pytest.raises(
            ValueError, match=r"would take 199,\d{3},\d{3} bytes of memory, and 67,108,864 are allowed for a file of 19\d,\d{3}"
        ):
            fastgd.load(path)
        assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
    finally:
        tracemalloc.stop()
    with pytest.raises(ValueError, match=r"state\.w has shape"):  # asked for: it is read, and then it does not fit the rest
        fastgd.load(path, max_bytes=200 * 2**20)


def test_max_bytes_is_a_limit_in_both_directions(saved: Path) -> None:
    declared = sum(map(len, members(saved).values()))
    assert declared < saved.stat().st_size, "a stored file never declares more than it is long"
    with pytest.raises(
        ValueError, match=rf"would take {declared:,} bytes of memory, and max_bytes={declared - 1:,}.*give max_bytes={declared}"
    ):
        fastgd.load(saved, max_bytes=declared - 1)
    assert same(fastgd.load(saved, max_bytes=declared), CASES["grid"])
    for wrong in (-1, 1.5, True, "1 GiB"):
        with pytest.raises((TypeError, ValueError), match="max_bytes must be a whole number of bytes or None"):
            fastgd.load(saved, max_bytes=wrong)


F8 = "{'descr': '<f8', 'fortran_order': False, 'shape': %s, }"
OBJECTS = npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", pickle.dumps([print]))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (OBJECTS, r"w\.npy holds Python objects, which could run code"),
        (npy("{'descr': '<U2', 'fortran_order': False, 'shape': (1,), }", bytes(8)), r"w\.npy holds dtype <U2; only numbers"),
        (npy("{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (1,), }", bytes(8)), "only numbers and booleans are read"),
        (npy(F8 % "(1000000000000,)", bytes(64)), r"w\.npy says that it has shape \(1000000000000,\)"),
        (npy(F8 % "(4294967296, 4294967296)", bytes(64)), r"w\.npy says that it has shape"),
        (npy(F8 % "(-1, -8)", bytes(64)), r"w\.npy says that it has shape \(-1, -8\)"),
        (npy(F8 % "(100,)", bytes(64)), r"w\.npy says that it has shape \(100,\) and dtype float64, but"),
        (npy(F8 % "(2, 6, 3)", bytes(289)), r"w\.npy says that it has shape"),
        (npy(F8 % "(0, 10**30)"), "not a result as fastgd writes them"),
        (npy(F8 % f"(0, {10**30})"), "not a result as fastgd writes them"),
        (npy(F8 % "(3,)", bytes(24)), r"w has shape \(3,\), but the fits have shape \(2, 6\)"),
        (npy("__import__('os')"), "not a result as fastgd writes them"),
        (b"\x93NUMPY\x09\x00", r"w\.npy has version \(9, 0\)"),
        (b"hello", "not a result as fastgd writes them"),
        (b"", "not a result as fastgd writes them"),
    ],
    ids=range(15),
)
def test_crafted_arrays_are_refused(saved: Path, data: bytes, said: str) -> None:
    saved.write_bytes(seal(members(saved) | {"w.npy": data}))
    with pytest.raises(ValueError, match=said) as caught:
        fastgd.load(saved)
    assert "result.npz is not damaged, but" in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"[" * 100_000,
        b'{"format": 1}',
        b'{"format": 2, "content": null}',
        b'{"format": 1, "content": null}',
        b'{"format": 1, "content": {"class": "Popen", "fields": {}}}',
        b'{"format": 1, "content": {"class": "Status", "fields": {}}}',
        b'{"format": 1, "content": {"enum": "State", "member": "w"}}',
        b'{"format": 1, "content": {"enum": "Status", "member": "COMPLETED"}}',
        b'{"format": 1, "content": {"array": "w"}}',
        b'{"format": 1, "content": {"array": "nothing"}}',
        b'{"format": 1, "content": [1, 2]}',
        b'{"format": 1, "content": 1.5}',
        b'{"format": 1, "content": {}}',
        b" " * (2**20 + 1),
    ],
    ids=range(16),
)
def test_crafted_descriptions_are_refused(saved: Path, content: bytes) -> None:
    saved.write_bytes(seal(members(saved) | {"fastgd.json": content}))
    with pytest.raises(ValueError, match="is not damaged, but it is not a result as fastgd writes them"):
        fastgd.load(saved)


def test_crafted_fields_are_refused(saved: Path) -> None:
    good = members(saved)
    for where, value in (
        ("state", 3),
        ("history", {"array": "w"}),
        ("loss", {"array": "w"}),
        ("state", {"enum": "Status", "member": "DIVERGED"}),
    ):
        content = json.loads(good["fastgd.json"])
        content["content"]["fields"][where] = value
        saved.write_bytes(seal(good | {"fastgd.json": json.dumps(content).encode()}))
        with pytest.raises(ValueError, match="not a result as fastgd writes them"):
            fastgd.load(saved)
    content = json.loads(good["fastgd.json"])
    content["content"]["fields"]["state"]["fields"]["tol"] = "small"
    saved.write_bytes(seal(good | {"fastgd.json": json.dumps(content).encode()}))
    with pytest.raises(ValueError, match=r"not a result as fastgd writes them: state\.tol is a str"):
        fastgd.load(saved)


def test_a_broken_zip_with_a_right_checksum_is_refused(saved: Path) -> None:
    good = saved.read_bytes()
    rng = np.random.default_rng(3)
    refused = 0
    for _ in range(300):
        bad = bytearray(good)
        for at in rng.integers(len(good) - 2000, len(good) - 110, 3):
            bad[at] ^= 1 << int(rng.integers(8))
        saved.write_bytes(sign(bytes(bad)))
        try:
            fastgd.load(saved)  # a changed date changes nothing that is read
        except ValueError:
            refused += 1
    assert refused > 150


def test_a_zip_that_points_before_its_beginning_is_refused(saved: Path) -> None:
    data = bytearray(saved.read_bytes())
    at = data.rindex(b"PK\x05\x06") + 16  # where the zip's directory is said to begin
    data[at : at + 4] = (int.from_bytes(data[at : at + 4], "little") + 10).to_bytes(4, "little")
    saved.write_bytes(sign(bytes(data)))
    with pytest.raises(ValueError, match="not a result as fastgd writes them"):
        fastgd.load(saved)


def test_errors_of_the_disk_stay_what_they_are(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(zipfile.ZipFile, "open", broken)
    with pytest.raises(OSError, match="Input/output error"):
        fastgd.load(saved)


def test_only_ordinary_files_are_read(saved: Path, tmp_path: Path) -> None:
    """A pipe that nobody writes into is refused too, without waiting."""
    pipe = tmp_path / "pipe.npz"
    os.mkfifo(pipe)
    watchdog = threading.Timer(10, lambda: os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)))  # ends a wait
    watchdog.start()
    for path in (pipe, "/dev/full", "/dev/null", "/dev/zero"):
        with pytest.raises(ValueError, match=r"(pipe\.npz|/dev/\w+) is not an ordinary file"):
            fastgd.load(path)
    assert watchdog.is_alive(), "the pipe was waited for"
    watchdog.cancel()
    with pytest.raises(OSError, match=re.escape(str(tmp_path))):
        fastgd.load(tmp_path)


@pytest.mark.parametrize("given", [None, 3, 2.5, [], {}, b"\0", "a\0b", "\ud800", *VALUES], ids=ascii)
def test_what_is_no_name_of_a_file(given: Any) -> None:
    value = VALUES[given]() if isinstance(given, str) and given in VALUES else given
    for act in (fastgd.load, CASES["one number"].save):
        if given != "repr of a text":  # which is a name like any other
            with pytest.raises((TypeError, ValueError), match=r"^path (must be the name of a file|has )"):
                act(value)
    with pytest.raises(FileNotFoundError, match="neither a name nor a number"):
        fastgd.load(VALUES["repr of a text"]())


NODES = (None, True, 3, "x", {}, {"table": None}, {"table": {}}, {"array": None}, {"array": []}, {"scalar": "w"}, {"class": "State"},
         {"class": "State", "fields": None}, {"class": "State", "fields": {}}, {"class": {}}, {"enum": "Status"},
         {"enum": "Status", "member": {}}, {"enum": "State", "member": "w"}, {"enum": "Status", "member": "DIVERGED"},
         {"array": "history.epoch"}, {"x": 1, "array": "w"})  # fmt: skip


def test_crafted_values_of_every_field_are_refused(saved: Path) -> None:
    """Whatever stands in place of a field: the file is refused in words, or it is a result that
    prints."""
    good = members(saved)
    described = json.loads(good["fastgd.json"])

    def fields_of(node: Any, way: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
        inside = node.get("fields", {}) if isinstance(node, dict) else {}
        return [found for key, each in inside.items() for found in [(*way, key), *fields_of(each, (*way, key))]]

    refusals = 0
    for way in fields_of(described["content"]):
        for value in NODES:
            changed = json.loads(good["fastgd.json"])
            node = changed["content"]
            for key in way[:-1]:
                node = node["fields"][key]
            node["fields"][way[-1]] = value
            saved.write_bytes(seal(good | {"fastgd.json": json.dumps(changed).encode()}))
            try:
                result = fastgd.load(saved)
            except ValueError:
                refusals += 1
            else:
                assert result.summary()
    assert refusals > 400


@pytest.mark.parametrize("header", ["(" * 9000, "[" * 300, "{" * 300, "-" * 9000 + "1", "1" * 5000, "(,)", "{'descr': '<f8'}"], ids=len)
def test_crafted_headers_are_refused(saved: Path, header: str) -> None:
    for data in (npy(header), npy(F8 % header)):
        saved.write_bytes(seal(members(saved) | {"w.npy": data}))
        with pytest.raises(ValueError, match="is not damaged, but it is not a result as fastgd writes them"):
            fastgd.load(saved)


def test_codes_that_have_no_name_are_refused(saved: Path) -> None:
    for name, most in (("status", 5), ("state.algorithm", 4)):
        inside = members(saved)
        member = inside[f"{name}.npy"]
        inside[f"{name}.npy"] = member[:-1] + b"\x63"
        saved.write_bytes(seal(inside))
        with pytest.raises(ValueError, match=rf"{name} has a code that is not one of 0 to {most}"):
            fastgd.load(saved)
        saved.write_bytes(seal(inside | {f"{name}.npy": member}))


@pytest.mark.parametrize("gone", ["rank", "condition", "ill_conditioned", "center", "scale"])
def test_fields_that_stand_together_are_all_there_or_none(path: Path, gone: str) -> None:
    """A summary prints them side by side."""
    X = np.random.default_rng(0).normal(size=(2, 9, 2))
    fastgd.solve(X, X[..., 0], intercept=True, standardize=True).save(path)
    inside = members(path)
    content = json.loads(inside.pop("fastgd.json"))
    content["content"]["fields"][gone] = None
    del inside[f"{gone}.npy"]
    path.write_bytes(seal({"fastgd.json": json.dumps(content).encode()} | inside))
    with pytest.raises(ValueError, match=rf"as fastgd writes them: it has \w+ without {gone}"):
        fastgd.load(path)


def test_a_field_of_another_dtype_is_refused(saved: Path) -> None:
    """Whole numbers as losses, or losses as a status, would fail later, where they are printed."""
    good = members(saved)
    for name in good.keys() - {"fastgd.json"}:
        with io.BytesIO(good[name]) as file:
            array = np.load(file)
        other = io.BytesIO()
        np.save(other, array.astype(np.float64) if array.dtype.kind != "f" else array.astype(np.int64))
        saved.write_bytes(seal(good | {name: other.getvalue()}))
        with pytest.raises(ValueError, match=rf"{re.escape(name.removesuffix('.npy'))} has dtype"):
            fastgd.load(saved)


def test_curvatures_that_do_not_fit_the_fits_are_refused(path: Path) -> None:
    fastgd.fit([1.0, 2, 3, 4], [[2.0, 4, 6, 8], [1.0, 2, 2, 1]], lr=1e-3, intercept=True).save(path)
    good = members(path)
    for name, shape in (("index", (2,)), ("gram", (2, 3)), ("exponents", (2, 2)), ("scale", (2,)), ("hyper", (2, 5))):
        member = f"_curvatures.{name}.npy"
        with io.BytesIO(good[member]) as file:
            array = np.load(file)
        assert array.shape == shape
        others = [(wrong, "has shape") for wrong in (array[:1], np.repeat(array, 2, axis=-1), np.array(array.flat[0]))]
        for wrong, said in [*others, (array + 1, "a number that is not one of 0 to 1")] if name == "index" else others:
            other = io.BytesIO()
            np.save(other, wrong)
            path.write_bytes(seal(good | {member: other.getvalue()}))
            with pytest.raises(ValueError, match=rf"_curvatures\.\w+ has {said.removeprefix('has ')}"):
                fastgd.load(path)
