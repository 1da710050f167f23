"""peers: a peer does what its script says, and tells what it saw."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncrev.testing.peers import Close, HalfClose, Receive, Reset, Script, Send, Stall, play
from asyncrev.testing.strategies import peer_scripts
from asyncrev.testing.threads import ServerThread
from tests.strategies import QUICK
from tests.support import DEADLINE_S, end_of, receive_all, receive_exactly, reset


@contextlib.contextmanager
def answered_by(serve: Callable[[socket.socket], Any]) -> Iterator[tuple[Any, list[Any]]]:
    """Give an address whose first connection `serve` gets in a thread, and what that returns."""
    results: list[Any] = []

    def accept_one() -> None:
        sock, _ = listening.accept()
        with sock:
            sock.settimeout(DEADLINE_S)
            results.append(serve(sock))

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=accept_one)
        thread.start()
        try:
            yield listening.getsockname(), results
        finally:
            thread.join(DEADLINE_S)


def test_peer_that_half_closes_gets_the_rest_and_the_end() -> None:
    """Everything that comes, in order; "FIN"."""

    def serve(sock: socket.socket) -> bytes:
        sock.sendall(b"hello ")
        received = receive_all(sock)
        sock.sendall(b"bye")
        return received

    with answered_by(serve) as (address, results):
        script: Script = [Receive(6), Send(b"ab"), Stall(0.0), Send(b"c"), HalfClose()]
        outcome = play(script, address)
    assert (outcome.received, outcome.end, outcome.sent_bytes) == (b"hello bye", "FIN", 3)
    assert results == [b"abc"]


@pytest.mark.parametrize(("step", "end"), [(Close(), "own close"), (Reset(), "own reset")])
def test_peer_that_leaves_says_so(step: Any, end: str) -> None:
    """The server sees an end of stream, or a reset."""
    with answered_by(end_of) as (address, results):
        outcome = play([Send(b"abc"), step], address)
    assert (outcome.end, outcome.received, outcome.sent_bytes) == (end, b"", 3)
    assert results == ["FIN" if isinstance(step, Close) else "RST"]


@pytest.mark.parametrize("how", ["FIN", "RST"])
def test_peer_whose_server_leaves_tells_how(how: str) -> None:
    """What came before the end is kept; the rest of the script is left out."""

    def serve(sock: socket.socket) -> None:
        receive_exactly(sock, 1)
        sock.sendall(b"last")
        receive_exactly(sock, 1)
        if how == "RST":
            reset(sock)

    with answered_by(serve) as (address, _):
        script: Script = [Send(b"a"), Receive(4), Send(b"b"), Receive(1), Send(b"c")]
        outcome = play(script, address)
    assert (outcome.received, outcome.end, outcome.sent_bytes) == (b"last", how, 2)


def test_peer_that_is_reset_while_it_sends_tells_so() -> None:
    """More than the kernel takes, so that the reset finds it in the middle of a send."""

    def serve(sock: socket.socket) -> None:
        receive_exactly(sock, 1000)
        reset(sock)

    with answered_by(serve) as (address, _):
        outcome = play([Send(bytes(30_000_000)), HalfClose()], address, send_buffer_bytes=4096)
    assert outcome.end == "RST"
    assert 1000 <= outcome.sent_bytes < 30_000_000


def test_peer_receives_while_it_cannot_send() -> None:
    """Two that both have much to say, and an echo that reads no more than it has sent."""
    data = bytes(range(256)) * 16_000

    def serve(sock: socket.socket) -> None:
        while part := sock.recv(65536):
            sock.sendall(part)

    with answered_by(serve) as (address, _):
        script: Script = [Send(data), HalfClose()]
        outcome = play(script, address, receive_buffer_bytes=4096, send_buffer_bytes=4096)
    assert outcome.received == data


@pytest.mark.parametrize("script", [[Send(b"a"), Receive(2)], [Send(b"a")]])
def test_peer_that_waits_too_long_says_for_what(script: Script) -> None:
    """A server that does not answer: the step, and what has been sent and received."""
    with answered_by(end_of) as (address, results), pytest.raises(TimeoutError) as caught:
        play(script, address, deadline_s=0.05)
    waits_for = "Receive(nbytes=2)" if len(script) == 2 else "the end of the stream"
    assert str(caught.value) == (
        f"a peer waited 0.05 s at {waits_for}; it has sent 1 bytes and received 0"
    )
    assert results == ["FIN"]


def test_peer_talks_over_a_unix_socket(tmp_path: Any) -> None:
    """An address that is a path."""
    path = str(tmp_path / "socket")
    with ServerThread(bytes.swapcase, uds=path) as server:
        assert server.address == path
        assert play([Send(b"abc"), HalfClose()], path).received == b"ABC"


def test_peer_talks_tls(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    """To its own close; a half-close is refused."""
    server_context, client_context = contexts
    with ServerThread(bytes.swapcase, ssl=server_context) as server:
        script: Script = [Send(b"abc"), Receive(3), Send(b"d"), Receive(1), Close()]
        outcome = play(script, server.address, ssl=client_context)
        assert (outcome.received, outcome.end) == (b"ABCD", "own close")
        with pytest.raises(ValueError, match="HalfClose"):
            play([HalfClose()], server.address, ssl=client_context)


@QUICK
@given(script=peer_scripts(st.binary(max_size=2000)))
def test_any_peer_gets_what_it_has_sent_or_a_beginning_of_it(
    script: Script, echoes: ServerThread
) -> None:
    """Against a real server; one that half-closes gets all of it, and then the end."""
    sent = b"".join(step.data for step in script if isinstance(step, Send)).swapcase()
    outcome = play(script, echoes.address, receive_buffer_bytes=4096)
    assert sent.startswith(outcome.received)
    if isinstance(script[-1], HalfClose):
        assert (outcome.received, outcome.end) == (sent, "FIN")
    else:
        assert outcome.end == ("own close" if isinstance(script[-1], Close) else "own reset")
    assert outcome.sent_bytes == len(sent)
    asked_bytes = sum(step.nbytes for step in script if isinstance(step, Receive))
    assert asked_bytes <= len(outcome.received)


@pytest.fixture
def echoes() -> Iterator[ServerThread]:
    """A server for many peers."""
    with ServerThread(bytes.swapcase) as server:
        yield server
