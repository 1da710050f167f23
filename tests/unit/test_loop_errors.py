"""loop_errors: the loop's exception handler gets the error, and what it raises goes no further."""

import asyncio
from typing import Any

import pytest

from asyncrev.loop_errors import report_to_loop


def handled(handler: Any) -> None:
    """Report an error to a loop with `handler`."""
    loop = asyncio.new_event_loop()
    try:
        loop.set_exception_handler(handler)
        report_to_loop(loop, "something failed", ERROR, transport="its transport")
    finally:
        loop.close()


ERROR = ValueError("the error")


def test_handler_gets_message_exception_and_context() -> None:
    """As asyncio's own reports have them."""
    seen: list[dict[str, Any]] = []
    handled(lambda loop, context: seen.append(context))
    expected = {"message": "something failed", "exception": ERROR, "transport": "its transport"}
    assert seen == [expected]


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_what_a_handler_raises_is_logged(
    error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    """With both errors, because the first would be lost otherwise."""

    def fail(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        raise error("of the handler")

    handled(fail)
    (record,) = [record for record in caplog.records if record.name == "asyncrev"]
    assert record.exc_info is not None
    assert record.exc_info[0] is error
    assert "the error" in record.getMessage()
