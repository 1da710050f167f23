"""The names of grammars, and grammars of a user's own."""

import sys

import pytest

from asyncrev.errors import SettingsError
from asyncrev.frames.lines import Lines
from asyncrev.frames.registry import FRAMINGS, as_framing
from asyncrev.limits import LEAST_READ_BYTES, Limits


def test_framings_have_the_names_that_settings_use() -> None:
    """Each under its own; raw is none."""
    assert list(FRAMINGS) == ["line", "len32", "len64"]
    assert all(as_framing(name) is framing for name, framing in FRAMINGS.items())
    assert all(framing.name == name for name, framing in FRAMINGS.items())
    assert as_framing("raw") is None


def test_framing_of_another_name_is_refused_with_those_that_are() -> None:
    """So a user who mistyped it sees what was meant; one with an object, what that must be."""
    names = "it must be one of raw, line, len32, len64"
    with pytest.raises(SettingsError) as caught:
        as_framing("lines")
    assert str(caught.value) == f"framing is 'lines'; {names}"
    with pytest.raises(SettingsError) as caught:
        as_framing(4)
    assert str(caught.value) == (
        f"framing is 4; {names}, or an object of a class derived from Grammar"
    )


class Roomy(Lines):
    """Lines with more beside the payload than the limits allow for."""

    __slots__ = ("beside_bytes",)
    name = "roomy"

    def __init__(self, beside_bytes: int) -> None:
        self.beside_bytes = beside_bytes

    def overhead_bytes(self, max_frame_bytes: int) -> int:
        """Return the number that the test has chosen."""
        return self.beside_bytes


def test_longest_frame_that_just_fits_the_connections_part_of_the_pool_passes() -> None:
    """With a small read behind it; a byte more is refused, with all numbers."""
    limits = Limits()
    room_bytes = limits.pool_connection_bytes - limits.max_frame_bytes - LEAST_READ_BYTES
    fits = Roomy(room_bytes)
    assert as_framing(fits, limits) is fits
    with pytest.raises(SettingsError) as caught:
        as_framing(Roomy(room_bytes + 1), limits)
    assert str(caught.value) == (
        f"pool_connection_bytes is {limits.pool_connection_bytes}; roomy frames of "
        f"max_frame_bytes, {limits.max_frame_bytes}, need at least "
        f"{limits.pool_connection_bytes + 1}"
    )


@pytest.mark.parametrize(("name", "most"), [("len32", 2**32 - 1), ("len64", sys.maxsize >> 3)])
def test_longest_frame_is_what_its_prefix_can_say(name: str, most: int) -> None:
    """Longer ones could not be announced, so such a limit is refused rather than never reached."""
    limits = Limits(max_frame_bytes=most, pool_bytes=sys.maxsize)
    assert as_framing(name, limits) is FRAMINGS[name]
    if name == "len32":
        longer = limits.replace(max_frame_bytes=most + 1)
        with pytest.raises(SettingsError) as caught:
            as_framing(name, longer)
        assert str(caught.value) == (
            "max_frame_bytes is 4294967296; it must be at most 4294967295, the longest that a "
            "frame of len32 can be"
        )
