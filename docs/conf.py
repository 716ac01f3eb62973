"""How Sphinx builds these pages: `make docs`."""

import fpnas

# The package imports what it offers when it is asked for; autodoc documents what is there.
vars(fpnas).update({name: getattr(fpnas, name) for name in fpnas.__all__})

project = "fpnas"
version = release = fpnas.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = "fpnas"
html_static_path = ["_static"]
html_css_files = ["page.css"]
html_show_copyright = False
# Nothing of a page comes from elsewhere, and the sources are in the repository already.
html_copy_source = False
html_show_sourcelink = False

# Headings are targets of links, `page.md#heading`, as on code hosts.
myst_heading_anchors = 3
# A single backquote in a docstring is code, as in Markdown.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 88
napoleon_numpy_docstring = False
