"""The names of grammars, and grammars of a user's own."""

import pytest

from asyncrev.errors import SettingsError
from asyncrev.frames.registry import FRAMINGS, as_framing


def test_framings_have_the_names_that_settings_use() -> None:
    """Each under its own; raw is none."""
    assert list(FRAMINGS) == ["line", "len32", "len64"]
    assert all(as_framing(name) is framing for name, framing in FRAMINGS.items())
    assert all(framing.name == name for name, framing in FRAMINGS.items())
    assert as_framing("raw") is None


def test_framing_of_another_name_is_refused_with_those_that_are() -> None:
    """So a user who mistyped it sees what was meant."""
    with pytest.raises(SettingsError, match="'lines'; it must be one of raw, line, len32, len64"):
        as_framing("lines")
