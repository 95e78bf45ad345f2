"""The table of docs/reliability.md, between two lines of the page. The rest of it is written by
hand."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import re
import subprocess
import textwrap
from collections.abc import Iterable
from pathlib import Path

from tests.campaign.running import Found
from tests.support.paths import ROOT

BEGIN, END = "<!-- written by `make campaign` -->", "<!-- end of what `make campaign` writes -->"
LIBRARIES = ("numpy", "numba", "llvmlite", "torch")


def git(*arguments: str) -> str:
    """What git says about this repository."""
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()


def commit() -> str:
    """The commit that was attacked, and whether files differ from it."""
    changed = "" if not git("status", "--porcelain", "--untracked-files=no", "--", "fastgd", "kernels") else ", with changes"
    return f"{git('rev-parse', '--short=12', 'HEAD')}{changed}"


def processor() -> str:
    """The name of the processor."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def versions() -> str:
    """Python and the libraries that took part."""
    installed = {distribution.metadata["Name"].lower(): distribution.version for distribution in importlib.metadata.distributions()}
    return ", ".join([f"Python {platform.python_version()}", *(f"{name} {installed[name]}" for name in LIBRARIES if name in installed)])


def failed(found: Found) -> str:
    """What failed, in words."""
    if found.why_not is not None:
        return f"not run: {found.why_not}"
    return ", ".join(f"{count:,} {kind}" for kind, count in sorted(found.counts.items())) or "0"


def besides(found: Found) -> str:
    """What was seen and breaks no promise, in a sentence after a blank; "" if nothing was."""
    seen = ", ".join(f"{count:,} {kind}" for kind, count in sorted(found.notes.items()))
    seen = re.sub(r"(\w+)\.py\b", r"Python's \1", seen)  # a page cites no files that are not there
    return f" Seen besides, and no failure of fastgd: {seen}." if seen else ""


def lines_of(results: Iterable[Found], seed: int, seconds: float, jobs: int) -> list[str]:
    """The lines between the two marks."""
    results = list(results)
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    where = (
        f"{today}, commit {commit()}: {seconds:,.0f} seconds, {jobs} at a time, seed {seed}. {processor()}, {os.cpu_count()} cores, "
        f"{platform.system()}; {versions()}."
    )
    rows = [
        f"| {found.attack.name} | {found.attack.promise} | {found.cases:,} {found.attack.unit} | {failed(found)} |" for found in results
    ]
    how = [
        textwrap.fill(
            f"* **{found.attack.name}.** {found.attack.how}{besides(found)}",
            100,
            subsequent_indent="  ",
            break_on_hyphens=False,
            break_long_words=False,
        )
        for found in results
    ]
    table = ["| attack | promise | tried | failed |", "|---|---|---|---|", *rows]
    return [textwrap.fill(where, 100), "", *table, "", "How each was attacked:", "", *how]


def why_no_table(page: Path) -> str | None:
    """Why a page cannot take the table; None: it can."""
    try:
        text = page.read_text(encoding="utf-8")
        with page.open("r+b"):
            pass
    except (OSError, UnicodeDecodeError) as error:
        return f"{page} cannot be read and written: {error}"
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        return f"{page} needs the line {BEGIN} and after it the line {END}, each once"
    return None


def write_table(page: Path, lines: Iterable[str]) -> None:
    """Replace what stands between the two marks."""
    if why := why_no_table(page):
        raise SystemExit(why)
    text = page.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    page.write_text("\n".join([f"{before}{BEGIN}", "", *lines, "", f"{END}{after}"]), encoding="utf-8")
