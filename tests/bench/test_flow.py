"""flow: the kinds of errors, and when a message of a connection is due."""

import socket
import ssl

import pytest

from asyncrev.bench.flow import CLOSED, RESET, TLS, Flow, kind_of, would_block
from asyncrev.bench.messages import make_cycle
from asyncrev.bench.plan import Plan
from asyncrev.bench.schedule import Schedule


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ConnectionResetError(), RESET),
        (BrokenPipeError(), RESET),
        (ssl.SSLEOFError(), CLOSED),
        (ssl.SSLZeroReturnError(), CLOSED),
        (ssl.SSLError(), TLS),
    ],
)
def test_error_has_a_kind(error: OSError, kind: str) -> None:
    """After each of them the connection is lost."""
    assert kind_of(error) == kind
    assert not would_block(error)


@pytest.mark.parametrize(
    "error", [BlockingIOError(), ssl.SSLWantReadError(), ssl.SSLWantWriteError()]
)
def test_call_that_would_block_is_no_error(error: OSError) -> None:
    """It is made again."""
    assert would_block(error)


def test_due_times_begin_with_the_schedule() -> None:
    """Messages of the warm-up are not counted in it."""
    with socket.socket() as sock:
        flow = Flow(1, sock, make_cycle(Plan()))
    flow.scheduled_from = 10
    schedule = Schedule(1000.0, range(3), 3, 5_000_000)
    assert flow.due_ns(schedule, 12) == 5_000_000 + 7 * 1_000_000
    assert flow.in_flight == 0
