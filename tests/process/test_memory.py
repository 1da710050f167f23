"""Resident memory of a server process against the bound that it prints (DESIGN: bounded memory)."""

import contextlib
import select
import socket
import sysconfig

import pytest

from tests.process.processors import AMPLIFIED_BYTES, AMPLIFY, EVERY_LOOP, FLIP, HERE, LOOPS
from tests.support import (
    DEADLINE_S,
    ServerProcess,
    ask,
    flipped,
    pattern,
    receive_exactly,
    send_until_stuck,
    serving,
    wait_until,
)

pytestmark = pytest.mark.process

MIB = 1 << 20
# What the allocator of a free-threaded build keeps, for itself and for each thread: docs/memory.md.
KEPT_BYTES = 4 * MIB if sysconfig.get_config_var("Py_GIL_DISABLED") else 0
SMALL = ("--slots", "16", "--slot-bytes", "65536", "--max-connections", "4")


def warmed(server: ServerProcess) -> int:
    """Return the memory that the server has once it has served somebody."""
    with server.connect() as sock:
        assert ask(sock, b"abc") == flipped(b"abc")
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(1) == b""
    return server.rss_bytes()


def echo_slowly(server: ServerProcess, sock: socket.socket, total_bytes: int) -> int:
    """Send as fast as the server takes it, read a little at a time; return the highest RSS.

    Verifies every byte of the replies.
    """
    period = 64_256  # of `pattern`
    data = pattern(4 * period)
    wanted = flipped(data)
    sent = received = highest = looked = 0
    sock.setblocking(False)
    while received < total_bytes:
        readable, writable, _ = select.select(
            [sock], [sock] if sent < total_bytes else [], [], DEADLINE_S
        )
        assert readable or writable, f"stuck: {sent} bytes sent, {received} received"
        if writable:
            start = sent % period
            sent += sock.send(data[start : start + min(3 * period, total_bytes - sent)])
            continue  # never reads while it can send: as slow as can be
        part = sock.recv(16_384)
        assert part, f"closed after {received} bytes"
        start = received % period
        assert part == wanted[start : start + len(part)], f"wrong reply near byte {received}"
        received += len(part)
        looked += 1
        if looked % 64 == 0:
            highest = max(highest, server.rss_bytes())
    assert received == total_bytes
    return highest


def test_slow_reader_of_64_mib_costs_what_the_bound_says() -> None:
    """64 MiB through a client that reads slowly: all of it arrives, little of it is ever held."""
    with serving(*FLIP, *SMALL, **HERE) as server:
        before = warmed(server)
        with server.connect(receive_buffer_bytes=16_384) as sock:
            growth = echo_slowly(server, sock, 64 * MIB) - before
    assert server.memory_bound_bytes < 8 * MIB
    assert growth <= server.memory_bound_bytes + KEPT_BYTES
    assert growth <= 8 * MIB


