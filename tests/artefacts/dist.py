"""The folder with the artefacts, and which of them an interpreter takes."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import parse_wheel_filename

from release.artefact import Wheel
from tests.artefacts.pythons import Python

__all__ = ["DIST", "best_wheel", "native_wheel", "native_wheels", "one", "requirements"]

_named = os.environ.get("ASYNCREV_DIST")
DIST = Path(_named) if _named else None


def one(pattern: str) -> Path:
    """Return the only artefact of this kind."""
    assert DIST is not None
    paths = sorted(DIST.glob(pattern))
    assert len(paths) == 1, f"{DIST} has {paths}; it must have one {pattern} (make artefacts)"
    return paths[0]


def native_wheels(python: Python) -> list[Path]:
    """Return the wheels with native code that this interpreter takes on this machine."""
    taken = set(_tags(python))
    return [
        path
        for path in sorted(DIST.glob("*.whl") if DIST else ())
        if not path.name.endswith("-none-any.whl") and taken & parse_wheel_filename(path.name)[3]
    ]


def native_wheel(python: Python) -> Path:
    """Return the one wheel with native code that this interpreter takes."""
    wheels = native_wheels(python)
    assert len(wheels) == 1, f"{DIST} has {wheels} for Python {python.name}; it must have one"
    return wheels[0]


def best_wheel(python: Python) -> Path:
    """Return the wheel that an installer would take for this interpreter."""
    return (native_wheels(python) or [one("*-none-any.whl")])[0]


def requirements(wheel: Path, extras: Sequence[str]) -> list[Requirement]:
    """Return what the wheel needs, with these extras, on any Python."""
    lines = Wheel(wheel).metadata.get_all("Requires-Dist") or []
    found = [Requirement(line) for line in lines]
    environments = [{"extra": extra} for extra in ("", *extras)]
    return [
        each
        for each in found
        if each.marker is None or any(each.marker.evaluate(values) for values in environments)
    ]


def _tags(python: Python) -> Iterator[Tag]:
    version = (python.major, python.minor)
    yield from cpython_tags(version, [python.abi])
    yield from compatible_tags(version, f"cp{python.major}{python.minor}")


if DIST is None:
    pytest.skip(
        "ASYNCREV_DIST names no folder with artefacts (make artefacts install-tests)",
        allow_module_level=True,
    )
