"""Where pictures are drawn, the caller's axes or those of a new figure, and the one style of them.

1. The figure is pyplot's own where pyplot is imported, and in IPython: there `plt.show()` and
   notebooks show it. As every figure of pyplot it stays until a notebook has shown it or it is
   closed.
2. Elsewhere it is a bare figure, which is freed with its last reference.
3. SERIES was searched for: also as colour-blind readers see it, any two of its colours are at least
   26 apart in CIELAB, and their lightness differs by 8, so that they differ on grey paper. Numbers
   are viridis, whose lightness grows; numbers of both signs are blue and red, with white for 0.
"""

from __future__ import annotations

import sys
from typing import Any

from ..input.messages import shown

SERIES = ("#0b7a75", "#bc7b4e", "#6a17da", "#78b3f5", "#830327")
DASHES = ("-", "--", "-.", ":", (0, (6, 1.5, 1, 1.5, 1, 1.5)))  # of the same curves, for print
LINE, POINT, LIMIT, LOST, SOFT, DARK = SERIES[0], "#4a5560", "#c8553d", "#cfcfcf", "#666666", "#222222"
NUMBERS, SIGNED = "viridis", "RdBu_r"  # colour maps
_STYLE = {
    "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": "#999999", "xtick.color": SOFT, "ytick.color": SOFT,
    "axes.labelcolor": SOFT, "axes.grid": True, "grid.color": "#eeeeee", "axes.axisbelow": True,
}  # fmt: skip


def title(axes: Any, text: str) -> None:
    """Write the title of a picture."""
    axes.set_title(text, loc="left", fontsize=11.5, fontweight="bold", color=DARK, pad=10)


def axes_for(ax: Any, extra: str, height: float = 4.6) -> Any:
    """The caller's axes, or those of a new figure.

    extra: of fastgd, which brings matplotlib. height: of a new figure, in inches.
    """
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
    options: dict[str, Any] = {"figsize": (7.2, height), "dpi": 130, "layout": "constrained", "facecolor": "white"}
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
