"""A heading and rows (what, text): as text, in one line, and as HTML for notebooks."""

from __future__ import annotations

import html
from collections.abc import Sequence

_CELL = "text-align:left;vertical-align:top;white-space:pre-line;padding:1px 12px 1px 0"


def text_table(heading: str, rows: Sequence[tuple[str, str]]) -> str:
    """The heading, and below it a line for each row."""
    width = max(10, *(len(what) for what, _ in rows))
    return "\n".join([heading, *(f"  {what:<{width}} {text}" for what, text in rows)])


def in_line(heading: str, rows: Sequence[tuple[str, str]]) -> str:
    """All of it in one line, for a `repr`."""
    return f"<{heading}: {'; '.join(f'{what} {text}' for what, text in rows)}>"


def html_table(heading: str, rows: Sequence[tuple[str, str]]) -> str:
    """A small table that needs no style sheet, and has the page's colours."""
    lines = [
        f'<tr><th scope="row" style="{_CELL};font-weight:600">{html.escape(what)}</th><td style="{_CELL}">{html.escape(text)}</td></tr>'
        for what, text in rows
    ]
    caption = f'<caption style="text-align:left;font-weight:600;padding:0 0 4px 0">{html.escape(heading)}</caption>'
    return f'<table style="border-collapse:collapse">{caption}<tbody>{"".join(lines)}</tbody></table>'
