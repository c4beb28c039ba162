"""How the documentation site is made: `sphinx-build -W -c docs . site`, from the project's folder.

The project's folder is the source, so that links between pages, notebooks and files are the same
here and on the site. Nothing is fetched when it is built, nor when it is read.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # Sphinx looks for `reference_pages` there

project = "mmkd_tf"
copyright = "mmkd_tf contributors; Apache-2.0"  # noqa: A001
root_doc = "docs/index"
include_patterns = [
    "docs/**.md",
    "notebooks/*.ipynb",
    "saved_models/README.md",
    "studies/**.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
]
exclude_patterns = ["**/.*", "build", "dist", "site"]

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "reference_pages"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
nb_execution_mode = "off"  # tests/test_notebooks.py runs them; pages show the outputs in git
html_math_renderer = "mathml"

default_role = "code"  # docstrings have single backquotes
autodoc_inherit_docstrings = False
autodoc_typehints = "none"  # the docstrings say it in words
autodoc_member_order = "groupwise"
napoleon_use_rtype = False

html_theme = "furo"
html_title = "mmkd_tf"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_additional_pages = {"index": "start.html"}
templates_path = ["_templates"]
