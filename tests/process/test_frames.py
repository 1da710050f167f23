"""Frames through a real server: each framing with real clients, and what a peer sees at a limit."""

import contextlib
import re
import select
import shutil
import signal
import socket
import subprocess

import pytest

from tests.process.processors import FRAGILE, HERE, LOOPS, SHOUTED
from tests.support import (
    DEADLINE_S,
    ServerProcess,
    ask,
    end_of,
    flipped,
    pattern,
    receive_all,
    receive_exactly,
    serving,
    wait_arrived,
    wait_until,
)

pytestmark = pytest.mark.process

EVERY_FRAMING = ["line", "len32", "len64"]
PREFIX_BYTES = {"len32": 4, "len64": 8}


def frame(framing: str, payload: bytes) -> bytes:
    """Return `payload` as a frame."""
    if framing == "line":
        return payload + b"\n"
    return len(payload).to_bytes(PREFIX_BYTES[framing], "big") + payload


def payload_bytes(nbytes: int, tag: int = 0) -> bytes:
    r"""Return a payload for any framing: without "\n" and "\r"."""
    return pattern(nbytes, tag).translate(_NO_LINE_END)


_NO_LINE_END = bytes(65 if i in b"\r\n" else i for i in range(256))


def closing_line(server: ServerProcess) -> str:
    """End the server in good order, which must work; return what is on stderr."""
    code, stderr = server.terminate()
    assert code == 0, stderr
    assert "Traceback" not in stderr
    return stderr


