"""version: one place, well formed, told everywhere."""

import re

import asyncrev
from asyncrev.version import __version__
from tests.support import ROOT


def test_version_is_semantic() -> None:
    """MAJOR.MINOR.PATCH, with at most a suffix that packaging knows."""
    assert re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?(\.dev\d+)?", __version__)


def test_version_is_a_public_name() -> None:
    """`asyncrev.__version__` is what people look for."""
    assert asyncrev.__version__ == __version__


def test_version_stands_in_one_place() -> None:
    """The build reads the module; pyproject.toml has no number of its own."""
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert 'dynamic = ["version", "readme"]' in pyproject
    assert 'version = { attr = "asyncrev.version.__version__" }' in pyproject
    assert f'version = "{__version__}"' not in pyproject
