"""page_files: what is served is what is installed, and it asks for nothing from elsewhere."""

import hashlib
import html.parser
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from asyncrev.admin import page_files
from asyncrev.admin.message import Request, Response
from asyncrev.admin.page_files import CONTENT_SECURITY_POLICY, FILES, PageFiles

ROOT = Path(__file__).parents[2]
ASSETS = Path(page_files.__file__).with_name("assets")

# Of the package uplot 1.6.32 of the npm registry, unchanged.
UPLOT_SHA256 = {
    "uPlot.iife.min.js": "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
    "uPlot.min.css": "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
    "uPlot.LICENSE.txt": "8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd",
}


def respond(path: str, **headers: str) -> Response:
    request = Request(method="GET", target=path, headers=headers)
    return PageFiles().respond(request, path)


@pytest.mark.parametrize("path", FILES)
def test_file_comes_with_its_tag_and_not_a_second_time(path: str) -> None:
    """Another tag is another file."""
    first = respond(path)
    headers = dict(first.headers)
    assert (first.status, first.body) == (200, (ASSETS / FILES[path][0]).read_bytes())
    assert headers["Content-Security-Policy"] == CONTENT_SECURITY_POLICY
    assert headers["Cache-Control"] == "no-cache"
    tag = headers["ETag"]
    assert re.fullmatch(r'"[0-9a-f]{32}"', tag)
    for given in (tag, f"W/{tag}", f'"x", {tag}', "*"):
        again = respond(path, **{"if-none-match": given})
        assert (again.status, again.body) == (304, b"")
        assert dict(again.headers)["ETag"] == tag
    for given in ('"x"', "", tag.strip('"'), f'"x{tag[1:]}'):
        assert respond(path, **{"if-none-match": given}).status == 200


@pytest.mark.parametrize("name", UPLOT_SHA256)
def test_uplot_is_as_its_authors_published_it(name: str) -> None:
    """Its hashes are in the decision, too."""
    found = hashlib.sha256((ASSETS / name).read_bytes()).hexdigest()
    assert found == UPLOT_SHA256[name]
    decision = (ROOT / "docs/decisions/0025-live-page-and-top.md").read_text(encoding="utf-8")
    assert found in decision


def test_policy_allows_own_files_only() -> None:
    """No exception for inline scripts or styles, nor for eval."""
    rules = dict(rule.strip().split(" ", 1) for rule in CONTENT_SECURITY_POLICY.split(";"))
    assert rules["default-src"] == "'none'"
    assert {value for name, value in rules.items() if name.endswith("-src")} == {"'none'", "'self'"}
    assert "unsafe" not in CONTENT_SECURITY_POLICY


class Reader(html.parser.HTMLParser):
    """Notes elements with their attributes, and what is within scripts and styles."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.inline = ""
        self._within = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._within = tag

    def handle_endtag(self, tag: str) -> None:
        self._within = ""

    def handle_data(self, data: str) -> None:
        if self._within in ("script", "style"):
            self.inline += data.strip()


def read_page() -> Reader:
    reader = Reader()
    reader.feed((ASSETS / "page.html").read_text(encoding="utf-8"))
    return reader


def test_page_has_nothing_inline_and_nothing_from_elsewhere() -> None:
    """What it refers to is served here."""
    reader = read_page()
    assert reader.inline == ""
    for _, attributes in reader.elements:
        assert not [name for name in attributes if name == "style" or name.startswith("on")]
    given = [
        attributes[name]
        for _, attributes in reader.elements
        for name in ("src", "href")
        if name in attributes
    ]
    files = [one for one in given if one and one.startswith("/assets/")]
    assert set(files) <= set(FILES)
    assert all(one and re.fullmatch(r"/[\w./]+", one) for one in given)


@pytest.mark.parametrize("name", ["page.js", "plots.js", "text.js", "page.css", "icon.svg"])
def test_own_files_refer_to_files_that_are_served(name: str) -> None:
    """And build no elements from text."""
    text = (ASSETS / name).read_text(encoding="utf-8")
    for found in re.findall(r'from "\./([\w.]+)"', text):
        assert f"/assets/{found}" in FILES
    elsewhere = set(re.findall(r"https?://[^\s\"']+", text))
    assert elsewhere <= {"http://www.w3.org/2000/svg"}  # the name of a language
    assert not re.search(r"innerHTML|insertAdjacentHTML|document\.write|eval\(|url\(", text)


def test_all_files_are_served_and_installed() -> None:
    """None is left over; the pattern of the package's data takes all of them."""
    assert {name for name, _ in FILES.values()} == {path.name for path in ASSETS.iterdir()}
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    data = project["tool"]["setuptools"]["package-data"]["asyncrev"]
    installed = {path.name for pattern in data for path in (ROOT / "asyncrev").glob(pattern)}
    assert installed >= {path.name for path in ASSETS.iterdir()}
    assert "asyncrev/admin/assets/uPlot.LICENSE.txt" in project["project"]["license-files"]


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours #rrggbb (WCAG 2.2)."""

    def luminance(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [
            part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
        ]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_colours_have_contrast_in_both_schemes() -> None:
    """As the style sheet says: text 7:1, lines of plots 4.5:1."""
    text = (ASSETS / "page.css").read_text(encoding="utf-8")
    light, dark = (
        dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", part))
        for part in text.split("@media (prefers-color-scheme: dark)")
    )
    assert light.keys() == dark.keys()
    for scheme in (light, dark):
        for back in ("back", "card"):
            for name in ("text", "quiet", "link", "bad"):
                assert contrast(scheme[name], scheme[back]) >= 7, (name, back)
        for name in ("good", "bad"):
            assert contrast(scheme[name], scheme[f"{name}-back"]) >= 6, name
        for number in range(1, 6):
            assert contrast(scheme[f"line-{number}"], scheme["card"]) >= 4.5, number