@pytest.mark.skipif(shutil.which("nc") is None, reason="there is no nc here")
def test_nc_gets_each_line_reversed_and_a_last_one_without_its_end() -> None:
    """By `nc -N`, as the pages show it."""
    with serving("--framing", "line") as server:
        command = f"printf 'hello\\nworld' | nc -N 127.0.0.1 {server.port}"
        done = subprocess.run(
            ["sh", "-c", command], capture_output=True, timeout=DEADLINE_S, check=False
        )
        assert done.stdout == b"olleh\ndlrow", done.stderr


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("framing", EVERY_FRAMING)
def test_frames_whole_and_in_pieces_are_each_reversed(framing: str, loop: str) -> None:
    """All at once, byte by byte, in odd pieces, beside each other; empty ones, and a longest."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(
            serving("--loop", loop, "--framing", framing, "--max-frame-bytes", "300000")
        )
        payloads = [payload_bytes(nbytes, nbytes) for nbytes in (0, 1, 5, 64, 64, 64, 255, 3, 0)]
        sent = b"".join(frame(framing, payload) for payload in payloads)
        wanted = b"".join(frame(framing, payload[::-1]) for payload in payloads)
        whole, dribbled, pieces = (stack.enter_context(server.connect()) for _ in range(3))
        for sock in (dribbled, pieces):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        whole.sendall(sent)
        for off in range(len(sent)):
            dribbled.sendall(sent[off : off + 1])
            if off % 7 == 0:
                pieces.sendall(sent[off : off + 7])
        for sock in (whole, dribbled, pieces):
            assert receive_exactly(sock, len(wanted)) == wanted
        longest = payload_bytes(300_000)
        assert ask(dribbled, frame(framing, longest)) == frame(framing, longest[::-1])
        whole.sendall(sent)
        whole.shutdown(socket.SHUT_WR)
        assert receive_all(whole) == wanted
        for sock in (whole, dribbled, pieces):
            sock.close()
        assert "aborted none" in closing_line(server)


@pytest.mark.parametrize("framing", ["line", pytest.param("len64", marks=pytest.mark.slow)])
def test_function_as_processor_gets_a_frame_at_a_time(framing: str) -> None:
    """Its replies may have any length; no reply is none, and not an empty one."""
    with serving(*SHOUTED, "--framing", framing, **HERE) as server:
        with server.connect() as sock:
            for payload in (b"abc", b"", b"hush", b"d" * 1000):
                sock.sendall(frame(framing, payload))
            sock.shutdown(socket.SHUT_WR)
            wanted = [b"ABC!", b"!", b"D" * 1000 + b"!"]
            assert receive_all(sock) == b"".join(frame(framing, reply) for reply in wanted)
        assert "aborted none" in closing_line(server)


def test_processor_that_raises_at_a_frame_answers_those_before() -> None:
    """Three frames in one go, the second is bad: one reply, then the end."""
    with serving(*FRAGILE, "--framing", "len32", **HERE) as server, server.connect() as other:
        with server.connect() as sock:
            sock.sendall(b"".join(frame("len32", data) for data in (b"abc", b"d\0e", b"fgh")))
            assert receive_all(sock) == frame("len32", flipped(b"abc"))
        assert ask(other, frame("len32", b"abc")) == frame("len32", flipped(b"abc"))
        other.close()
        code, stderr = server.terminate()
    assert code == 0
    assert stderr.count("ValueError: this processor does not like zeros") == 1
    assert "aborted {'processor error': 1}" in stderr


# -- limits ------------------------------------------------------------------------------------


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("framing", ["len32", "len64"])
def test_length_prefixes_at_and_above_the_limit(framing: str, loop: str) -> None:
    """0 and the limit are answered; above it: the replies before, FIN, one line in the log."""
    most = 5000
    too_large = [most + 1, 2**32 - 1] + [2**63, 2**64 - 1] * (framing == "len64")
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(
            serving("--loop", loop, "--framing", framing, "--max-frame-bytes", str(most))
        )
        other = stack.enter_context(server.connect())
        longest = payload_bytes(most)
        for nbytes in too_large:
            with server.connect() as sock:
                prefix = nbytes.to_bytes(PREFIX_BYTES[framing], "big")
                sock.sendall(
                    frame(framing, b"") + frame(framing, longest) + prefix + b"what is sent of it"
                )
                # A reset instead of the orderly end would raise here.
                assert receive_all(sock) == frame(framing, b"") + frame(framing, longest[::-1])
            assert ask(other, frame(framing, longest)) == frame(framing, longest[::-1])
        with server.connect() as sock:  # byte by byte: judged as soon as the prefix is whole
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in frame(framing, b"abc") + (2**31).to_bytes(PREFIX_BYTES[framing], "big"):
                sock.sendall(bytes([byte]))
            assert receive_all(sock) == frame(framing, b"cba")
        too_large.append(2**31)
        other.close()
        stderr = closing_line(server)
    for nbytes in too_large:
        line = f"closed: a frame of {nbytes} bytes was announced; max_frame_bytes is {most}\n"
        assert stderr.count(line) == 1
    assert stderr.count(" closed: ") == len(too_large)
    assert f"aborted {{'frame too large': {len(too_large)}}}" in stderr


@pytest.mark.parametrize("loop", LOOPS)
def test_lines_at_and_above_the_limit_and_one_that_never_ends(loop: str) -> None:
    r"""The limit is for what is before "\r\n"; who never ends a line sees FIN, others nothing."""
    most = 5000
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(
            serving("--loop", loop, "--framing", "line", "--max-frame-bytes", str(most))
        )
        other = stack.enter_context(server.connect())
        longest = payload_bytes(most)
        for end in (b"\n", b"\r\n"):
            assert ask(other, longest + end) == longest[::-1] + end
        with server.connect() as sock:
            sock.sendall(b"abc\n" + longest + b"x\n")
            assert receive_all(sock) == b"cba\n"
        with server.connect() as sock:
            sock.sendall(b"abc\n")
            sent = 0
            while not select.select([sock], [], [], 0)[0] or sock.recv(4) == b"cba\n":
                sock.sendall(longest)
                sent += most
            # What was readable, and no reply, was the end: `recv` returned nothing.
            assert sent > most
        assert ask(other, longest + b"\n") == longest[::-1] + b"\n"
        other.close()
        stderr = closing_line(server)
    assert stderr.count(f"closed: a line of {most + 1} bytes was sent; ") == 1
    assert len(re.findall(rf"closed: a line of at least \d+ bytes .* is {most}\n", stderr)) == 1
    assert "aborted {'frame too large': 2}" in stderr


def test_input_that_ends_within_a_frame_is_told_in_the_log() -> None:
    """The replies before go out, then FIN; a line without its end is none of these."""
    with serving("--framing", "len32") as server:
        for data in (b"\0\0", frame("len32", b"0123456789")[:-3]):
            with server.connect() as sock:
                sock.sendall(frame("len32", b"abc") + data)
                sock.shutdown(socket.SHUT_WR)
                assert receive_all(sock) == frame("len32", b"cba")
        stderr = closing_line(server)
    assert "the input ended within a frame: 2 bytes of its length prefix had come\n" in stderr
    assert "the input ended within a frame: 11 bytes of 14 had come\n" in stderr
    assert "aborted {'incomplete frame': 2}" in stderr


def test_signal_within_a_frame_answers_those_before_and_blames_nobody() -> None:
    """What the server did not wait for is no fault of the peer: exit 0, nothing is counted."""
    with serving("--framing", "len32") as server, server.connect() as sock:
        assert ask(sock, frame("len32", b"abc")) == frame("len32", b"cba")
        sock.sendall(frame("len32", b"abc") + frame("len32", b"defghi")[:7])
        assert receive_exactly(sock, 7) == frame("len32", b"cba")
        server.signal(signal.SIGTERM)
        assert end_of(sock) == "FIN"
        sock.close()
        _, stderr = server.process.communicate(timeout=DEADLINE_S + 10)
        assert server.process.returncode == 0
        assert b"aborted none" in stderr


# -- taps --------------------------------------------------------------------------------------


@pytest.mark.parametrize("pieces", [[b"stop\r\n"], [b"st", b"op\n"], [b"stop"]])
def test_stop_word_as_a_line_drains(pieces: list[bytes]) -> None:
    """Whole with others, in pieces, or as a last line without its end; longer lines are not it."""
    with serving("--framing", "line", "--stop-word", "stop") as server:
        with server.connect() as sock:
            for line in (b"stopped\n", b"don't stop\n", b" stop\n", b"stop \n", b"stop\r\r\n"):
                answer_each(sock, line)
            for piece in pieces:
                sock.sendall(piece)
                wait_arrived(sock)
            if pieces == [b"stop"]:
                sock.shutdown(socket.SHUT_WR)
            assert receive_all(sock).strip() == b"pots"
        assert server.wait() == 0


def answer_each(sock: socket.socket, line: bytes) -> None:
    end = line[len(line.rstrip(b"\n")) - line.endswith(b"\r\n") :]
    assert ask(sock, line) == line[: len(line) - len(end)][::-1] + end


@pytest.mark.parametrize(
    "split_at", [*(pytest.param(off, marks=pytest.mark.slow) for off in (0, 2)), 6]
)
def test_stop_word_as_a_frame_drains(split_at: int) -> None:
    """Split within the prefix, or the payload, or not at all; longer frames are not it."""
    with serving("--framing", "len32", "--stop-word", "stop") as server:
        with server.connect() as sock:
            for payload in (b"stopped", b"don't stop", b"", b"pots", frame("len32", b"stop")):
                assert ask(sock, frame("len32", payload)) == frame("len32", payload[::-1])
            word = frame("len32", b"stop")
            sock.sendall(word[:split_at])
            wait_arrived(sock)
            sock.sendall(word[split_at:])
            assert receive_all(sock) == frame("len32", b"pots")
        assert server.wait() == 0


def test_tee_shows_the_bytes_as_received() -> None:
    """Prefixes and splits included: what was sent, before it is reversed where it lies."""
    sent = b"".join(frame("len32", payload_bytes(nbytes, nbytes)) for nbytes in (5, 64, 64, 3000))
    sent += b"\0\0\0\7abc"
    with serving("--framing", "len32", "--tee", "-", stdout=subprocess.PIPE) as server:
        with server.connect() as sock:
            for off in range(0, len(sent), 50):
                sock.sendall(sent[off : off + 50])
            sock.shutdown(socket.SHUT_WR)
            assert len(receive_all(sock)) == len(sent) - 7
        server.signal(signal.SIGTERM)
        assert server.process.stdout is not None
        assert server.process.stdout.read() == sent
        wait_until(lambda: server.process.poll() == 0, "it ended well")
