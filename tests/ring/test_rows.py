"""rows: which classes are used."""

from asyncrev.native import choice
from asyncrev.ring import row, rows


def test_classes_are_those_of_the_plane_that_was_chosen() -> None:
    """`Lane` and `LaneWork` are derived from them."""
    expected = row if choice.PLANE is None else choice.PLANE
    assert (rows.Row, rows.Work) == (expected.Row, expected.Work)
