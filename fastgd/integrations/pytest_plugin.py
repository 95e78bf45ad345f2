"""The pytest plugin: the fixture `assert_agrees`, and the option `--fastgd-report=DIR`.

1. pytest loads the plugin at every start, so the plugin imports fastgd only when a test uses it.
2. With the option an HTML page is written about every `Disagreement` among the exceptions with
   which a test fails, their causes, contexts and groups included.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    parser.getgroup("fastgd").addoption(
        "--fastgd-report",
        metavar="DIR",
        default=None,
        help="leave an HTML report about every disagreement that fastgd finds in this folder",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Refuse the option where jinja2, which writes the pages, is not installed."""
    if config.getoption("--fastgd-report") is not None:
        try:
            import jinja2  # noqa: F401
        except ImportError:
            raise pytest.UsageError("--fastgd-report needs jinja2: pip install 'fastgd[report]'") from None


@pytest.fixture
def assert_agrees() -> Callable[..., Any]:
    """`fastgd.testing.assert_agrees`: assert that a gradient descent is right at every epoch."""
    from fastgd.testing import assert_agrees

    return assert_agrees


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Write a page about each disagreement, and add its path to the outcome of the test."""
    outcome = yield
    folder = item.config.getoption("--fastgd-report")
    if folder is not None and call.excinfo is not None:
        for number, report in enumerate(_reports(call.excinfo.value)):
            path = Path(item.config.invocation_params.dir, folder, _file_name(item.nodeid, number))
            path.parent.mkdir(parents=True, exist_ok=True)
            report.to_html(path)
            outcome.sections.append(("fastgd report", str(path)))
    return outcome


def _reports(error: BaseException) -> Iterator[Any]:
    """Yield the reports of an exception, of its causes, and of the members of a group."""
    seen: list[BaseException] = []
    left = [error]
    while left:
        one = left.pop(0)
        if one in seen:
            continue
        seen.append(one)
        if type(one).__name__ == "Disagreement" and hasattr(one, "report"):
            yield one.report
        left += [*getattr(one, "exceptions", ()), *(e for e in (one.__cause__, one.__context__) if e is not None)]


def _file_name(nodeid: str, number: int) -> str:
    """Return a file name that is valid on every file system and unique to a test."""
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "-", nodeid).strip("-")[-120:]
    return f"{plain}-{hashlib.sha256(f'{nodeid} {number}'.encode()).hexdigest()[:8]}.html"
