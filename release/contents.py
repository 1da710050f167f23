"""What must be in an artefact, and what must not: `python -m release.contents dist/*`.

The rules are our own, because they name our files. Each fault is one line with the artefact, what
is in it and what must be.
"""

import argparse
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from release.artefact import Artefact, Sdist, Wheel, artefact
from release.shared_objects import run_paths

__all__ = ["faults_of", "faults_of_folder"]

# About half as much again as there was in November 2026.
MOST_BYTES = {"pure": 1_000_000, "native": 1_300_000, "sdist": 5_000_000}

# Files below `share` of a wheel; each manual page has the name of a command.
COMPLETIONS = {
    "share/bash-completion/completions/asyncrev",
    "share/zsh/site-functions/_asyncrev",
    "share/fish/vendor_completions.d/asyncrev.fish",
}
PAGES = "share/man/man1"
ASSETS = ("asyncrev/admin/assets/", "asyncrev/bench/assets/")
LIBRARIES = {"_kernels", "_plane"}
# What each wheel has of the package beside Python files, assets and libraries.
MARKERS = ("asyncrev/py.typed", "asyncrev/version.txt")
LICENCES = {"licenses/LICENSE", "licenses/asyncrev/admin/assets/uPlot.LICENSE.txt"}

# How git writes its archives, which an sdist is not.
ONLY_IN_GIT = (".gitattributes", ".git_archival.txt")
NEVER_IN_AN_SDIST = (".so", ".pyc", ".whl", ".gz", ".o")
SDIST_FILES = {
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "MANIFEST.in",
    "Makefile",
    "PKG-INFO",
    "README.md",
    "pyproject.toml",
    "setup.py",
}


def faults_of(path: Path, tracked: Sequence[str] = ()) -> list[str]:
    """Return what is wrong with one artefact.

    Args:
        path: a wheel or an sdist.
        tracked: the files of the commit that it was built from, if they are known.
    """
    one = artefact(path)
    found = [*_any_faults(one)]
    if isinstance(one, Wheel):
        found += [*_wheel_faults(one), *_member_faults(one), *_share_faults(one)]
    elif isinstance(one, Sdist):
        found += _sdist_faults(one, tracked)
    return [f"{path.name}: {fault}" for fault in found]


def faults_of_folder(dist: Path, tracked: Sequence[str] = ()) -> list[str]:
    """Return what is wrong with each artefact of a folder, and with all of them together."""
    paths = [*sorted(dist.glob("*.whl")), *sorted(dist.glob("*.tar.gz"))]
    if not paths:
        return [f"{dist}: there are no artefacts in it; make them with `make artefacts`"]
    found = [fault for path in paths for fault in faults_of(path, tracked)]
    artefacts = [artefact(path) for path in paths]
    versions = {one.version for one in artefacts}
    if len(versions) > 1:
        found.append(f"{dist}: the versions are {sorted(versions)}; they must be one")
    # Each is made of the same Python files, whatever else it has.
    first, *others = artefacts
    for other in others:
        for name in sorted(first.modules ^ other.modules):
            found.append(f"{dist}: {name} is in one of {first.path.name}, {other.path.name} only")
    return found


def _any_faults(one: Artefact) -> Iterator[str]:
    size, most = one.path.stat().st_size, MOST_BYTES[one.kind]
    if size > most:
        yield f"it has {size:,} bytes; {most:,} is the most"
    doubled = sorted({name for name in one.names if one.names.count(name) > 1})
    if doubled:
        yield f"{doubled} are in it twice"
    if one.metadata["Name"] != "asyncrev" or one.metadata["Version"] != one.version:
        yield f"its metadata are of {one.metadata['Name']} {one.metadata['Version']}"
    if one.metadata["License-Expression"] != "MIT":
        yield f"its licence is {one.metadata['License-Expression']}; it must be MIT"
    if one.metadata["Description-Content-Type"] != "text/markdown":
        yield f"the README is {one.metadata['Description-Content-Type']}; it must be text/markdown"
    for link in one.relative_links():
        yield f"the README has the link {link}, which leads nowhere on the package index"


def _wheel_faults(one: Wheel) -> Iterator[str]:
    if sorted(one.info.get_all("Tag") or []) != sorted(one.tags):
        yield f"its tags are {one.info.get_all('Tag')}; by its name they must be {one.tags}"
    pure = one.info["Root-Is-Purelib"] == "true"
    if pure != (one.kind == "pure"):
        yield f"Root-Is-Purelib is {one.info['Root-Is-Purelib']} in a {one.kind} wheel"
    if one.kind == "native" and not re.search("-(many|musl)linux_", one.tags[0]):
        yield f"its tag is {one.tags[0]}; an index takes manylinux and musllinux only"
    yield from one.record_faults()
    if one.entry_points != {"asyncrev": "asyncrev.command.entry:main"}:
        yield f"its commands are {one.entry_points}"
    for name in sorted(LICENCES - one.dist_info):
        yield f"{name} is missing in its dist-info"


def _member_faults(one: Wheel) -> Iterator[str]:
    for name in MARKERS:
        if name not in one.names:
            yield f"{name} is missing"
    told = one.read("asyncrev/version.txt").decode().strip() if MARKERS[1] in one.names else ""
    if told and told != one.version:
        yield f"asyncrev/version.txt says {told}"
    for folder in ASSETS:
        if not any(name.startswith(folder) for name in one.names):
            yield f"{folder} is missing"
    libraries = set()
    for name in one.package:
        if not name.startswith("asyncrev/"):
            yield f"{name} is not of asyncrev"
        elif name.endswith(".so") and one.kind == "native":
            libraries.add(name.removeprefix("asyncrev/native/").partition(".")[0])
            for path in run_paths(one.read(name)):
                yield f"{name} looks for libraries in {path}"
        elif not (name.endswith(".py") or name.startswith(ASSETS) or name in MARKERS):
            yield f"{name} must not be in it"
    expected = LIBRARIES if one.kind == "native" else set()
    if libraries != expected:
        yield f"its libraries are {sorted(libraries)}; they must be {sorted(expected)}"


def _share_faults(one: Wheel) -> Iterator[str]:
    pages = {name for name in one.data if name.startswith(f"{PAGES}/")}
    for name in sorted(COMPLETIONS - one.data):
        yield f"{name} is missing"
    for name in sorted(one.data - COMPLETIONS - pages):
        yield f"{name} must not be in it"
    if f"{PAGES}/asyncrev.1" not in pages or f"{PAGES}/asyncrev-serve.1" not in pages:
        yield f"its manual pages are {sorted(pages)}; asyncrev.1 or asyncrev-serve.1 is missing"


def _sdist_faults(one: Sdist, tracked: Sequence[str]) -> Iterator[str]:
    if one.tops != {f"asyncrev-{one.version}"}:
        yield f"it unpacks to {sorted(one.tops)}; it must be asyncrev-{one.version}"
    names = {*one.names}
    for name in sorted(SDIST_FILES - names):
        yield f"{name} is missing"
    for name in one.names:
        if name.endswith(NEVER_IN_AN_SDIST) or name.startswith((".git/", "build/", "dist/")):
            yield f"{name} must not be in it"
    for name in tracked:
        if name not in names and not name.startswith(ONLY_IN_GIT):
            yield f"{name} is missing"


def main() -> None:
    """Check the artefacts of a folder; exit with 1 and a line for each fault."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("dist", type=Path, help="the folder that they are in")
    found = faults_of_folder(parser.parse_args().dist)
    if found:
        raise SystemExit("\n".join(found))


if __name__ == "__main__":
    main()
