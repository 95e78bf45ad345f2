"""`fastgd verify` in its three forms, and what it says about files that it cannot use."""

from __future__ import annotations

import json
import warnings
import zipfile

import numpy as np
import pytest
from typer.testing import CliRunner

import fastgd
from fastgd.cli import app

MINE = """
import numpy as np

def train(X, y, lr, epochs, w0):
    w, rows, losses = np.array(w0), [np.array(w0)], []
    for _ in range(epochs):
        residual = X @ w - y
        losses.append((residual ** 2).mean())
        w = w - lr * FACTOR * X.T @ residual
        rows.append(w)
    return np.array(rows), np.array(losses)
"""

ASKED = ("--data", "data.csv", "--y", "price", "--lr", "0.1", "--epochs", "20")


def run(*arguments):
    return CliRunner().invoke(
        app, ["verify", *map(str, arguments)], prog_name="fastgd", env={"COLUMNS": "300", "NO_COLOR": "1", "TERM": "dumb"}
    )


@pytest.fixture
def table(tmp_path):
    rng = np.random.default_rng(0)
    numbers = rng.standard_normal((30, 4))
    np.savetxt(tmp_path / "data.csv", numbers, delimiter=",", header="a,b,c,price", comments="", fmt="%.17g")
    return tmp_path / "data.csv", numbers


def written(folder, factor):
    (folder / "mine.py").write_text(MINE.replace("FACTOR", factor), encoding="utf-8")
    return f"{folder / 'mine.py'}:train"


def test_a_function_in_a_file(table, tmp_path):
    path, _ = table
    options = ("--data", path, "--y", "price", "--lr", 0.1, "--epochs", 20)
    done = run(written(tmp_path, "2 / len(y)"), *options)
    assert done.exit_code == 0, done.output
    assert "train: agrees at all 20 epochs judged" in done.output
    done = run(written(tmp_path, "2 / (len(y) - 1)"), *options, "--html", tmp_path / "r.html", "--json", tmp_path / "r.json")
    assert done.exit_code == 1
    assert "gradient_n_minus_1: the gradient is divided by n - 1 = 29 instead of n = 30" in done.output
    assert "gradient_n_minus_1" in (tmp_path / "r.html").read_text("utf-8")
    assert json.loads((tmp_path / "r.json").read_text("utf-8"))["verdicts"][0]["code"] == "gradient_n_minus_1"
    done = run(written(tmp_path, "2 / len(y)"), *options, "--x", "c,a")
    assert done.exit_code == 0
    assert run("numpy", *options, "--momentum", 0.9, "--intercept", "--dtype", "float32").exit_code == 0
    assert run("numpy", *options, "--ridge", 0.3, "--intercept").exit_code == 0
    penalised = written(tmp_path, "(2 / len(y) * X.T @ (X @ w - y) + 0.6 * w) #")
    assert run(penalised, *options, "--ridge", 0.3).exit_code == 0
    done = run(penalised, *options, "--ridge", 0.6)
    assert done.exit_code == 1
    assert "ridge_missing_two" in done.output
    done = run("numpy", *options[:-3], 1e6, "--epochs", 200)
    assert done.exit_code == 3
    assert "of 200 epochs judged, not judged from epoch" in done.output


