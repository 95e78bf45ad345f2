"""The pages keep their word: their code runs, what they cite is there, and they can be read in a terminal.

1. Fenced blocks of Python run page by page, from top to bottom, as a reader would run them; a block of text right behind
   one is what it prints. Commands for a shell are indented, and do not run here.
2. A citation is looked up in the tree: relative links of every page, and every path in prose, docstrings and comments that
   looks like a file of a folder that we have. Made-up paths of tests are not citations: only comments and docstrings count.
"""

from __future__ import annotations

import ast
import io
import re
import subprocess
import tokenize
import warnings
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests.support.paths import ROOT

TRACKED = frozenset(subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.split())
PAGES = {path: (ROOT / path).read_text("utf-8") for path in sorted(TRACKED) if path.endswith(".md") and (ROOT / path).exists()}
MOST_COLUMNS, MOST_COLUMNS_OF_A_TABLE = 100, 160

# a path from the root: a folder of ours, perhaps more of them, and a file with an ending that we use
CITED = re.compile(
    r"(?<![\w/.-])((?:docs|fastgd|kernels|tests|benchmarks|examples|\.ci|\.github)/[\w./-]*\w\.(?:md|py|pyx|cu|cuh|h|sh|json|png|html|yml|yaml))\b"
)
LINK = re.compile(r"\]\(([^)\s]+)\)")
A_PAGE = re.compile(r"(?<![\w/.-])([A-Za-z][\w-]*\.md)\b")  # named without its folder
NOT_WRAPPED = {"benchmarks/NOTES.md"}
GONE = {"CHANGELOG.md"}  # tells the history: it may name files that were there


def blocks(page: str) -> Iterator[tuple[str, str | None]]:
    """(code, what it prints or None) of the fenced blocks of Python."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    for (kind, code), (next_kind, next_text) in pairwise([*found, ("", "")]):
        if kind in ("python", "py"):
            yield code, next_text if next_kind == "text" else None


def prose(page: str) -> Iterator[tuple[int, str, bool]]:
    """(line number, line, whether it belongs to a table) of what is not code."""
    fenced = False
    for number, line in enumerate(page.splitlines(), 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif not fenced and not (line.startswith("    ") and not line.lstrip().startswith(("*", "-"))):
            yield number, line, line.startswith("|")


def too_long(page: str) -> list[str]:
    """The lines that are too long, each with its number. A link or a word that cannot be broken may stick out."""
    found = []
    for number, line, of_table in prose(page):
        if len(line) > (MOST_COLUMNS_OF_A_TABLE if of_table else MOST_COLUMNS) and " " in line.strip().lstrip("*- ")[:MOST_COLUMNS]:
            found.append(f"{number}: {len(line)} columns: {line[:60]}…")
    return found


def comments_and_docstrings(path: str, source: str) -> str:
    """What a file says beside its code."""
    if not path.endswith(".py"):
        return "\n".join(re.findall(r"//.*$|/\*.*?\*/", source, re.MULTILINE | re.DOTALL))
    said = [token.string for token in tokenize.generate_tokens(io.StringIO(source).readline) if token.type == tokenize.COMMENT]
    owners = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef))
    return "\n".join([*said, *(ast.get_docstring(node) or "" for node in owners)])


def missing(path: str, text: str, tracked: frozenset[str] = TRACKED) -> list[str]:
    """The files that a text cites and that are not in the tree."""
    cited = set(CITED.findall(text))
    names = {Path(name).name for name in tracked}
    cited |= {name for name in A_PAGE.findall(LINK.sub("", text)) if name not in names}
    if path.endswith(".md"):
        folder = Path(path).parent
        for target in LINK.findall(text):
            if not re.match(r"[a-z]+:", target) and not target.startswith("#"):
                found = (ROOT / folder / target.partition("#")[0]).resolve()
                cited.add(found.relative_to(ROOT).as_posix())
    folders = {parent.as_posix() for name in tracked for parent in Path(name).parents}
    return sorted(name for name in cited if name not in tracked and name not in folders)


@pytest.mark.parametrize("path", [path for path, page in PAGES.items() if list(blocks(page))])
def test_the_code_of_a_page_runs_and_prints_what_is_written(path, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for code, printed in blocks(PAGES[path]):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            exec(compile(code, path, "exec"), names)
        said = capsys.readouterr().out
        if printed is not None:
            assert said == printed


def test_code_is_found_where_there_is_some():
    assert {"README.md", "docs/guide.md", "docs/verify.md"} <= {path for path, page in PAGES.items() if list(blocks(page))}
    page = "```python\na = 1\n```\n\n```py\nprint(a)\n```\n\n```text\n1\n```\n\n    fastgd info\n"
    assert list(blocks(page)) == [("a = 1\n", None), ("print(a)\n", "1\n")]


@pytest.mark.parametrize("path", [path for path in PAGES if path not in NOT_WRAPPED])
def test_a_page_is_wrapped(path):
    assert [line for line in too_long(PAGES[path]) if path != "docs/arithmetic.md"] == []


def test_what_is_wrong_is_found():
    """Each rule, broken once."""
    here = frozenset({"docs/there.md", "fastgd/fitting.py"})
    assert missing("docs/page.md", "see [it](there.md) and `fastgd/fitting.py`", here) == []
    assert missing("docs/page.md", "see [it](gone.md) and `fastgd/gone.py`", here) == ["docs/gone.md", "fastgd/gone.py"]
    assert missing("README.md", "[it](docs/there.md#words), [that](https://example.org/docs/x.md)", here) == []
    source = '"""See docs/gone.md."""\nopen("docs/made_up.md")  # as docs/lost.md says\n'
    assert missing("fastgd/x.py", comments_and_docstrings("fastgd/x.py", source), here) == ["docs/gone.md", "docs/lost.md"]
    assert missing("fastgd/x.py", "as gone.md says, and there.md", here) == ["gone.md"]
    assert missing("kernels/x.cu", comments_and_docstrings("kernels/x.cu", "int a;  // docs/gone.md, 6\n"), here) == ["docs/gone.md"]
    long = "word " * 30
    assert len(too_long(f"{long}\n* {long}\n")) == 2
    assert too_long(f"```\n{long}\n```\n\n    {long}\n| {long}|\n[name]({'x' * 120})\n") == []
    assert len(too_long(f"| {long * 2}|\n")) == 1
