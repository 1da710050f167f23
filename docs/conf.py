"""How Sphinx builds these pages: `make docs`, into build/docs, without the network.

The pages are plain Markdown that reads well where the repository is shown, so links in them are
relative and lead to files. Here the same links lead to pages of the site (`lead_to_pages`).
"""

import builtins
import os.path
import re
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

import asyncrev

ROOT = Path(__file__).parents[1]

project = "asyncrev"
author = "asyncrev contributors"
version = release = asyncrev.__version__
html_title = f"asyncrev {version}"

extensions = ["myst_parser", "sphinx_copybutton", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_copyright = False
pygments_style = "friendly"

# Headings are link targets under the same names as on a code forge, down to ###.
myst_heading_anchors = 3

# A prompt is not copied, nor is what a command prints.
copybutton_prompt_text = "$ "

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autoclass_content = "both"
napoleon_attr_annotations = False  # the signature tells them
python_maximum_signature_line_length = 88
python_use_unqualified_type_names = True

# Names of Python itself lead nowhere: their inventory would have to be downloaded at every build.
# Everything else that a docstring or a signature names must have a place on these pages.
nitpick_ignore_regex = [
    (r"py:.*", rf"({'|'.join(sorted(sys.stdlib_module_names))})(\..*)?"),
    (r"py:.*", rf"({'|'.join(dir(builtins))})(\..*)?"),
    (r"py:.*", r"_?(hypothesis|pytest)\..*"),
    (r"py:class", r"asyncrev\..*\.Result"),  # type variables
    (r"py:class", r"asyncrev\..*\.(ConnectionTotals|Pending|TlsParameters)"),  # internal
]


# -- links between pages -------------------------------------------------------------------------

# Pages that show a file from elsewhere; links in them are relative to that file.
SHOWN = {
    "overview": "README.md",
    "changelog": "CHANGELOG.md",
    "contributing": "CONTRIBUTING.md",
}
# What a link may lead to, from the root of the repository, and the page that has it.
PAGES = {
    **{file: page for page, file in SHOWN.items()},
    "docs": "index",
    "docs/decisions": "decisions",
    "docs/howto": "index",
    "examples": "examples",
}


# Where files are that no page shows.
REPOSITORY = "https://github.com/asyncrev/asyncrev/blob/main"


def lead_to_pages(app: Sphinx, doctree: nodes.document) -> None:
    """Let links to files and folders that have a page, but are none, lead to that page.

    Files that no page shows lead to the repository from a page that shows a file, and are downloads
    elsewhere, as MyST has it. What does not exist is a warning, so an error.
    """
    page = app.env.docname
    base = Path(SHOWN.get(page, f"docs/{page}")).parent
    kinds = (addnodes.pending_xref, addnodes.download_reference)
    for node in [found for kind in kinds for found in doctree.findall(kind)]:
        if node.get("reftype") != "myst":
            continue
        target, _, anchor = node["reftarget"].partition("#")
        if node.get("refdomain") == "doc":
            if not target.startswith("/"):
                continue  # a page
            path, anchor = os.path.relpath(f"{target}.md", ROOT), node["reftargetid"]
        else:
            path = os.path.normpath(base / target)
        if re.fullmatch(r"examples/\w+\.py", path):
            anchor, path = Path(path).name.replace(".", ""), "examples"
        known = path.removeprefix("docs/").removesuffix(".md")
        if path not in PAGES and not (page in SHOWN and known in app.env.found_docs):
            if page in SHOWN and (ROOT / path).is_file():
                text = nodes.inline("", "", *node.children[0].children)
                node.replace_self(nodes.reference("", "", text, refuri=f"{REPOSITORY}/{path}"))
            continue
        link = addnodes.pending_xref(
            refdomain="doc",
            refdoc=page,
            reftarget=PAGES.get(path, known),
            reftargetid=anchor or None,
            reftype="myst",
            refexplicit=True,
        )
        link += nodes.inline("", "", *node.children[0].children, classes=["xref", "myst"])
        node.replace_self(link)


def lead_to_pictures(app: Sphinx, doctree: nodes.document) -> None:
    """Let pictures in HTML of a file that a page shows lead to where the site has them."""
    if app.env.docname not in SHOWN:
        return
    for node in doctree.findall(nodes.raw):
        html = node.astext().replace('"docs/_static/', '"_static/')
        node.children = []
        node += nodes.Text(html)


# -- docstrings ----------------------------------------------------------------------------------

_CODE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")


def mark_up(app: Sphinx, what: str, name: str, obj: object, options: Any, lines: list[str]) -> None:
    """Let `code` in docstrings be code, and the public names among it links."""
    named_tuple = "Create new instance of "  # what Python says of its constructor
    lines[:] = [_CODE.sub(_as_rst, line) for line in lines if not line.startswith(named_tuple)]


def sign(
    app: Sphinx, what: str, name: str, obj: object, options: Any, signature: str, returned: str
) -> tuple[str, str] | None:
    """Show no constructor of a `typing.Protocol`: nobody calls it."""
    return ("", "") if getattr(obj, "_is_protocol", False) else None


def skip(
    app: Sphinx, what: str, name: str, obj: object, skipped: bool, options: Any
) -> bool | None:
    """Leave out the fields of named tuples, which their class describes."""
    return True if str(obj.__doc__).startswith("Alias for field number") else None


def _as_rst(found: re.Match[str]) -> str:
    text = found[1]
    first, _, rest = text.partition(".")
    if first in asyncrev.__all__ and re.fullmatch(r"\w*", rest):
        return f":py:obj:`{text} <asyncrev.{text}>`"
    return f"``{text}``"


def setup(app: Sphinx) -> None:
    """Register the functions above."""
    app.connect("doctree-read", lead_to_pages)
    app.connect("doctree-read", lead_to_pictures)
    app.connect("autodoc-skip-member", skip)
    app.connect("autodoc-process-signature", sign)
    # Before napoleon, which would take the backticks of its own output for a docstring's.
    app.connect("autodoc-process-docstring", mark_up, priority=400)
