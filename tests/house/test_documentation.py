"""The pages keep their word: their code runs, what they cite is there, they fit into a terminal.

1. Fenced blocks of Python run page by page, from top to bottom, as a reader would run them; a
   block of text right behind one is what it prints. Commands for a shell are indented: not run.
   Tutorials are programs: two of them run here, all of them with --full and in `make docs`.
2. A citation is looked up in the tree: the relative links of every page, and in pages, docstrings
   and comments every path that looks like a file of ours, every page or source file that is named
   without its folder, and the section of a page, by its number or its heading. Paths in the code of
   tests may be made up.
"""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import tokenize
import warnings
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

from tests import grids
from tests.house.test_architecture import HOUSE
from tests.support.paths import ROOT

TRACKED = frozenset(subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.split())
PAGES = {path: (ROOT / path).read_text("utf-8") for path in sorted(TRACKED) if path.endswith(".md") and (ROOT / path).exists()}
TUTORIALS = sorted(path for path in TRACKED if path.startswith("examples/tutorials/") and path.endswith(".py"))
FEW = ("01_founding_example.py", "06_check_your_own.py")  # about a second each; `make docs` runs all of them, too
MOST_COLUMNS, MOST_COLUMNS_OF_A_TABLE = 100, 186

# a source file or a page in a folder, from the root or from one of WITHIN; other files of ours
SOURCE = re.compile(r"(?<![\w/.*-])((?:[\w.]+/)+[\w.]+\.(?:md|py|cu|cuh|sh|yml))\b")
OTHER = re.compile(r"(?<![\w/.*-])((?:docs|fastgd|kernels|tests|benchmarks)/[\w./-]*\w\.(?:json|png|html))\b")
WITHIN = ("", "fastgd/", "kernels/", "kernels/cpu/", "tests/", "fastgd/verification/")
ANCHOR = re.compile(r'<a id="\w+"></a>')
LINK = re.compile(r"\]\(([^)\s]+)\)")
BARE = re.compile(r"(?<![\w/.*-])([A-Za-z_][\w-]*\.(?:md|py|cu|cuh))\b")  # named without its folder
MADE_UP = {"mine.py", "file.py"}  # of users, in examples
# a page, and a section of it by number or heading
SECTION = re.compile(r"((?:docs|benchmarks)/[\w/-]+\.md),\s+(?:section\s+(\d+)|[\"“]([^\"”]+)[\"”])")
WIDE_TABLES = {"benchmarks/NOTES.md", "benchmarks/RESULTS.md"}  # of measurements
# a row of the table of update rules, which a test compares with the code
MADE_FROM_CODE = re.compile(r"\| (\w+) \| [^|]*\| \w+ \S+ in [\[(]")
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


def too_long(page: str, widest_table: int = MOST_COLUMNS_OF_A_TABLE) -> list[str]:
    """The lines that are too long, but for a link or a word that cannot be broken."""
    found = []
    for number, line, of_table in prose(page):
        line = ANCHOR.sub("", line)  # is not shown
        most = widest_table if of_table else MOST_COLUMNS
        if len(line) > most and not MADE_FROM_CODE.match(line) and " " in line.strip().lstrip("*- ")[:MOST_COLUMNS]:
            found.append(f"{number}: {len(line)} columns: {line[:60]}…")
    return found


def comments_and_docstrings(path: str, source: str) -> str:
    """What a file says beside its code."""
    if not path.endswith(".py"):
        return "\n".join(re.findall(r"//.*$|/\*.*?\*/", source, re.MULTILINE | re.DOTALL))
    said = [token.string for token in tokenize.generate_tokens(io.StringIO(source).readline) if token.type == tokenize.COMMENT]
    owners = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef))
    return "\n".join([*said, *(ast.get_docstring(node) or "" for node in owners)])


@cache
def names_of(tracked: frozenset[str]) -> frozenset[str]:
    """The names of the files, without their folders."""
    return frozenset(Path(name).name for name in tracked)


def missing(path: str, text: str, tracked: frozenset[str] = TRACKED) -> list[str]:
    """The files that a text cites and that are not in the tree."""
    plain = LINK.sub("", text)
    wrong = {name for name in BARE.findall(plain) if name not in names_of(tracked) | MADE_UP}
    places = (*WITHIN, f"{Path(path).parent.as_posix()}/")
    wrong |= {name for name in SOURCE.findall(plain) if not any(place + name in tracked for place in places)}
    wrong |= {name for name in OTHER.findall(plain) if name not in tracked}
    if path.endswith(".md"):
        folder = Path(path).parent
        linked = set()
        for target in LINK.findall(text):
            if not re.match(r"[a-z]+:", target) and not target.startswith("#"):
                found = (ROOT / folder / target.partition("#")[0]).resolve()
                linked.add(found.relative_to(ROOT).as_posix())
        folders = {parent.as_posix() for name in tracked for parent in Path(name).parents}
        wrong |= linked - tracked - folders
    return sorted(wrong)


