"""Where pictures are drawn: the caller's axes, or those of a new figure.

1. The figure is pyplot's own where pyplot is imported, and in IPython: there `plt.show()` and
   notebooks show it. As every figure of pyplot it stays until a notebook has shown it or it is
   closed.
2. Elsewhere it is a bare figure, which is freed with its last reference.
"""

from __future__ import annotations

import sys
from typing import Any

from ..input.messages import shown

_SOFT = "#666666"
_STYLE = {
    "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": "#999999", "xtick.color": _SOFT, "ytick.color": _SOFT,
    "axes.labelcolor": _SOFT, "axes.grid": True, "grid.color": "#eeeeee", "axes.axisbelow": True,
}  # fmt: skip


def axes_for(ax: Any, extra: str) -> Any:
    """The caller's axes, or those of a new figure. extra: of fastgd, which brings matplotlib."""
    try:
        from matplotlib import rc_context
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError(f"pictures need matplotlib: pip install 'fastgd[{extra}]'") from None
    if ax is not None:
        if not callable(getattr(ax, "plot", None)):
            raise TypeError(f"ax must be matplotlib axes or None, not {shown(ax)}")
        return ax
    options: dict[str, Any] = {"figsize": (7.2, 4.6), "dpi": 130, "layout": "constrained", "facecolor": "white"}
    if "matplotlib.pyplot" in sys.modules or _in_ipython():
        from matplotlib import pyplot

        # outside of rc_context, which would undo what a notebook's backend sets at its first figure
        figure = pyplot.figure(**options)
    else:
        figure = Figure(**options)
        FigureCanvasAgg(figure)
    with rc_context(_STYLE):
        return figure.add_subplot()


def _in_ipython() -> bool:
    """Whether the session is one of IPython, such as a notebook's."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and ipython.get_ipython() is not None
