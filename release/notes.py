"""Hold a tag, the artefacts and CHANGELOG.md against each other; print what is new in a version.

    python -m release.notes --tag v0.2.0 --dist dist     before anything is published
    python -m release.notes --unreleased                 what the next version would say
    python -m release.notes --dist dist --complete       all wheels of a release are there

The release workflow runs these where nothing is installed: they need the standard library only.
"""

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

CHANGELOG = Path(__file__).parents[1] / "CHANGELOG.md"
# As PEP 440 writes what is published: no .dev, no local part.
TAG = re.compile(r"v(\d+\.\d+\.\d+(?:(?:a|b|rc)\d+)?)")
HEADING = re.compile(r"^## \[([^\]]+)\](.*)$", re.MULTILINE)
DATE = re.compile(r" - \d{4}-\d{2}-\d{2}")
LINK = re.compile(r"^\[[^\]]+\]: \S+\n?", re.MULTILINE)  # those of the headings, at the end

# The wheels of a release beside the pure one, by their tags; see [tool.cibuildwheel].
PYTHONS = ("cp311-abi3", "cp314-cp314t")
LIBCS = ("manylinux", "musllinux")
MACHINES = ("x86_64", "aarch64")


class Mismatch(Exception):
    """Something is not as a release must be; the message is for whoever makes it."""


@dataclass(frozen=True)
class Section:
    """A part of the changelog: its version or "Unreleased", the rest of its heading, its text."""

    name: str
    rest: str
    text: str


def sections(changelog: str) -> list[Section]:
    """Return the parts of a changelog, the newest first."""
    _, *parts = HEADING.split(changelog)
    return [
        Section(name, rest, LINK.sub("", text).strip())
        for name, rest, text in zip(parts[::3], parts[1::3], parts[2::3], strict=True)
    ]


def version_of_tag(tag: str) -> str:
    """Return the version that a tag is for.

    Raises:
        Mismatch: it is not the tag of a version.
    """
    found = TAG.fullmatch(tag)
    if not found:
        raise Mismatch(f"the tag is {tag!r}; it must be like v0.2.0 or v0.2.0rc1")
    return found[1]


def notes(changelog: str, version: str) -> str:
    """Return what is new in `version`, which must be the newest.

    Raises:
        Mismatch: it is not; or its heading has no date; or there is nothing new.
    """
    found = [part for part in sections(changelog) if part.name != "Unreleased" or part.text]
    if not found:
        raise Mismatch(f"the changelog has no section; it must have ## [{version}] - DATE")
    newest = found[0]
    if newest.name == "Unreleased":
        raise Mismatch(f"changes stand under [Unreleased]; move them to ## [{version}] - DATE")
    if newest.name != version:
        raise Mismatch(f"the changelog begins with [{newest.name}]; it must with [{version}]")
    if not DATE.fullmatch(newest.rest):
        raise Mismatch(
            f"[{version}] is followed by {newest.rest!r}; it must be like ' - 2026-12-01'"
        )
    if not newest.text:
        raise Mismatch(f"[{version}] says nothing")
    return newest.text


def unreleased(changelog: str) -> str:
    """Return what stands under [Unreleased], if there is such a section."""
    return "".join(part.text for part in sections(changelog) if part.name == "Unreleased")


def version_of_artefacts(names: Sequence[str]) -> str:
    """Return the version that all artefacts have.

    Raises:
        Mismatch: there are none, or they have several.
    """
    built = [name for name in names if name.endswith((".whl", ".tar.gz"))]
    versions = {name.removesuffix(".tar.gz").split("-")[1] for name in built}
    if len(versions) != 1:
        raise Mismatch(f"artefacts are of versions {sorted(versions)}; it must be one: {built}")
    return versions.pop()


def missing(names: Sequence[str]) -> list[str]:
    """Return the artefacts of a release that are not among these, as patterns."""
    version = re.escape(version_of_artefacts(names))
    wanted = [rf"asyncrev-{version}\.tar\.gz", rf"asyncrev-{version}-py3-none-any\.whl"]
    for python in PYTHONS:
        for libc in LIBCS:
            for machine in MACHINES:
                wanted.append(rf"asyncrev-{version}-{python}-{libc}\S*_{machine}\S*\.whl")
    return [one for one in wanted if not any(re.fullmatch(one, name) for name in names)]


def checked(options: argparse.Namespace) -> str:
    """Do what the command line asks for; return what is to be printed.

    Raises:
        Mismatch: something is not as it must be.
    """
    printed = ""
    changelog = options.changelog.read_text(encoding="utf-8")
    version = version_of_tag(options.tag) if options.tag else ""
    if version:
        printed = notes(changelog, version)
    elif options.unreleased:
        printed = unreleased(changelog)
    if options.dist:
        names = sorted(path.name for path in options.dist.iterdir())
        built = version_of_artefacts(names)
        if version and built != version:
            raise Mismatch(f"artefacts are of version {built}, and the tag is {options.tag}")
        lacking = missing(names) if options.complete else []
        if lacking:
            raise Mismatch("\n".join(["no artefact is like", *lacking, "there are", *names]))
    return printed


def main() -> None:
    """Read the command line; exit with 1 and a message if something is not as it must be."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--tag", help="the tag of the release; its notes are printed")
    which.add_argument("--unreleased", action="store_true", help="print what has no version yet")
    parser.add_argument("--dist", type=Path, help="the folder with the artefacts")
    parser.add_argument("--complete", action="store_true", help="all must be there")
    parser.add_argument("--changelog", type=Path, default=CHANGELOG, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.complete and not options.dist:
        parser.error("--complete needs --dist")
    try:
        printed = checked(options)
    except (Mismatch, OSError) as error:
        raise SystemExit(f"error: {error}") from None
    if printed:
        print(printed)


if __name__ == "__main__":
    main()
