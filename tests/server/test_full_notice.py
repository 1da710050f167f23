"""full_notice: what is logged of a limit that is reached again and again."""

import logging

import pytest

from asyncrev.server import full_notice
from asyncrev.server.full_notice import FullNotice
from tests.support import until

on_all = pytest.mark.asyncio


@on_all
async def test_limit_is_told_when_it_is_reached_and_when_it_is_left(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Not at each connection that ends and lets another in; the last line is what is true."""
    monkeypatch.setattr(full_notice, "NOTICE_AFTER_S", 0.01)
    caplog.set_level(logging.INFO, "asyncrev")
    notice = FullNotice("most, which is 7", "others wait", "they go on")
    notice.see(False)
    for _ in range(3):
        notice.see(True)
        notice.see(False)
    notice.see(True)
    await until(lambda: notice._look_again is None, "it has looked again")
    reached = ("WARNING", "most, which is 7, is reached; others wait")
    assert told(caplog) == [reached]
    notice.see(False)
    await until(lambda: len(told(caplog)) == 2, "that it was left is told")
    assert told(caplog)[1] == ("INFO", "below most, which is 7, again; they go on")
    notice.see(True)
    assert told(caplog)[2:] == [reached]
    notice.see(False)
    notice.close()
    notice.close()
    assert notice._look_again is None


def told(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [(record.levelname, record.getMessage()) for record in caplog.records]
