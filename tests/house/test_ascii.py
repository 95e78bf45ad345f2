"""fastgd's own words are ASCII, so that they can be printed, logged and piped anywhere: only
pictures and HTML pages have τ and ×, and docstrings and comments, which nothing prints."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

from tests.support.paths import ROOT

# modules that draw pictures or write HTML: what they make is never a terminal's
DRAWN = {
    "fastgd/cli/demo_picture.py",
    "fastgd/results/plotting.py",
    "fastgd/verification/report/page.py",
    "fastgd/verification/report/picture.py",
}
NEVER_PRINTED = {"kernels/cpu/simd/lanes.py", "kernels/update_rules.py"}  # docstrings that are made; formulas, and their ranges


def sources() -> dict[str, str]:
    paths = [path for folder in ("fastgd", "kernels") for path in sorted((ROOT / folder).rglob("*.py"))]
    return {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in paths}


def not_ascii(files: Mapping[str, str]) -> Iterator[str]:
    """'path:line: text' of each string in the code, docstrings apart, that is not ASCII."""
    for path, source in files.items():
        tree = ast.parse(source)
        documented = [node for node in ast.walk(tree) if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and node.body]
        docstrings = {id(node.body[0].value) for node in documented if isinstance(node.body[0], ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and not node.value.isascii() and id(node) not in docstrings:
                yield f"{path}:{node.lineno}: {node.value!a}"


def test_words_are_ascii():
    found = sources()
    assert set(found) >= DRAWN | NEVER_PRINTED
    printed = {path: source for path, source in found.items() if path not in DRAWN | NEVER_PRINTED}
    assert len(printed) > 100
    assert list(not_ascii(printed)) == []


def test_words_of_the_command_line_are_ascii():
    """Typer prints the docstrings of the commands as their help."""
    assert (ROOT / "fastgd/cli/commands.py").read_text("utf-8").isascii()


def test_a_planted_word_is_found():
    planted = '"""τ in a docstring."""\nx = 1  # τ\nraise ValueError(f"{x} × 3")\nname = "1/λ"\n'
    assert sorted(not_ascii({"planted.py": planted})) == ["planted.py:3: ' \\xd7 3'", "planted.py:4: '1/\\u03bb'"]