def no_such_section(text: str, pages: Mapping[str, str] = PAGES) -> list[str]:
    """The headings that a text cites and that the page does not have."""
    found = []
    for path, number, heading in SECTION.findall(text):
        wanted = rf"#+ {number}\. " if number else rf"#+ {re.escape(' '.join(heading.split()))}\s*$"
        if path in pages and not re.search("^" + wanted, pages[path], re.MULTILINE):
            found.append(f"{path}, {number or heading}")
    return found


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


@pytest.mark.parametrize("path", grids.share("tutorials", TUTORIALS, [path for path in TUTORIALS if Path(path).name in FEW]))
def test_a_tutorial_runs(path, tmp_path):
    run = subprocess.run(
        [sys.executable, "-P", "-W", "error", str(ROOT / path)], cwd=tmp_path, check=False, capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-2000:]


@pytest.mark.full
def test_the_picture_of_the_readme_is_what_its_script_draws(tmp_path):
    """Three histories agree, four do not, and the causes are those that the picture names."""
    run = subprocess.run(
        [sys.executable, "-P", "docs/every_epoch.py", str(tmp_path / "picture.png")], cwd=ROOT, check=True, capture_output=True, text=True
    )
    lines = run.stdout.splitlines()
    assert ["agrees" in line for line in lines] == 3 * [True] + 4 * [False]
    causes = [line.rpartition("; ")[2] for line in lines[3:]]
    assert causes == ["gradient_n_minus_1", "rows_dropped", "lr_scaled", "loss_after_update"]
    assert (tmp_path / "picture.png").stat().st_size > 10_000


def test_the_map_of_the_readme_has_both_limits(tmp_path):
    """2/λ of XᵀX = 30, and the numbers that the text beside the picture says."""
    run = subprocess.run(
        [sys.executable, "-P", "docs/learning_rates.py", str(tmp_path / "map.png")], cwd=ROOT, check=True, capture_output=True, text=True
    )
    mean, total = run.stdout.splitlines()
    assert mean.startswith(f"mean: limit {2 / 15:.6f}, overflows from ")
    assert total.startswith(f"sum: limit {2 / 60:.6f}, overflows from ")
    assert "left 0.40 of the distance by hand, 0.85 with autograd" in " ".join(PAGES["README.md"].split())
    assert (mean.endswith("distance times 0.85 in an epoch"), total.endswith("distance times 0.40 in an epoch")) == (True, True)
    assert 10_000 < (tmp_path / "map.png").stat().st_size < 100_000


def test_code_is_found_where_there_is_some():
    assert {"README.md", "docs/how-to/tables.md", "docs/verify.md"} <= {path for path, page in PAGES.items() if list(blocks(page))}
    page = "```python\na = 1\n```\n\n```py\nprint(a)\n```\n\n```text\n1\n```\n\n    fastgd info\n"
    assert list(blocks(page)) == [("a = 1\n", None), ("print(a)\n", "1\n")]


@pytest.mark.parametrize("path", PAGES)
def test_a_page_cites_files_that_are_there(path):
    if path not in GONE:
        assert missing(path, PAGES[path]) + no_such_section(PAGES[path]) == []


@pytest.mark.parametrize("folder", ["fastgd", "kernels", "tests", "benchmarks", "docs", "examples"])
def test_comments_and_docstrings_cite_files_that_are_there(folder):
    wrong = {}
    for path in TRACKED:
        if path.startswith(f"{folder}/") and path.endswith((".py", ".cu", ".cuh", ".h")) and (ROOT / path).exists():
            said = comments_and_docstrings(path, (ROOT / path).read_text("utf-8"))
            gone = missing(path, said) + no_such_section(said)
            if gone:
                wrong[path] = gone
    assert wrong == {}


