"""Sphinx's settings for the site: committed outputs, no execution, nothing fetched from outside.

``python notebooks/build.py site`` puts the pages and MathJax into build/site_source and runs Sphinx.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]  # docstrings.py, and the minigpt2 that is documented

project = "minigpt2"
html_title = "GPT-2 in plain NumPy"
copyright = ""
language = "en"

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.viewcode", "sphinx_copybutton", "docstrings"]
nb_execution_mode = "off"  # shows the outputs that are stored
nb_code_prompt_show = "Imports"  # no other cell is folded
nb_code_prompt_hide = "Imports"
myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence"]
myst_dmath_double_inline = True  # a formula of its own line within an item of a list
myst_heading_anchors = 4
suppress_warnings = ["mystnb.unknown_mime_type", "ref.python"]  # fields called bytes, which is a type as well
smartquotes = False  # quotes are code more often than not

autodoc_default_options = {"members": True, "undoc-members": True, "ignore-module-all": True}
autodoc_member_order = "bysource"  # forward above backward
autodoc_preserve_defaults = True
add_module_names = False  # the page says which module it is
maximum_signature_line_length = 90
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
toc_object_entries_show_parents = "hide"

html_theme = "sphinx_book_theme"
html_theme_options = {
    "show_toc_level": 2,
    "use_download_button": False,
    "use_fullscreen_button": False,
    "footer_content_items": [],
    "navbar_persistent": [],  # the search is in the sidebar, and nowhere else
    "article_header_end": ["theme-switcher.html", "toggle-secondary-sidebar.html"],
}
html_css_files = ["site.css"]
html_search_scorer = str(HERE / "scorer.js")
html_show_copyright = html_show_sphinx = False
html_copy_source = False
html_show_sourcelink = False
html_domain_indices = False
mathjax_path = "tex-svg.js"  # MathJax 3 in one file, fonts included; version 4 would fetch its fonts
