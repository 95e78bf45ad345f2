"""The documentation site: `make docs`. The pages are those of the repository, as they are."""

from pathlib import Path

import fastgd

project = "fastgd"
author = copyright = "fastgd contributors"
version = release = fastgd.__version__
root_doc = "docs/index"
include_patterns = [
    "docs/**.md", "docs/generated/**.rst", "examples/own_descent/README.md", "README.md", "CHANGELOG.md",
    "CONTRIBUTING.md", "SECURITY.md", "benchmarks/NOTES.md", "tests/README.md",
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
    "write_computation_times": False,
    "min_reported_time": 3600,
}

html_theme = "pydata_sphinx_theme"
html_title = "fastgd"
html_static_path: list[str] = []
html_show_sourcelink = False
html_theme_options = {
    "navbar_end": ["theme-switcher"],
    "secondary_sidebar_items": ["page-toc"],
    "show_prev_next": True,
    "navigation_with_keys": False,
}
