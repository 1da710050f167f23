"""The README as PyPI shows it: its relative links lead to the repository."""

import re
import runpy
import tomllib
from pathlib import Path

from tests.support import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
REPOSITORY = PROJECT["project"]["urls"]["Repository"]
SETUP = runpy.run_path(str(ROOT / "setup.py"), run_name="setup")


def test_readme_on_pypi_has_absolute_links_to_files_of_the_repository() -> None:
    """Every link of the page; links within it stay as they are."""
    assert "readme" in PROJECT["project"]["dynamic"]
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    relative = re.findall(r"\]\(((?!https?:|#)[^)]+)\)", text)
    assert len(relative) > 10
    links = re.findall(r"\]\(([^)]+)\)", SETUP["readme"]())
    assert all(link.startswith(("https://", "#")) for link in links)
    for link in relative:
        assert f"{REPOSITORY}/blob/main/{link}" in links
        assert (ROOT / link.partition("#")[0]).exists()


def test_absolute_links_and_anchors_are_left_alone(tmp_path: Path) -> None:
    """They are right already."""
    text = "[a](https://example.org/x), [b](#here), [c](mailto:a@example.org)"
    (tmp_path / "README.md").write_text(text, encoding="utf-8")
    path = tmp_path / "setup.py"
    path.write_bytes((ROOT / "setup.py").read_bytes())
    assert runpy.run_path(str(path), run_name="setup")["readme"]() == text
