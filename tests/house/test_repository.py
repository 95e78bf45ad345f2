"""What surrounds the code: the hook before a commit, the hosted run, forms for issues, commands."""

from __future__ import annotations

import re

import pytest
import yaml

from tests.support.paths import ROOT

FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")


def loaded(path: str) -> dict:
    return yaml.safe_load((ROOT / path).read_text("utf-8"))


def test_the_hook_before_a_commit_is_make_check():
    """One command, so that it cannot differ from what CI runs; nothing is fetched."""
    (repository,) = loaded(".pre-commit-config.yaml")["repos"]
    (hook,) = repository["hooks"]
    assert repository["repo"] == "local"
    assert (hook["language"], hook["entry"], hook["pass_filenames"]) == ("system", "make check", False)
    assert "make check" in (ROOT / ".ci" / "run").read_text("utf-8").splitlines()


def test_the_hosted_run_calls_the_same_script():
    workflow = loaded(".github/workflows/ci.yml")
    (job,) = workflow["jobs"].values()
    assert "bash .ci/run" in [step.get("run") for step in job["steps"]]
    assert workflow["permissions"] == {"contents": "read"}


@pytest.mark.parametrize("form", [form for form in FORMS if form.name != "config.yml"], ids=lambda form: form.stem)
def test_a_form_asks_for_what_fastgd_info_says(form):
    """The keys are those of GitHub's forms: a form with another one is not shown."""
    content = yaml.safe_load(form.read_text("utf-8"))
    assert set(content) == {"name", "description", "labels", "body"}
    for field in content["body"]:
        assert field["type"] in {"markdown", "textarea", "dropdown", "input"}
        assert set(field) <= {"type", "id", "attributes", "validations"}
        assert field["type"] == "markdown" or {"id", "attributes"} <= set(field)
    assert "Output of `fastgd info`" in [field["attributes"].get("label") for field in content["body"]]


def test_the_forms_are_found():
    assert {"bug", "wrong_number", "question", "config"} == {form.stem for form in FORMS}


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_a_page_names_commands_that_are_there(page):
    """Every `make …` is a target, every file that pytest is given exists."""
    text = (ROOT / page).read_text("utf-8")
    targets = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
    named = set(re.findall(r"(?:^ {4}|`)make ([a-z-]+)", text, re.MULTILINE))
    assert {"test"} < named | {"test"}
    assert named <= targets
    for path in re.findall(r"-m pytest (\S+)", text):
        assert (ROOT / path).exists(), path
