"""option_rows_processing: what is done with input."""

from asyncrev.command.option import PROCESSING, TIMEOUTS
from asyncrev.command.option_rows_processing import PROCESSING_OPTIONS


def test_rows_are_of_one_group_but_for_a_timeout() -> None:
    groups = {row.name: row.group for row in PROCESSING_OPTIONS if row.group != PROCESSING}
    assert groups == {"executor_timeout_s": TIMEOUTS}


def test_settings_of_an_executor_need_one() -> None:
    rows = [row for row in PROCESSING_OPTIONS if row.name.startswith("executor_")]
    assert len(rows) == 5
    assert {row.needs for row in rows} == {"executor"}
