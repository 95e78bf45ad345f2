"""Where pictures are drawn; tests/promises/test_notebook.py shows them in pyplot and notebooks."""

from __future__ import annotations

import sys

import pytest

from fastgd.results.figure import axes_for


def test_axes_of_the_caller_are_taken_as_they_are():
    from matplotlib.figure import Figure

    axes = Figure().add_subplot()
    assert axes_for(axes, "plot") is axes
    with pytest.raises(TypeError, match=r"^ax must be matplotlib axes or None, not 3$"):
        axes_for(3, "plot")


def test_a_new_figure_has_a_canvas():
    axes = axes_for(None, "plot")
    assert hasattr(axes.figure.canvas, "buffer_rgba")  # that of a new figure without one draws nothing
    assert not axes.spines["top"].get_visible()


def test_the_extra_is_named_where_matplotlib_is_missing(monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"^pictures need matplotlib: pip install 'fastgd\[report\]'$"):
        axes_for(None, "report")