def test_a_file_of_histories(table, tmp_path):
    path, numbers = table
    X, y = numbers[:, :3], numbers[:, 3]
    result = fastgd.fit(X, y, lr=0.1, epochs=12, history=True)
    np.savez(tmp_path / "histories.npz", w=result.history.w, loss=result.history.loss * 2, X=X, y=y, lr=0.1)
    done = run(tmp_path / "histories.npz")
    assert done.exit_code == 1
    assert "history: DISAGREES from epoch 0 on: loss" in done.output
    done = run(tmp_path / "histories.npz", "--data", path, "--y", "price", "--lr", 0.2)
    assert "lr_scaled" in done.output
    np.savez(tmp_path / "plain.npz", w=result.history.w)
    assert run(tmp_path / "plain.npz", "--data", path, "--y", "price", "--lr", 0.1).exit_code == 0
    np.savez(tmp_path / "data.npz", X=X, y=y)
    assert run(tmp_path / "plain.npz", "--data", tmp_path / "data.npz", "--lr", 0.1).exit_code == 0
    whole = (tmp_path / "plain.npz").read_bytes()
    np.savez(tmp_path / "losses.npz", w=result.history.w, losses=result.history.loss, X=X, y=y, lr=0.1)
    np.savez(tmp_path / "both.npz", w=result.history.w, w_history=result.history.w, X=X, y=y, lr=0.1)
    with (
        zipfile.ZipFile(tmp_path / "twice.npz", "w") as archive,
        zipfile.ZipFile(tmp_path / "plain.npz") as plain,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        for _ in range(2):
            archive.writestr("w.npy", plain.read("w.npy"))
    result.save(tmp_path / "result.npz")
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.npz").write_bytes(b"")
    with open(tmp_path / "one.npz", "wb") as file:
        np.save(file, X)
    for arguments, message in (
        *(((tmp_path / f"{name}.npz",), "cannot read") for name in ("cut", "empty", "one")),
        ((tmp_path / "plain.npz",), "has no arrays X and y"),
        ((tmp_path / "data.npz",), "has no array w"),
        ((tmp_path / "plain.npz", "--data", tmp_path / "data.npz"), "--lr is needed"),
        ((tmp_path / "nothing.npz",), "cannot read"),
        ((tmp_path / "losses.npz",), "has arrays that are not judged: losses; it may have w, loss"),
        ((tmp_path / "both.npz",), "has both w and w_history"),
        ((tmp_path / "twice.npz",), "it has two arrays of the name w"),
        ((tmp_path / "result.npz",), "is a FitResult: in Python, fastgd.verify(fastgd.load("),
    ):
        done = run(*arguments)
        assert done.exit_code == 2
        assert message in done.output


def test_all_backends_on_the_problems(tmp_path):
    done = run("--quick", "--backends", "numpy", "--html", tmp_path / "r.html")
    assert done.exit_code == 0, done.output
    assert done.output.count("agrees") == 2
    assert "numpy, noisy" in (page := (tmp_path / "r.html").read_text("utf-8")) or "numpy, tutorial" in page


def test_a_candidate_that_exits_is_no_agreement(table, tmp_path):
    (tmp_path / "mine.py").write_text("import sys\ndef step(w, X, y, lr): sys.exit(0)\n", encoding="utf-8")
    options = ("--data", table[0], "--y", "price", "--lr", 0.1, "--epochs", 20)
    done = run(f"{tmp_path / 'mine.py'}:step", *options)
    assert done.exit_code == 1
    assert "step: raised in epoch 1 (SystemExit: 0)" in done.output
    (tmp_path / "mine.py").write_text("import sys\nsys.exit(0)\n", encoding="utf-8")
    done = run(f"{tmp_path / 'mine.py'}:step", *options)
    assert done.exit_code == 2
    assert "cannot be loaded: SystemExit: 0 (line 2)" in done.output


def test_without_a_long_double_float32_is_judged_and_float64_left_out(monkeypatch, table):
    """As on macOS and Windows, and on aarch64 where long double is float64."""
    monkeypatch.setattr(np, "longdouble", np.float64)
    done = run("--quick", "--backends", "numpy")
    assert done.exit_code == 0, done.output
    assert "float32" in done.output
    assert "float64 is left out: judging float64 arithmetic needs a numpy.longdouble" in done.output
    one = run("numpy", "--data", table[0], "--y", "price", "--lr", "0.01", "--epochs", "3")
    assert one.exit_code == 2
    assert "numpy.longdouble" in one.output


def test_a_backend_that_disagrees_is_an_exit_status(monkeypatch):
    from fastgd.kernels.reference import numpy_manual

    right = numpy_manual.UPDATES["sgd"]
    monkeypatch.setitem(numpy_manual.UPDATES, "sgd", lambda w, slots, g, lr, *rest, **more: right(w, slots, g, lr * 2, *rest, **more))
    done = run("--quick", "--backends", "numpy")
    assert done.exit_code == 1
    assert "DISAGREE" in done.output
    assert "gradient_double_two" in done.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("mine.py:train",), "--data is needed"),
        (("mine.py:train", "--data", "data.csv"), "--y is needed: the column with the targets, one of a, b, c, price"),
        (("mine.py:train", "--data", "data.csv", "--y", "cost"), "has no column 'cost'; it has a, b, c, price"),
        (("mine.py:train", *ASKED[:4]), "--lr is needed"),
        (("mine.py:train", *ASKED[:6]), "--epochs is needed"),
        (("mine.py:other", *ASKED), "mine.py: there is no function 'other'; it has train"),
        (("mine.py", "--data", "data.csv", "--y", "price"), "which function? Give mine.py:NAME"),
        (("gone.py:f", *ASKED), "cannot read gone.py: there is no such file"),
        ((".:f", *ASKED), ". is no Python file"),
        (("good.txt:step", *ASKED), "good.txt is no Python file: FILE.py:FUNCTION names a function"),
        (("mine.py:train:", *ASKED), "which function? Give mine.py:train:NAME"),
        (("study.ipynb:train", *ASKED), "study.ipynb is a notebook, which is not executed here. In it, call fastgd.verify(train, X, y"),
        (("study.ipynb", *ASKED), "jupyter nbconvert --to script study.ipynb, and verify study.py:NAME; %run study.ipynb"),
        (("numpy", *ASKED, "--nan-policy", "drop"), "--nan-policy"),
        (("C:\\mine.py", *ASKED), "which function? Give C:\\mine.py:NAME"),
        (("C:\\mine.py:f", *ASKED), "cannot read C:\\mine.py: there is no such file"),
        *(
            ((name, *ASKED), f"the candidate '{name}' is neither FILE.py:FUNCTION nor FILE.npz nor a backend (cpu")
            for name in ("-", ":f", "w.csv")
        ),
        (("--backends", "numpy,"), "backend"),
        (("--data", "data.csv"), "--data: needs a candidate"),
        (("--lr", "0.1", "--backends", "numpy"), "--lr: needs a candidate"),
        (("--time-limit", "3"), "--time-limit: needs a candidate"),
        (("numpy", *ASKED, "--quick"), "--quick: is for the named problems, without a candidate"),
        (("numpy", *ASKED, "--optimizer", "adam", "--momentum", "0.9"), "--momentum: is for --optimizer sgd"),
        (("numpy", *ASKED, "--ridge", "-1"), "ridge must be at least 0; it is -1"),
        (("numpy", *ASKED, "--ridge", "1", "--weight-decay", "1"), "give ridge, which leaves the intercept alone, or weight_decay"),
        (("numpy", *ASKED, "--ridge", "1", "--optimizer", "adamw"), "the weight decay of AdamW is not"),
        (("--ridge", "1"), "--ridge: needs a candidate"),
        (("numpy", *ASKED, "--x", ""), "has no column ''"),
        (("numpy", *ASKED, "--x", "a,price"), "the column 'price' is asked for twice"),
        (("numpy", "--data", "w.npz", "--y", "price"), "--y and --x name columns of a .csv"),
        (("w.npz", "--y", "price"), "--y and --x name columns of a .csv"),
        (("numpy", *ASKED[:-1], "0"), "numpy: no epoch was judged, so there is no verdict"),
        (("mine.py:train", "--data", "gone.csv", "--y", "price"), "cannot read gone.csv"),
        (("mine.py:train", "--data", "words.csv", "--y", "b"), "line 3, column 'a': 'x' is not a number"),
        (("cuda", "--data", "data.csv", "--y", "price", "--lr", "0.1", "--epochs", "3"), "cuda"),
        (("--backends", "nonsense"), "nonsense"),
    ],
)
def test_wrong_words(arguments, message, table, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written(tmp_path, "2 / len(y)")
    np.savez(tmp_path / "w.npz", X=[[1.0]], y=[1.0], w=[[0.0]], lr=0.1)
    (tmp_path / "words.csv").write_text("a;b\n1;2\nx;3\n", encoding="utf-8")
    done = run(*arguments)
    assert done.exit_code == 2, done.output
    assert message in " ".join(done.output.replace("│", " ").split()), done.output


def test_a_damaged_archive_is_refused_in_a_short_sentence(tmp_path):
    """zipfile's own words quote what it found, however long."""
    np.savez(tmp_path / "w.npz", w=np.zeros((4, 2)))
    data = bytearray((tmp_path / "w.npz").read_bytes())
    data[26:28] = (200).to_bytes(2, "little")  # the length of the first name
    (tmp_path / "w.npz").write_bytes(data)
    done = run(tmp_path / "w.npz", "--lr", 0.1)
    assert done.exit_code == 2
    assert "cannot read" in done.output
    assert len(done.output) < 1500


def test_a_member_that_is_no_array_is_refused(tmp_path):
    """NumPy hands it over as bytes."""
    with zipfile.ZipFile(tmp_path / "w.npz", "w") as archive:
        archive.writestr("w.npy", b"")
    done = run(tmp_path / "w.npz", "--lr", 0.1)
    assert done.exit_code == 2
    assert "w.npy is no array" in done.output


def _zeros(path, count, shape=None):
    """Write an archive: w of so many bytes of zeros, compressed; shape: in its header."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("w.npy", "w") as member:
        np.lib.format.write_array_header_1_0(member, {"descr": "<f8", "fortran_order": False, "shape": shape or (count // 8,)})
        for _ in range(0, count, 2**20):
            member.write(bytes(2**20))


def test_what_an_archive_unpacks_to_is_limited(tmp_path):
    """A small file may unpack to 64 MiB; and an array takes no more than its member has."""
    np.savez(tmp_path / "data.npz", X=[[1.0, 2.0]], y=[1.0])
    for count, shape, message in (
        (65 * 2**20, None, "it would take 68,157,568 bytes of memory, and 67,108,864 are allowed for a file of"),
        (2**20, (2**40, 8), "w.npy says that it has shape (1099511627776, 8) and dtype float64, but 1,048,704 bytes are declared"),
        (63 * 2**20, None, "w_history must have shape (epochs + 1, 2)"),  # it was read
    ):
        _zeros(tmp_path / "w.npz", count, shape)
        assert (tmp_path / "w.npz").stat().st_size < 2**18
        done = run(tmp_path / "w.npz", "--data", tmp_path / "data.npz", "--lr", 0.1)
        assert done.exit_code == 2
        assert message in " ".join(done.output.replace("│", " ").split())


def test_samples_with_gaps_are_left_out_where_that_is_asked_for(tmp_path):
    written(tmp_path, "2 / len(y)")
    rng = np.random.default_rng(3)
    rows = [[f"{value:.6f}" for value in row] for row in rng.standard_normal((12, 3))]
    whole = ["a,b,price", *(",".join(row) for row in rows)]
    (tmp_path / "whole.csv").write_text("\n".join(whole) + "\n", encoding="utf-8")
    gaps = [*whole[:4], "1.0,,2.0", *whole[4:], "NaN,1.0,2.0", "1.0,2.0,NA"]
    (tmp_path / "gaps.csv").write_text("\n".join(gaps) + "\n", encoding="utf-8")
    data = np.array(rows, np.float64)
    holed = np.insert(data, 3, [1.0, np.nan, 2.0], axis=0)
    np.savez(tmp_path / "gaps.npz", X=holed[:, :2], y=holed[:, 2])
    asked = ("--lr", 0.05, "--epochs", 8)
    refused = run(tmp_path / "mine.py:train", "--data", tmp_path / "gaps.csv", "--y", "price", *asked)
    assert refused.exit_code == 2
    assert "--nan-policy omit" in " ".join(refused.output.replace("│", " ").split())
    for name, columns, count in (("gaps.csv", ("--y", "price"), 3), ("gaps.npz", (), 1)):
        done = run(
            tmp_path / "mine.py:train", "--data", tmp_path / name, *columns, *asked, "--nan-policy", "omit", "--json", tmp_path / name
        )
        assert done.exit_code == 0, done.output
        assert f"left out: {count} sample" in done.output
        told = json.loads((tmp_path / name).read_text("utf-8"))
        assert told["question"]["n_samples"] == 12
    (tmp_path / "none.csv").write_text("a,price\n,1\n2,\n", encoding="utf-8")
    none = run(tmp_path / "mine.py:train", "--data", tmp_path / "none.csv", "--y", "price", *asked, "--nan-policy", "omit")
    assert (none.exit_code, "no line without a missing number" in none.output) == (2, True), none.output
    (tmp_path / "words.csv").write_text("a,price\nx,1\n2,3\n", encoding="utf-8")
    words = run(tmp_path / "mine.py:train", "--data", tmp_path / "words.csv", "--y", "price", *asked, "--nan-policy", "omit")
    assert words.exit_code == 2  # a word is no gap