def test_errors_and_messages_name_pages_that_are_there():
    """The strings of the package, too: a user follows them."""
    named = {
        (path, page)
        for path in TRACKED
        if path.startswith(("fastgd/", "kernels/")) and path.endswith((".py", ".cu", ".cuh", ".html")) and (ROOT / path).exists()
        for page in re.findall(r"\bdocs/[\w/-]+\.md", (ROOT / path).read_text("utf-8"))
    }
    assert {page for _, page in named} >= {"docs/how-to/kernels.md", "docs/how-to/memory.md", "docs/how-to/rate-and-epochs.md"}
    assert [one for one in sorted(named) if one[1] not in TRACKED] == []


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_wrapped(path):
    assert too_long(PAGES[path], 500 if path in WIDE_TABLES else MOST_COLUMNS_OF_A_TABLE) == []


def test_the_places_of_the_one_gradient_formula_are_those_listed():
    """docs/arithmetic.md, section 6 begins with them: who changes the formula finds all."""
    table = PAGES["docs/arithmetic.md"].partition("## 6.")[2].partition("One epoch at w")[0]
    places = re.findall(r"^\| `([\w/]+\.\w+)` \| (`\w+`.*?) \|", table, re.MULTILINE)
    assert len(places) == 7
    for path, functions in places:
        source = (ROOT / path).read_text("utf-8")
        for name in re.findall(r"`(\w+)`", functions):
            assert re.search(rf"^(def|__device__ .*) {name}\(", source, re.MULTILINE), f"{path} has no {name}: {table}"


def test_the_page_of_cuda_has_every_kernel():
    table = PAGES["docs/cuda.md"].partition("## The kernels")[2].partition("\n\nA rule")[0]
    told, file = set(), ""
    for cell, kernel in re.findall(r"^\| (.*?) ?\| `(\w+)<.*?>` \|", table, re.MULTILINE):
        file = cell.strip("` ") or file
        told.add((file, kernel))
    kernel = re.compile(r"__global__ void\s+__launch_bounds__\([\d, ]+\)\s+(\w+)\(")
    sources = sorted((ROOT / "kernels" / "cuda").glob("*.cu"))
    assert told == {(path.name, name) for path in sources for name in kernel.findall(path.read_text("utf-8"))}


def test_the_table_of_folders_is_the_one_that_is_enforced():
    """docs/design.md says who may import whom as tests/house/test_architecture.py does."""
    rows = re.findall(r"^\| `(\w+)` \| .* \| `([\w., *]+)` \|$", PAGES["docs/design.md"], re.MULTILINE)
    kernels = {name for _, rooms in HOUSE.values() for name in rooms if name.startswith("kernels.")}
    told = {room: {"" if name == "fastgd" else name for name in names.split(", ")} for room, names in rows}
    told = {room: (names - {"kernels.*"}) | kernels if "kernels.*" in names else names for room, names in told.items()}
    assert told == {room: HOUSE[room][1] for room in told}
    assert {"input", "data", "results", "planning", "running", "fitting", "solving"} <= set(told)


def test_what_is_wrong_is_found():
    """Each rule, broken once."""
    here = frozenset({"docs/there.md", "fastgd/fitting.py"})
    assert missing("docs/page.md", "see [it](there.md) and `fastgd/fitting.py`", here) == []
    assert missing("docs/page.md", "see [it](gone.md) and `fastgd/gone.py`", here) == ["docs/gone.md", "fastgd/gone.py"]
    assert missing("README.md", "[it](docs/there.md#words), [that](https://example.org/docs/x.md)", here) == []
    source = '"""See docs/gone.md."""\nopen("docs/made_up.md")  # as docs/lost.md says\n'
    assert missing("fastgd/x.py", comments_and_docstrings("fastgd/x.py", source), here) == ["docs/gone.md", "docs/lost.md"]
    assert missing("fastgd/x.py", "as gone.md says, and there.md; gone.py, fitting.py", here) == ["gone.md", "gone.py"]
    assert missing("kernels/x.cu", comments_and_docstrings("kernels/x.cu", "int a;  // docs/gone.md, 6\n"), here) == ["docs/gone.md"]
    pages = {"docs/there.md": "# Page\n\n## 6. descend\n\n## One step\n"}
    assert no_such_section('docs/there.md, section 6; docs/there.md, "One step"', pages) == []
    said = 'docs/there.md, section 7; docs/there.md, "One\n  word"'
    assert no_such_section(said, pages) == ["docs/there.md, 7", "docs/there.md, One\n  word"]
    long = "word " * 30
    assert len(too_long(f"{long}\n* {long}\n")) == 2
    assert too_long(f"```\n{long}\n```\n\n    {long}\n| {long}|\n[name]({'x' * 120})\n") == []
    assert len(too_long(f"| {long * 2}|\n")) == 1
