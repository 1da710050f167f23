"""ends: whose fault an end is, what is reported of it, and a transport's last steps."""

import asyncio
import logging
from typing import Any

import pytest

from asyncrev.connection.ends import abort_reason_of, end_stream, log_abort, report_error
from asyncrev.connection.lingering import Lingering
from asyncrev.connection.reading import Reading
from asyncrev.errors import (
    BridgeStopped,
    FirstByteLate,
    FrameLate,
    IdleTooLong,
    IncompleteFrame,
    RemoteError,
    WorkerDied,
)


class FakeTransport:
    """Notes what is called; `half_closes` as TCP, or not as TLS."""

    def __init__(self, *, half_closes: bool, closing: bool = False, is_reset: bool = False) -> None:
        self.calls: list[str] = []
        self.protocol: object = None
        self._half_closes = half_closes
        self._closing = closing
        self._is_reset = is_reset

    def get_extra_info(self, name: str) -> None:
        return None

    def is_closing(self) -> bool:
        return self._closing

    def can_write_eof(self) -> bool:
        return self._half_closes

    def write_eof(self) -> None:
        if self._is_reset:
            raise ConnectionResetError
        self.calls.append("write_eof")

    def set_protocol(self, protocol: object) -> None:
        self.protocol = protocol

    def resume_reading(self) -> None:
        self.calls.append("resume_reading")

    def close(self) -> None:
        self.calls.append("close")

    def abort(self) -> None:
        self.calls.append("abort")


def end(transport: Any, *, peer_ended: bool) -> None:
    """End the stream of a connection over `transport`."""

    async def main() -> None:
        reading = Reading()
        reading.attach(transport)
        end_stream(asyncio.Protocol(), reading, peer_ended=peer_ended, linger_timeout_s=1.0)

    asyncio.run(main())


@pytest.mark.parametrize(("half_closes", "peer_ended"), [(True, True), (False, False)])
def test_stream_of_a_peer_that_cannot_be_lingered_for_is_closed(
    half_closes: bool, peer_ended: bool
) -> None:
    """It sends no more, or the transport has no end of stream."""
    transport = FakeTransport(half_closes=half_closes)
    end(transport, peer_ended=peer_ended)
    assert transport.calls == ["close"]
    assert transport.protocol is None


def test_stream_of_a_peer_that_may_send_is_ended_and_lingered_for() -> None:
    """Late input is read, so that the close does not reset the connection."""
    transport = FakeTransport(half_closes=True)
    end(transport, peer_ended=False)
    assert transport.calls == ["write_eof", "resume_reading"]
    assert isinstance(transport.protocol, Lingering)


def test_transport_that_closes_is_left_alone() -> None:
    """A second end changes nothing."""
    transport = FakeTransport(half_closes=True, closing=True)
    end(transport, peer_ended=False)
    assert transport.calls == []


def test_transport_whose_connection_was_reset_is_aborted() -> None:
    """There is nobody to send an end to."""
    transport = FakeTransport(half_closes=True, is_reset=True)
    end(transport, peer_ended=False)
    assert transport.calls == ["abort"]
    assert transport.protocol is None


@pytest.mark.parametrize(
    ("error", "peer_ended", "reason"),
    [
        (BridgeStopped("stopped"), False, "bridge ended"),
        (WorkerDied("died"), True, "bridge ended"),
        (FrameLate("late"), False, FrameLate.reason),
        (IncompleteFrame("half"), True, IncompleteFrame.reason),
        (IncompleteFrame("half"), False, None),
        (ValueError(), True, "processor error"),
        (SystemExit(), False, "processor error"),
    ],
)
def test_abort_reason_says_whose_fault_it_was(
    error: BaseException, peer_ended: bool, reason: str | None
) -> None:
    """A frame that a drain left unfinished is nobody's."""
    assert abort_reason_of(error, peer_ended=peer_ended) == reason


async def reported(error: BaseException) -> list[dict[str, Any]]:
    """Report `error`; return what the loop's exception handler got."""
    contexts: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: contexts.append(context))
    report_error(error, "peer", TRANSPORT, PROTOCOL)
    return contexts


TRANSPORT, PROTOCOL = asyncio.Transport(), asyncio.Protocol()


def test_what_a_processor_raised_goes_to_the_loops_exception_handler() -> None:
    """With the connection that it ended."""
    error = ValueError("of a processor")
    (context,) = asyncio.run(reported(error))
    assert context.pop("message")
    assert context == {"exception": error, "transport": TRANSPORT, "protocol": PROTOCOL}


@pytest.mark.parametrize("error", [BridgeStopped("stopped"), WorkerDied("died")])
def test_end_of_the_bridge_is_not_reported_by_each_connection(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    """The bridge does that once."""
    assert asyncio.run(reported(error)) == []
    assert [record for record in caplog.records if record.name == "asyncrev"] == []


@pytest.mark.parametrize(
    ("error", "level"),
    [
        (FrameLate("it was late"), logging.WARNING),
        (FirstByteLate("it was late"), logging.INFO),
        (IdleTooLong("it was late"), logging.INFO),
    ],
)
def test_peers_fault_is_one_line_of_the_log(
    error: RemoteError, level: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Silent clients are no reason for a warning; the reason lets equal lines be limited."""
    caplog.set_level(logging.INFO, "asyncrev")
    assert asyncio.run(reported(error)) == []
    (record,) = [record for record in caplog.records if record.name == "asyncrev"]
    assert record.levelno == level
    assert record.reason == f"closed: {error.reason}"  # type: ignore[attr-defined]
    assert "it was late" in record.getMessage()


@pytest.mark.parametrize(("error", "text"), [(None, "why"), (FrameLate("details"), "details")])
def test_abort_is_logged_with_the_most_that_is_known(
    error: FrameLate | None, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The reason, or the error if there is one."""
    log_abort("peer", "why", error)
    (record,) = caplog.records
    assert record.getMessage().endswith(text)
    assert record.reason == "aborted: why"  # type: ignore[attr-defined]
