"""What fastgd prints can be printed anywhere: terminals, pipes and log files with narrow encodings,
also where a path, a function or a column of the user has a name that they cannot take."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

NARROW = {
    "ascii": {"PYTHONIOENCODING": "ascii:strict"},
    "cp1252": {"PYTHONIOENCODING": "cp1252:strict"},
    "LANG=C": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
}
MINE = """
def descend_größe(w, X, y, lr):
    return w - lr * (2 * X.T @ (X @ w - y))  # the sum: wrong


def raises_größe(w, X, y, lr):
    raise ValueError("τ → ∞")


raises = raises_größe
"""
PRINTED = """
import logging, sys
sys.path.insert(0, sys.argv[1])
import numpy as np
import fastgd
from mine import descend_größe, raises_größe

logging.basicConfig(stream=sys.stdout, level=logging.INFO)
X, y = np.arange(24.0).reshape(2, 6, 2) % 7, np.arange(12.0).reshape(2, 6)
result = fastgd.fit(X, y, lr=np.array([[0.01], [0.02], [9e9]]), epochs=99, history=True, intercept=True)
reports = [fastgd.verify(candidate, X[0], y[0], lr=0.01, epochs=3) for candidate in (descend_größe, raises_größe, ["numpy", "cpu"])]
history = result.history
cause = fastgd.diagnose(X[0], y[0], result.history.w[0, 0], lr=0.011)
shown = [result, history, result.state, fastgd.solve(X, y, intercept=True), fastgd.fit(X[0], y[0], epochs=1), cause, *reports]
shown += [verdict for report in reports for verdict in report.verdicts] + [fastgd.info(), fastgd.info().kernel_cache, fastgd.SGD()]
for thing in (*shown, *fastgd.Status, *fastgd.testing.problems(), *fastgd.testing.nist()):
    assert str(thing).isascii() and repr(thing).isascii(), ascii(str(thing))
    print(thing, repr(thing))
    logging.info("%s %r", thing, thing)
print(result.summary(), fastgd.solve(X, y).summary(), *(report.to_json() for report in reports))
try:
    fastgd.testing.assert_agrees(descend_größe, X[0], y[0], lr=0.01, epochs=3)
except AssertionError as error:
    print(error)
for wrong in ({"w0": 3}, {"nan_policy": "größe"}, {"sample_weight": [1.0]}, {"optimizer": "größe"}, {"lr": "größe"}):
    try:
        fastgd.fit(X, y, **wrong)
    except (TypeError, ValueError) as error:
        print(error, repr(error))
fastgd.fit(X, y, epochs=3, progress=True)
print("done")
"""


def run(encoding: str, *command: str, **options: object) -> str:
    """What a Python process prints to a pipe with this encoding; fails where it fails."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONUTF8", "PYTHONIOENCODING", "LC_ALL")}
    done = subprocess.run(
        [sys.executable, "-P", "-W", "error", *command], capture_output=True, check=False, env=environment | NARROW[encoding], **options
    )
    said = done.stdout.decode("cp1252" if encoding == "cp1252" else "utf-8")  # click takes ASCII for UTF-8 that was not said
    assert done.returncode in (0, 1), said + done.stderr.decode("utf-8", "replace")
    assert b"Traceback" not in done.stderr, done.stderr
    assert "Encode" not in said
    return said


@pytest.mark.parametrize("encoding", NARROW)
def test_everything_that_prints_itself(encoding, tmp_path):
    (tmp_path / "mine.py").write_text(MINE, encoding="utf-8")
    (tmp_path / "printed.py").write_text(PRINTED, encoding="utf-8")
    said = run(encoding, str(tmp_path / "printed.py"), str(tmp_path))
    assert said.isascii()
    assert said.rstrip().endswith("done")
    assert r"descend_gr\xf6\xdfe: DISAGREES from epoch 1 on" in said
    assert r"ValueError: \u03c4 \u2192 \u221e" in said


@pytest.mark.share(3)
@pytest.mark.parametrize("encoding", NARROW)
def test_the_command_line(encoding, tmp_path):
    (tmp_path / "größe.py").write_text(MINE, encoding="utf-8")
    data = tmp_path / "höhe.csv"
    data.write_text("x,y,höhe\n1,2,3\n2,4,3\n3,6.5,3\n", encoding="utf-8")
    for command in ("", "demo", "verify", "info"):
        assert "Usage" in run(encoding, "-m", "fastgd.cli", *command.split(), "--help")
    assert "kernel cache" in run(encoding, "-m", "fastgd.cli", "info")
    run(encoding, "-m", "fastgd.cli", "info", "--json")
    asked = ["--data", str(data), "--y", "y", "--x", "x", "--lr", "0.01", "--epochs", "3", "--html", str(tmp_path / "seite_ä.html")]
    said = run(encoding, "-m", "fastgd.cli", "verify", f"{tmp_path / 'größe.py'}:raises", *asked)
    assert r"raises: raised in epoch 1 (ValueError: \u03c4 \u2192 \u221e)" in said
    assert (tmp_path / "seite_ä.html").exists()
