"""How the documentation site is made: `make docs`."""

import os
import sys
from pathlib import Path

import lensllm

os.environ.setdefault("HF_HUB_OFFLINE", "1")
sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "LensLLM"
author = "the LensLLM authors"
version = release = lensllm.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "command_help"]
exclude_patterns = ["_build"]
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
napoleon_numpy_docstring = False
napoleon_use_ivar = True

html_theme = "furo"
html_title = f"LensLLM {release}"
html_static_path = ["_static"]
html_css_files = ["wide.css"]
html_copy_source = False
