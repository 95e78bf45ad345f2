"""In a notebook results show themselves: examples/first_look.ipynb is executed by IPython, with
the backend of matplotlib that notebooks have."""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.image import imread

from tests.support.paths import ROOT

NOTEBOOK = ROOT / "examples/first_look.ipynb"
EXECUTE = """
import json, sys
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

shell, told = InteractiveShell.instance(), []
for cell in json.load(open(sys.argv[1], encoding="utf-8"))["cells"]:
    if cell["cell_type"] == "code":
        source = "".join(cell["source"])
        with capture_output() as shown:
            done = shell.run_cell(source)
        done.raise_error()
        outputs = [output.data for output in shown.outputs]
        if done.result is not None and not source.endswith(";"):  # what a notebook's front end gets
            outputs.append(shell.display_formatter.format(done.result)[0])
        told.append({"source": source, "outputs": outputs})
from matplotlib import pyplot
print(json.dumps({"cells": told, "figures left": pyplot.get_fignums()}))
"""


@pytest.fixture(scope="module")
def executed(tmp_path_factory) -> dict:
    """What each cell shows: {MIME type: data} of each output."""
    folder = tmp_path_factory.mktemp("ipython")
    environment = os.environ | {"MPLBACKEND": "module://matplotlib_inline.backend_inline", "IPYTHONDIR": str(folder)}
    command = [sys.executable, "-P", "-W", "error:::fastgd", "-c", EXECUTE, str(NOTEBOOK)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def outputs(executed: dict, source: str, kind: str) -> list[str]:
    """The outputs of one kind of the cells that end in this line."""
    found = [cell for cell in executed["cells"] if cell["source"].splitlines()[-1] == source]
    assert found, source
    return [output[kind] for cell in found for output in cell["outputs"] if kind in output]


@pytest.mark.parametrize("source", ["result.plot_loss()", "result.plot_fit(x, y, fit=40);", "report.plot()"])
def test_each_picture_is_there_once(executed, source):
    (picture,) = outputs(executed, source, "image/png")
    pixels = imread(io.BytesIO(base64.b64decode(picture)))
    assert pixels.shape[0] > 400
    assert pixels.shape[1] > 700
    assert len(np.unique(pixels.reshape(-1, pixels.shape[-1]), axis=0)) > 50  # more than an empty frame


@pytest.mark.parametrize("source", ["result", "result.history", "result.state", "report", "fastgd.info()"])
def test_each_object_is_a_table(executed, source):
    (page,) = outputs(executed, source, "text/html")
    assert page.startswith("<table")
    assert '<th scope="row"' in page
    assert "<caption" in page
    assert "http" not in page  # nothing is loaded
    (text,) = outputs(executed, source, "text/plain")
    assert text.isascii()


def test_no_figure_is_left(executed):
    assert executed["figures left"] == []


def test_the_notebook_holds_no_outputs_of_an_earlier_run():
    cells = json.loads(NOTEBOOK.read_text("utf-8"))["cells"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells if cell["cell_type"] == "code")


PYPLOT = """
import fastgd, gc, sys, weakref
result = fastgd.fit([1.0, 2, 3], [2.0, 4, 6.1], epochs=5, history=True)
bare = result.plot_loss()
assert "matplotlib.pyplot" not in sys.modules
figure = weakref.ref(bare.figure)
del bare
gc.collect()
assert figure() is None  # nobody keeps it
import matplotlib
matplotlib.use("agg")
import matplotlib.pyplot as plt
report = fastgd.verify("numpy", [1.0, 2], [2.0, 4], lr=0.1, epochs=3)
before = dict(plt.rcParams)
pictures = [result.plot_loss(), result.plot_fit([1.0, 2, 3], [2.0, 4, 6.1]), report.plot()]
assert plt.get_fignums() == [1, 2, 3]
assert [plt.figure(number).axes for number in (1, 2, 3)] == [[axes] for axes in pictures]  # what plt.show() shows
assert dict(plt.rcParams) == before
axes = plt.subplots()[1]
assert result.plot_loss(axes) is axes and plt.get_fignums() == [1, 2, 3, 4]
"""


def test_pyplot_shows_them_where_it_is_imported():
    done = subprocess.run([sys.executable, "-P", "-W", "error", "-c", PYPLOT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
