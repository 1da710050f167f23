"""The README as PyPI shows it: its relative links lead to the repository."""

import re
import tomllib

from tests.support import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
HOOK = PROJECT["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]
REPOSITORY = PROJECT["project"]["urls"]["Repository"]


def on_pypi(text: str) -> str:
    """Return what the build hook makes of `text`."""
    for substitution in HOOK["substitutions"]:
        text = re.sub(substitution["pattern"], substitution["replacement"], text)
    return text


def test_readme_on_pypi_has_absolute_links_to_files_of_the_repository() -> None:
    """Every link of the page; links within it stay as they are."""
    assert HOOK["fragments"] == [{"path": "README.md"}]
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    relative = re.findall(r"\]\(((?!https?:|#)[^)]+)\)", text)
    assert len(relative) > 10
    links = re.findall(r"\]\(([^)]+)\)", on_pypi(text))
    assert all(link.startswith(("https://", "#")) for link in links)
    for link in relative:
        assert f"{REPOSITORY}/blob/main/{link}" in links
        assert (ROOT / link.partition("#")[0]).exists()


def test_absolute_links_and_anchors_are_left_alone() -> None:
    """They are right already."""
    text = "[a](https://example.org/x), [b](#here), [c](mailto:a@example.org)"
    assert on_pypi(text) == text
