"""The documentation site: `make docs`. The pages are those of the repository, as they are."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import fastgd

project = "fastgd"
author = copyright = "fastgd contributors"
version = release = fastgd.__version__
root_doc = "docs/index"
include_patterns = [
    "docs/**.md", "docs/generated/**.rst", "docs/generated/command-line.md", "examples/own_descent/README.md", "README.md", "CHANGELOG.md",
    "CONTRIBUTING.md", "SECURITY.md", "benchmarks/NOTES.md", "benchmarks/RESULTS.md", "tests/README.md",
    "kernels/cpu/README.md", "kernels/cpu/simd/README.md",
]  # fmt: skip
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "numpydoc", "sphinx_copybutton", "sphinx_gallery.gen_gallery"]

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 4
autosummary_generate = True
templates_path = [str(Path(__file__).parent / "_templates")]  # autosummary looks below the source folder else
autodoc_typehints = "none"  # the docstrings have the types
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
copybutton_prompt_text = r">>> |\.\.\. "
copybutton_prompt_is_regexp = True

sphinx_gallery_conf = {  # the tutorials: programs that run in the build, and fail it
    "examples_dirs": ["examples/tutorials"],
    "gallery_dirs": ["docs/generated/tutorials"],
    "backreferences_dir": "docs/generated/backreferences",
    "filename_pattern": r"\.py$",
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": True,
    "image_scrapers": ("matplotlib",),
    "show_signature": False,
    "remove_config_comments": True,
    "write_computation_times": False,
    "min_reported_time": 3600,
}

html_theme = "pydata_sphinx_theme"
html_title = "fastgd"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_theme_options = {
    "navbar_end": ["theme-switcher"],
    "secondary_sidebar_items": ["page-toc"],
    "show_prev_next": True,
    "navigation_with_keys": False,
}


def write_command_line(_: Any) -> None:
    """Write the page of the command line: what `fastgd COMMAND --help` says."""
    page = "# The command line\n\nWhat `fastgd COMMAND --help` says.\n"
    for command in ("", "fit", "sweep", "verify", "demo", "info", "bench"):
        words = [*command.split(), "--help"]
        call = [str(Path(sys.executable).with_name("fastgd")), *words]
        told = subprocess.run(call, env={**os.environ, "COLUMNS": "96", "TERM": "dumb"}, check=True, capture_output=True, text=True).stdout
        page += f"\n## fastgd {command}\n\n```text\n{told.strip()}\n```\n" if command else f"\n```text\n{told.strip()}\n```\n"
    path = Path(__file__).parent / "generated" / "command-line.md"
    path.parent.mkdir(exist_ok=True)
    path.write_text(page, encoding="utf-8")


def setup(app: Any) -> None:
    """Write what is made from the code before pages are read."""
    app.connect("builder-inited", write_command_line)