@pytest.mark.parametrize("loop", LOOPS)
def test_fifty_peers_that_never_read_cost_what_the_bound_says(loop: str) -> None:
    """They send until nothing goes any more; who reads is still answered."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(
            serving("--loop", loop, *FLIP, "--slots", "16", "--slot-bytes", "65536", **HERE)
        )
        before = warmed(server)
        peers = [stack.enter_context(server.connect(receive_buffer_bytes=4096)) for _ in range(50)]
        flood(peers)
        growth = server.rss_bytes() - before
        assert growth <= server.ring_bytes + 52 * server.connection_bytes
        with server.connect() as sock:
            assert ask(sock, b"abc") == flipped(b"abc")


def flood(peers: list[socket.socket]) -> None:
    """Send on all of them until the kernel has taken nothing of any for a while."""
    data = pattern(64_256)
    for peer in peers:
        peer.setblocking(False)
    while ready := select.select([], peers, [], 0.3)[1]:
        for peer in ready:
            peer.send(data)


def test_memory_of_peers_that_have_gone_is_given_back() -> None:
    """The second wave of the same finds the memory of the first."""
    with serving(*FLIP, "--slots", "16", "--slot-bytes", "65536", **HERE) as server:
        base = server.descriptors()
        warmed(server)
        highest = []
        for _ in range(3):
            with contextlib.ExitStack() as stack:
                flood([stack.enter_context(server.connect()) for _ in range(10)])
                highest.append(server.rss_bytes())
            wait_until(lambda: server.descriptors() <= base, "they are gone")
        assert highest[-1] <= highest[0] + 4 * MIB, highest


@pytest.mark.slow
@pytest.mark.parametrize("loop", EVERY_LOOP)
def test_slow_readers_of_64_mib_on_every_loop(loop: str) -> None:
    """The same as above with an extremely small window, on all loops, beside a lively client."""
    with serving("--loop", loop, *FLIP, *SMALL, **HERE) as server:
        before = warmed(server)
        with server.connect(receive_buffer_bytes=4096) as sock, server.connect() as lively:
            growth = echo_slowly(server, sock, 64 * MIB) - before
            assert ask(lively, b"abc") == flipped(b"abc")
        assert growth <= server.memory_bound_bytes + KEPT_BYTES
        with server.connect() as sock:
            sent = send_until_stuck(sock, pattern(64_256))
            sock.settimeout(DEADLINE_S)
            got = receive_exactly(sock, sent)
        assert len(got) == sent


# -- frames --------------------------------------------------------------------------------------

# A small ring, for all of it counts; a pool for eight of the longest frames.
FRAMED = (
    *("--framing", "len32", "--slots", "8", "--slot-bytes", "65536", "--max-connections", "100"),
    *("--max-frame-bytes", "1040000", "--pool-connection-bytes", "1048576"),
    *("--pool-bytes", "8388608", "--frame-timeout-s", "inf"),
)


def frame(payload: bytes) -> bytes:
    """Return `payload` as a len32 frame."""
    return len(payload).to_bytes(4, "big") + payload


def warmed_framed(server: ServerProcess) -> int:
    """Return the memory that the server has once it has served somebody."""
    for _ in range(2):
        with server.connect() as sock:
            assert ask(sock, frame(b"abc")) == frame(b"cba")
    return server.rss_bytes()


def half_frames(stack: contextlib.ExitStack, server: ServerProcess, peers_n: int) -> None:
    """Connect peers that send all of a long frame but its end, as far as they are read."""
    peers = [stack.enter_context(server.connect()) for _ in range(peers_n)]
    for peer in peers:
        peer.setblocking(False)
    left = {peer: memoryview(frame(pattern(1_040_000)))[:-5000] for peer in peers}
    while left and (ready := select.select([], left, [], 0.3)[1]):
        for peer in ready:
            left[peer] = left[peer][peer.send(left[peer]) :]
            if not left[peer]:
                del left[peer]


def never_read(stack: contextlib.ExitStack, server: ServerProcess, peers_n: int) -> None:
    """Connect peers that send small frames until nothing goes any more, and read no reply."""
    peers = [stack.enter_context(server.connect(receive_buffer_bytes=4096)) for _ in range(peers_n)]
    data = frame(pattern(50_000))
    offs = dict.fromkeys(peers, 0)
    for peer in peers:
        peer.setblocking(False)
    while ready := select.select([], peers, [], 0.3)[1]:
        for peer in ready:
            offs[peer] = (offs[peer] + peer.send(data[offs[peer] :])) % len(data)


def assert_within_bound(server: ServerProcess, before_bytes: int) -> None:
    """The most that the server ever had is what it prints, and it still serves."""
    growth_bytes = server.peak_rss_bytes() - before_bytes
    print(f"grew by {growth_bytes} bytes; the bound is {server.memory_bound_bytes}")
    assert 0 < growth_bytes <= server.memory_bound_bytes + KEPT_BYTES
    with server.connect() as sock:
        assert ask(sock, frame(b"abc")) == frame(b"cba")


@pytest.mark.parametrize("loop", LOOPS)
def test_half_frames_and_peers_that_never_read_cost_what_the_framed_bound_says(loop: str) -> None:
    """Both at once, more of them than the pool can hold."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(serving("--loop", loop, *FRAMED))
        before_bytes = warmed_framed(server)
        half_frames(stack, server, 12)
        never_read(stack, server, 8)
        assert server.memory_bound_bytes < 36 * MIB
        assert_within_bound(server, before_bytes)


