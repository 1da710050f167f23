"""option_rows_limits: a row for each limit, with its unit."""

import dataclasses

from asyncrev.command.option import RING
from asyncrev.command.option_rows_limits import LIMIT_OPTIONS, limit_row
from asyncrev.command.options import OPTIONS
from asyncrev.limits import Limits


def test_each_limit_has_at_most_one_row() -> None:
    """Two have none: nobody has had a reason to change them."""
    fields = {field.name for field in dataclasses.fields(Limits)}
    set_by_rows = [row.limit for row in OPTIONS if row.limit]
    assert len(set_by_rows) == len(set(set_by_rows))
    assert fields - set(set_by_rows) == {"overflow_bytes", "accept_retry_s"}
    assert {row.limit for row in LIMIT_OPTIONS} <= fields


def test_default_is_that_of_the_limit_in_its_unit() -> None:
    assert limit_row("slot_bytes", RING, "").default == "256KiB"
    assert limit_row("idle_timeout_s", RING, "").type.name == "seconds"
    assert limit_row("slots", RING, "").default == Limits().slots


def test_limit_that_follows_another_has_no_default() -> None:
    assert limit_row("low_water_bytes", RING, "", follows="half").default is None
