"""release.notes: a tag, the artefacts and CHANGELOG.md have one version; what is new is printed."""

import pathlib
import subprocess
import sys

import pytest

from release.notes import (
    CHANGELOG,
    Mismatch,
    missing,
    notes,
    sections,
    unreleased,
    version_of_artefacts,
    version_of_tag,
)
from tests.support import ROOT

TEXT = """# Changelog

Words before.

## [Unreleased]

## [0.2.0] - 2026-12-01

### Added

- This, see [the page](docs/page.md).

## [0.1.0] - 2026-01-01

- That.

[Unreleased]: https://example.org/compare/v0.2.0...HEAD
[0.1.0]: https://example.org/tree/v0.1.0
"""
NEW = "### Added\n\n- This, see [the page](docs/page.md)."
WHEELS = [
    f"asyncrev-0.2.0-{python}-{platform}_{machine}.whl"
    for python in ("cp311-abi3", "cp314-cp314t")
    for platform in ("manylinux2014", "musllinux_1_2")
    for machine in ("x86_64", "aarch64")
]
WHEELS[0] = "asyncrev-0.2.0-cp311-abi3-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"
ALL = [*WHEELS, "asyncrev-0.2.0-py3-none-any.whl", "asyncrev-0.2.0.tar.gz"]


def test_sections_are_the_newest_first_and_without_the_links_of_headings() -> None:
    assert [part.name for part in sections(TEXT)] == ["Unreleased", "0.2.0", "0.1.0"]
    assert [part.text for part in sections(TEXT)] == ["", NEW, "- That."]


def test_notes_are_the_text_of_the_newest_version() -> None:
    assert notes(TEXT, "0.2.0") == NEW
    assert unreleased(TEXT) == ""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (TEXT.replace("[Unreleased]\n", "[Unreleased]\n\n- More.\n", 1), r"under \[Unreleased\]"),
        (TEXT.replace("[0.2.0]", "[0.3.0]"), r"begins with \[0\.3\.0\]"),
        (TEXT.replace(" - 2026-12-01", ""), "is followed by ''"),
        (TEXT.replace(NEW, ""), "says nothing"),
        ("# Changelog\n", "has no section"),
    ],
)
def test_changelog_that_is_not_ready_is_refused(text: str, words: str) -> None:
    with pytest.raises(Mismatch, match=words):
        notes(text, "0.2.0")


@pytest.mark.parametrize("version", ["0.2.0", "1.0.0rc1", "12.30.4a2"])
def test_tag_of_a_version_begins_with_v(version: str) -> None:
    assert version_of_tag(f"v{version}") == version


@pytest.mark.parametrize("tag", ["0.2.0", "v0.2", "v0.2.0.dev1", "v0.2.0-rc1", "v0.2.0\n", "vx"])
def test_other_tags_are_refused(tag: str) -> None:
    with pytest.raises(Mismatch, match="it must be like v0"):
        version_of_tag(tag)


def test_artefacts_must_be_of_one_version() -> None:
    assert version_of_artefacts([*ALL, "asyncrev-0.2.0.cdx.json"]) == "0.2.0"
    with pytest.raises(Mismatch, match=r"\['0.1.0', '0.2.0'\]"):
        version_of_artefacts([*ALL, "asyncrev-0.1.0-py3-none-any.whl"])
    with pytest.raises(Mismatch, match=r"versions \[\]"):
        version_of_artefacts(["notes.md"])


@pytest.mark.parametrize("name", ALL)
def test_artefact_that_is_missing_is_found(name: str) -> None:
    assert missing(ALL) == []
    (lacking,) = missing([other for other in ALL if other != name])
    assert lacking.startswith(r"asyncrev-0\.2\.0")


def run(*args: str) -> "subprocess.CompletedProcess[str]":
    """Run it as the workflow does."""
    command = [sys.executable, "-m", "release.notes", *args]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=30
    )


def test_command_prints_the_notes_or_says_what_differs(tmp_path: pathlib.Path) -> None:
    """Exit status 1, one line on stderr, nothing on stdout."""
    changelog = tmp_path / "CHANGELOG.md"
    changelog.write_text(TEXT, encoding="utf-8")
    dist = tmp_path / "dist"
    dist.mkdir()
    for name in ALL:
        (dist / name).touch()
    given = ("--changelog", str(changelog), "--dist", str(dist), "--complete")
    done = run("--tag", "v0.2.0", *given)
    assert (done.returncode, done.stdout) == (0, NEW + "\n"), done.stderr
    done = run("--tag", "v0.3.0", *given)
    assert (done.returncode, done.stdout) == (1, "")
    assert "begins with [0.2.0]" in done.stderr
    (dist / WHEELS[0]).unlink()
    done = run(*given)
    assert (done.returncode, done.stdout) == (1, "")
    assert r"asyncrev-0\.2\.0-cp311-abi3-manylinux\S*_x86_64" in done.stderr


def test_artefacts_of_another_version_than_the_tag_are_refused(tmp_path: pathlib.Path) -> None:
    changelog = tmp_path / "CHANGELOG.md"
    changelog.write_text(TEXT, encoding="utf-8")
    (tmp_path / "asyncrev-0.2.1.dev1.tar.gz").touch()
    done = run("--tag=v0.2.0", "--changelog", str(changelog), "--dist", str(tmp_path))
    assert done.returncode == 1
    assert done.stderr == "error: artefacts are of version 0.2.1.dev1, and the tag is v0.2.0\n"


def test_our_changelog_can_be_read() -> None:
    """Each heading of a version has its date, and something to say."""
    found = sections(CHANGELOG.read_text(encoding="utf-8"))
    assert found
    for part in found:
        assert part.text or part.name == "Unreleased"
        assert (
            part.rest == "" if part.name == "Unreleased" else len(part.rest) == len(" - 2026-12-01")
        )