@pytest.mark.parametrize("loop", LOOPS)
def test_blocks_kept_beside_write_buffers_are_within_the_framed_bound(loop: str) -> None:
    """First the pool is filled with frames, then with their likes' replies: it counts twice.

    Nine frames fill the pool; its budget covers the eighth reply even if the kernel takes nothing
    of the seven before, which count by an eighth more. With a pool of eight frames the last one
    waited for budget, whenever the kernel's buffers were small.
    """
    nbytes = 8 * MIB - 2000
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(
            serving(
                *("--loop", loop, *FRAMED, "--max-frame-bytes", str(nbytes)),
                *("--pool-connection-bytes", str(8 * MIB), "--pool-bytes", str(72 * MIB)),
            )
        )
        before_bytes = warmed_framed(server)
        data = frame(pattern(nbytes))
        with contextlib.ExitStack() as halves:
            for _ in range(9):
                halves.enter_context(server.connect()).sendall(data[:-5000])
            wait_until(lambda: server.rss_bytes() - before_bytes > 63 * MIB, "they are there")
        for _ in range(8):  # the kernel takes the beginning of each reply, the rest stays
            sock = stack.enter_context(server.connect(receive_buffer_bytes=4096))
            sock.sendall(data)
            assert sock.recv(4) == data[:4]
        assert_within_bound(server, before_bytes)


@pytest.mark.stress
@pytest.mark.parametrize("loop", EVERY_LOOP)
@pytest.mark.parametrize("kinds", [(half_frames,), (never_read,), (half_frames, never_read)])
def test_hundreds_of_peers_cost_what_the_framed_bound_says(kinds: tuple, loop: str) -> None:
    """At the default settings, but for a ring so small that it cannot hide anything."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(
            serving(
                *("--loop", loop, "--framing", "len32", "--slots", "8", "--slot-bytes", "65536"),
                *("--max-connections", "300", "--frame-timeout-s", "inf"),
            )
        )
        before_bytes = warmed_framed(server)
        for kind in kinds:
            kind(stack, server, 140)
        assert_within_bound(server, before_bytes)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("framing", ["raw", "len32"])
def test_amplifying_processor_stays_within_the_bound_and_answers_in_the_end(
    framing: str, loop: str
) -> None:
    """Nobody reads: 8 peers with 8 KiB each would be 256 MiB of replies. Then one reads all."""
    frame = b"x" if framing == "raw" else b"\0\0\0\1x"
    answer = b"x" * AMPLIFIED_BYTES
    if framing != "raw":
        answer = AMPLIFIED_BYTES.to_bytes(4, "big") + answer
    frames = 1600 if framing != "raw" else 8000
    slot_bytes = "512" if framing == "raw" else "4096"
    limits = ("--slots", "4", "--slot-bytes", slot_bytes, "--max-connections", "9")
    small = (*limits, "--in-flight-bytes", "8192", "--high-water-bytes", "8192")
    # A raw chunk has at most 512 bytes, each of them answered with 4 KiB.
    longest = ("--max-reply-bytes", str(512 * AMPLIFIED_BYTES if framing == "raw" else 8192))
    framed = () if framing == "raw" else ("--framing", framing, "--max-frame-bytes", "4096")
    pool = ("--pool-bytes", "131072", "--pool-connection-bytes", "16384")
    args = (*AMPLIFY, *small, *longest, *framed, *(pool if framed else ()), "--loop", loop)
    with serving(*args, **HERE) as server, contextlib.ExitStack() as stack:
        with server.connect() as sock:
            sock.sendall(frame)
            assert receive_exactly(sock, len(answer)) == answer
        idle = server.rss_bytes()
        peers = [stack.enter_context(server.connect(receive_buffer_bytes=4096)) for _ in range(8)]
        for peer in peers:
            peer.setblocking(False)
            # As much as the server takes: it stops reading one that takes no replies.
            with contextlib.suppress(BlockingIOError):
                peer.sendall(frame * frames)
        with server.connect() as honest:
            honest.sendall(frame)
            assert receive_exactly(honest, len(answer)) == answer
        growth = server.peak_rss_bytes() - idle
        bound = server.memory_bound_bytes + KEPT_BYTES
        assert growth <= bound
        if framing == "len32":
            assert growth <= 2 * MIB + KEPT_BYTES, "for 8 x 1,600 x 4 KiB = 50 MiB"
            peer = peers[0]
            peer.settimeout(DEADLINE_S)
            for _ in range(frames):
                assert receive_exactly(peer, len(answer)) == answer
