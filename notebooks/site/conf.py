"""Sphinx's settings for the book: committed outputs, no execution, nothing fetched from outside.

``python notebooks/build.py site`` puts the notebooks, index.md and MathJax into build/site_source and runs Sphinx.
"""

project = "minigpt2"
html_title = "GPT-2 in plain NumPy"
copyright = ""
language = "en"

extensions = ["myst_nb"]
nb_execution_mode = "off"  # shows the outputs that are stored
myst_enable_extensions = ["dollarmath", "amsmath"]
suppress_warnings = ["mystnb.unknown_mime_type"]

html_theme = "sphinx_book_theme"
html_theme_options = {"show_toc_level": 2, "use_download_button": False, "use_fullscreen_button": False}
html_show_copyright = html_show_sphinx = False
html_copy_source = False
mathjax_path = "tex-svg.js"  # MathJax 3 in one file, fonts included; version 4 would fetch its fonts
