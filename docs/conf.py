"""Configuration of the documentation's site, for Sphinx: `scons docs` builds it in build/docs."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE / "_extensions")]

from rbootimg import __version__  # noqa: E402

project = "rbootimg"
copyright = "the authors of rbootimg"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_copybutton", "reference", "captions"]
exclude_patterns = ["_*", "ISSUE_TEMPLATE.md"]
nitpicky = True
# Standard library, without a network to look it up; and names that are no part of the public API.
nitpick_ignore_regex = [("py:.*", r"(?!rbootimg).*"), ("py:.*", r"rbootimg\..*\..*")]

myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence", "deflist"]

default_role = "code"  # of docstrings, which are Markdown
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True

copybutton_prompt_text = "$ "
copybutton_line_continuation_character = "\\"

html_theme = "furo"
html_title = f"rbootimg {release}"
html_show_sphinx = False
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {"sidebar_hide_name": False}
