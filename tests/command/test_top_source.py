"""top_source: what an endpoint answers, and what is said of one that does not."""

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from asyncrev.command.admin_address import AdminAddress, parse_admin_address
from asyncrev.command.top_source import NoEndpoint, TopSource

WORKERS = json.dumps({"workers": [{"worker": "0", "up": True}]}).encode()


class Answering:
    """Answers one connection with given bytes, over a UNIX socket; notes what was asked."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.asked = b""
        self.answer: bytes | None = None
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.bind(str(path))
        self.sock.listen()
        self.thread = threading.Thread(target=self._run)
        self.is_over = threading.Event()

    def _run(self) -> None:
        client, _ = self.sock.accept()
        with client:
            self.asked = client.recv(65536)
            if self.answer is None:
                self.is_over.wait()
            else:
                client.sendall(self.answer)


@pytest.fixture
def answering(tmp_path: Path) -> Iterator[Answering]:
    made = Answering(tmp_path / "admin")
    made.thread.start()
    try:
        yield made
    finally:
        made.is_over.set()
        made.thread.join()
        made.sock.close()


def ask(path: Path, timeout_s: float = 3.0) -> list[dict[str, object]]:
    return TopSource(AdminAddress(path=str(path)), timeout_s).workers("/stats.json")


def http(body: bytes, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def test_workers_are_returned(answering: Answering) -> None:
    """The request names this machine, as the endpoint wants it."""
    answering.answer = http(WORKERS)
    assert ask(answering.path) == [{"worker": "0", "up": True}]
    assert answering.asked.startswith(b"GET /stats.json HTTP/1.1\r\n")
    assert answering.asked.count(b"Host: localhost\r\n") == 1


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"220 mail.example ESMTP\r\n", "not HTTP"),
        (b"", "Remote end|not HTTP"),
        (http(b"nothing at this path", "404 Not Found"), "404: nothing at this path"),
        (http(b"<html>"), "another program"),
        (http(b"[]"), "another program"),
        (http(b'{"workers": 3}'), "another program"),
        (http(b'{"workers": [{}]}'), "another program"),
        (http(WORKERS)[:-3], "another program"),
    ],
)
def test_what_is_no_endpoint_is_said_so(answering: Answering, answer: bytes, said: str) -> None:
    """In one line that names the address."""
    answering.answer = answer
    with pytest.raises(NoEndpoint, match=said) as caught:
        ask(answering.path)
    assert str(answering.path) in str(caught.value)


def test_too_long_an_answer_is_not_kept(
    answering: Answering, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever sends it."""
    monkeypatch.setattr("asyncrev.command.top_source._MOST_BYTES", 10)
    answering.answer = http(WORKERS)
    with pytest.raises(NoEndpoint, match="not HTTP"):
        ask(answering.path)


def test_endpoint_that_does_not_answer_is_left(answering: Answering) -> None:
    """In time."""
    with pytest.raises(NoEndpoint, match="no answer in time"):
        ask(answering.path, 0.05)


def test_absent_endpoint_is_said_so(tmp_path: Path) -> None:
    """Neither a socket nor a port that nobody listens on."""
    with pytest.raises(NoEndpoint, match="is it running"):
        ask(tmp_path / "nothing")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(NoEndpoint, match=f"127.0.0.1:{port}: no server listens"):
        TopSource(AdminAddress(host="127.0.0.1", port=port)).workers("/stats.json")


def test_path_that_is_too_long_is_an_error_in_words(tmp_path: Path) -> None:
    """As for each other error of the system."""
    with pytest.raises(NoEndpoint, match="too long"):
        ask(tmp_path / ("x" * 200))


def test_port_0_is_no_endpoint() -> None:
    """It is one to a server only."""
    address = parse_admin_address("127.0.0.1:0")
    assert address is not None
    with pytest.raises(NoEndpoint, match="log says which port"):
        TopSource(address)


@pytest.mark.parametrize("host", ["*", "0.0.0.0"])
def test_every_address_is_asked_at_loopback(host: str) -> None:
    """So that the server's own setting can be used."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        asked: list[bytes] = []

        def answer() -> None:
            client, _ = listening.accept()
            with client:
                asked.append(client.recv(65536))
                client.sendall(http(WORKERS))

        thread = threading.Thread(target=answer)
        thread.start()
        address = AdminAddress(host=host, port=listening.getsockname()[1])
        assert TopSource(address).workers("/stats.json")[0]["worker"] == "0"
        thread.join()
    assert asked[0].startswith(b"GET /stats.json")
