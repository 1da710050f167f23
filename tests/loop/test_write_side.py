"""write_side: bytes out are the bytes in, in order, however little the kernel takes (I12)."""

import array
import asyncio
import errno
import logging
import socket
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncrev import EpollEventLoop
from asyncrev.loop.write_side import wake
from tests.support import until
from tests.wires import (
    FEW_POLLS,
    Plain,
    iterations,
    on_epoll,
    polls_while_idle,
    receive,
    small_pair,
    wire,
)

PATTERN = bytes((i * 7 + i // 251) % 256 for i in range(300_000))


@on_epoll
@pytest.mark.parametrize("k", [*range(1, 18), 31, 32, 33])
async def test_write_when_the_kernel_takes_k_bytes_keeps_every_byte(k: int) -> None:
    """I12: for every k, with "would block" between any two sends."""
    data = PATTERN[:32]
    async with wire(Plain(), steps=[k, 0] * 64) as (transport, peer):
        transport.write(data)
        assert transport.get_write_buffer_size() == max(0, len(data) - k)
        transport.write(b"|")
        assert await receive(peer, 33) == data + b"|"
        await until(lambda: not transport.get_write_buffer_size(), "the write buffer is empty")


@on_epoll
@pytest.mark.parametrize("k", [0, 1, 7, 4095])
async def test_write_when_the_source_is_overwritten_at_once_sends_the_old_bytes(k: int) -> None:
    """I12: the memory is the caller's again as soon as `write` returns."""
    source = bytearray(PATTERN[:4096])
    async with wire(Plain(), steps=[k, 0, 100]) as (transport, peer):
        for _ in range(3):
            source[:] = PATTERN[:4096]
            transport.write(memoryview(source))
            source[:] = b"!" * 4096
        assert await receive(peer, 3 * 4096) == PATTERN[:4096] * 3


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.binary(max_size=40), max_size=12),
    st.lists(st.integers(0, 25), max_size=40),
    st.booleans(),
)
def test_writes_on_any_schedule_come_out_in_order(
    writes: list[bytes], steps: list[int], eof: bool
) -> None:
    """I12: any writes, any partial sends, closed or half-closed: the bytes and then the end."""

    async def scenario() -> bytes:
        async with wire(Plain(keep_open=True), steps=[*steps, 3]) as (transport, peer):
            for index, data in enumerate(writes):
                source = bytearray(data)
                transport.write(source if index % 2 else memoryview(source))
                source[:] = b"!" * len(source)
                if index % 3 == 0:
                    await iterations(1)
            if eof:
                transport.write_eof()
            else:
                transport.close()
            return await receive(peer)

    with asyncio.Runner(loop_factory=EpollEventLoop) as runner:
        assert runner.run(scenario()) == b"".join(writes)


@on_epoll
async def test_write_into_the_least_send_buffer_keeps_every_byte() -> None:
    """I12: a real kernel that takes a few kilobytes at a time."""
    async with wire(Plain(), small_pair) as (transport, peer):
        source = bytearray(PATTERN)
        transport.write(source[:100_000])
        transport.write(memoryview(source)[100_000:])
        source[:] = bytes(len(source))
        assert transport.get_write_buffer_size() > 200_000
        assert await receive(peer, len(PATTERN)) == PATTERN
        await until(lambda: not transport.get_write_buffer_size(), "the write buffer is empty")


@on_epoll
@pytest.mark.parametrize("k", [1, 5, 100])
@pytest.mark.parametrize(
    "view",
    [
        memoryview(PATTERN[:60])[::2],
        memoryview(array.array("I", range(15))),
        memoryview(bytes(range(60))).cast("B", (4, 15)),
        memoryview(array.array("d", range(8)))[::3],
        memoryview(bytes(range(60))).cast("b"),
    ],
    ids=["strided", "words", "two dimensions", "strided doubles", "signed"],
)
async def test_write_of_a_view_of_any_shape_sends_its_bytes(view: memoryview, k: int) -> None:
    """Lengths count bytes, not items; what is not contiguous is copied."""
    async with wire(Plain(), steps=[k, 0, 11]) as (transport, peer):
        transport.write(view)
        transport.write(view)
        assert await receive(peer, 2 * view.nbytes) == view.tobytes() * 2


@on_epoll
async def test_write_of_an_empty_view_sends_nothing() -> None:
    """Also when only one of two dimensions is empty, so that its length is not 0."""
    async with wire(Plain()) as (transport, peer):
        transport.write(b"")
        transport.write(memoryview(b"").cast("B"))
        transport.write(memoryview(bytearray(4)).cast("B", (2, 2))[2:])
        transport.write(b"x")
        assert await receive(peer, 1) == b"x"
        assert transport.get_write_buffer_size() == 0


@on_epoll
@pytest.mark.parametrize("wrong", ["text", 7, None, [1]])
async def test_write_of_what_is_not_bytes_raises(wrong: Any) -> None:
    """TypeError names the type."""
    async with wire(Plain()) as (transport, _):
        with pytest.raises(TypeError, match=type(wrong).__name__):
            transport.write(wrong)


@on_epoll
async def test_writelines_sends_all_in_order_and_counts_for_the_water_marks() -> None:
    """Stock asyncio 3.12 forgets to pause here."""
    protocol = Plain()
    async with wire(protocol, steps=[3, 0, 50]) as (transport, peer):
        transport.set_write_buffer_limits(high=10)
        transport.writelines([b"ab", bytearray(b"cd"), memoryview(b"efgh" * 4)])
        assert protocol.calls == ["made", "pause"]
        assert await receive(peer, 20) == b"abcd" + b"efgh" * 4
        await until(lambda: protocol.calls[-1] == "resume", "it resumed")


# -- writelines ----------------------------------------------------------------------------------

PIECES = [PATTERN[:5], bytearray(PATTERN[5:6]), b"", memoryview(PATTERN)[6:17], b"", PATTERN[17:20]]


@on_epoll
@pytest.mark.parametrize("k", range(21))
async def test_writelines_when_the_kernel_takes_k_bytes_keeps_every_byte(k: int) -> None:
    """I12: split at every byte, between pieces and within them, empty ones among them."""
    async with wire(Plain(), steps=[k, 0, 7]) as (transport, peer):
        transport.writelines(PIECES)
        assert transport.get_write_buffer_size() == 20 - k
        transport.write(b"|")
        assert await receive(peer, 21) == PATTERN[:20] + b"|"
        await until(lambda: not transport.get_write_buffer_size(), "the write buffer is empty")


@on_epoll
async def test_writelines_goes_behind_a_write_buffer() -> None:
    """I12: what would fit the kernel does not overtake."""
    async with wire(Plain(), steps=[2, 100]) as (transport, peer):
        transport.write(b"<first>")
        transport.writelines(PIECES)
        assert transport.get_write_buffer_size() == 25
        assert await receive(peer, 27) == b"<first>" + PATTERN[:20]


@on_epoll
@pytest.mark.parametrize("k", [0, 1, 7, 4095, 4096, 4097, 8191])
async def test_writelines_when_the_sources_are_overwritten_at_once_sends_the_old_bytes(
    k: int,
) -> None:
    """I12: the memory is the caller's again as soon as `writelines` returns."""
    source = bytearray(PATTERN[:8192])
    view = memoryview(source)
    async with wire(Plain(), steps=[k, 0, 1000]) as (transport, peer):
        for _ in range(2):
            source[:] = PATTERN[:8192]
            transport.writelines([view[:4096], view[4096:]])
            source[:] = b"!" * 8192
        assert await receive(peer, 2 * 8192) == PATTERN[:8192] * 2


@on_epoll
@pytest.mark.parametrize("k", [0, 1, 5, 6, 59, 66, 100])
async def test_writelines_of_views_of_any_item_counts_bytes(k: int) -> None:
    """Lengths are of bytes, not of items or rows; a view may have no items at all."""
    pieces = [
        b"ab",
        memoryview(array.array("I", range(4))),
        memoryview(bytes(range(20))).cast("B", (4, 5)),
        memoryview(bytearray(4)).cast("B", (2, 2))[2:],
        memoryview(array.array("d")),
        memoryview(bytes(range(24))).cast("d"),
        array.array("H", range(2)),
    ]
    data = b"".join(memoryview(piece).tobytes() for piece in pieces)
    async with wire(Plain(), steps=[k, 0, 11]) as (transport, peer):
        transport.writelines(pieces)
        transport.writelines(iter(pieces))
        assert await receive(peer, 2 * len(data)) == data * 2


@on_epoll
@pytest.mark.parametrize("pieces", [[], [b""], [b"", b""], [memoryview(b"")] * 3])
async def test_writelines_of_nothing_sends_nothing(pieces: list[Any]) -> None:
    """No piece, or none that is not empty."""
    async with wire(Plain()) as (transport, peer):
        transport.writelines(pieces)
        assert transport.get_write_buffer_size() == 0
        transport.write(b"x")
        assert await receive(peer, 1) == b"x"


class Counting(socket.socket):
    """Counts its calls; `sendmsg` fails with more pieces than the kernel takes."""

    calls: list[str]

    def send(self, data: Any, *flags: int) -> int:  # type: ignore[override]
        self.calls.append("send")
        return super().send(data)

    def sendmsg(self, buffers: Any, *more: Any) -> int:  # type: ignore[override]
        self.calls.append("sendmsg")
        return super().sendmsg(buffers)


@on_epoll
@pytest.mark.parametrize(
    ("count", "call"),
    [(1, "send"), (2, "sendmsg"), (1024, "sendmsg"), (1025, "send"), (5000, "send")],
)
async def test_writelines_takes_one_system_call(count: int, call: str) -> None:
    """More pieces than IOV_MAX are joined first, for the kernel would refuse them."""
    pieces = [bytes([97 + number % 26]) for number in range(count)]
    mine, peer = socket.socketpair()
    counting = Counting(fileno=mine.detach())
    counting.calls = []
    counting.setblocking(False)
    peer.setblocking(False)
    loop = asyncio.get_running_loop()
    protocol = Plain()
    transport, _ = await loop.create_connection(lambda: protocol, sock=counting)
    transport.writelines(pieces)
    assert counting.calls == [call]
    assert await receive(peer, count) == b"".join(pieces)
    transport.close()
    await until(lambda: "lost" in protocol.calls, "it is lost")
    peer.close()


@on_epoll
async def test_writelines_into_the_least_send_buffer_keeps_every_byte() -> None:
    """I12: a real kernel that takes a few kilobytes of many pieces."""
    source = bytearray(PATTERN)
    view = memoryview(source)
    pieces = [view[start : start + 3001] for start in range(0, len(PATTERN), 3001)]
    async with wire(Plain(), small_pair) as (transport, peer):
        transport.writelines(pieces)
        source[:] = bytes(len(source))
        assert transport.get_write_buffer_size() > 200_000
        assert await receive(peer, len(PATTERN)) == PATTERN


@on_epoll
@pytest.mark.parametrize("pieces", [[b"x"], [b"x", b"y"]], ids=["one", "two"])
async def test_writelines_after_write_eof_raises(pieces: list[bytes]) -> None:
    """As write does; nothing of it is sent."""
    async with wire(Plain(keep_open=True)) as (transport, peer):
        transport.writelines([b"fare", b"well"])
        transport.write_eof()
        with pytest.raises(RuntimeError, match="after write_eof"):
            transport.writelines(pieces)
        assert await receive(peer) == b"farewell"


@on_epoll
async def test_writelines_after_close_joins_the_write_buffer() -> None:
    """As write does, and as asyncio does."""
    protocol = Plain()
    async with wire(protocol, steps=[0, 3]) as (transport, peer):
        transport.write(b"0123")
        transport.close()
        transport.writelines([b"45", b"67"])
        assert await receive(peer) == b"01234567"
        await until(lambda: "lost" in protocol.calls, "it is lost")
        assert protocol.error is None


@on_epoll
async def test_writelines_to_a_lost_connection_warns_from_the_fifth_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One call counts once, however many pieces it has."""
    async with wire(Plain()) as (transport, _):
        transport.abort()
        with caplog.at_level(logging.WARNING, "asyncio"):
            for _ in range(4):
                transport.writelines([b"x", b"y"])
            assert not caplog.records
            transport.writelines([b"x", b"y"])
        assert "socket.send() raised" in caplog.text
        assert transport.get_write_buffer_size() == 0


@on_epoll
@pytest.mark.parametrize("wrong", ["text", 7, None])
async def test_writelines_with_what_is_not_bytes_raises_and_sends_nothing(wrong: Any) -> None:
    """Also not the pieces before it."""
    async with wire(Plain()) as (transport, peer):
        for pieces in ([wrong], [b"ab", wrong]):
            with pytest.raises(TypeError, match="bytes-like"):
                transport.writelines(pieces)
        transport.write(b"x")
        assert await receive(peer, 1) == b"x"


class BrokenMessages(socket.socket):
    """`sendmsg` raises."""

    fails_with: BaseException = ConnectionResetError()

    def sendmsg(self, buffers: Any, *more: Any) -> int:  # type: ignore[override]
        raise self.fails_with


@on_epoll
@pytest.mark.parametrize("error", [ConnectionResetError(), BrokenPipeError(), SystemExit()])
async def test_writelines_that_fails_loses_the_connection_without_a_report(
    error: BaseException,
) -> None:
    """A peer's fault is nobody's traceback; SystemExit is for the interpreter."""
    mine, peer = socket.socketpair()
    broken = BrokenMessages(fileno=mine.detach())
    broken.setblocking(False)
    broken.fails_with = error
    protocol = Plain()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(lambda: protocol, sock=broken)
    if isinstance(error, SystemExit):
        with pytest.raises(SystemExit):
            transport.writelines([b"x", b"y"])
    else:
        transport.writelines([b"x", b"y"])
    await until(lambda: "lost" in protocol.calls, "it is lost")
    if isinstance(error, SystemExit):  # nobody knows how much was sent
        assert isinstance(protocol.error, ConnectionAbortedError)
    else:
        assert protocol.error is error
    peer.close()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.binary(max_size=12), max_size=5), max_size=8),
    st.lists(st.integers(0, 25), max_size=40),
)
def test_writelines_on_any_schedule_come_out_in_order(
    writes: list[list[bytes]], steps: list[int]
) -> None:
    """I12: any pieces, any partial sends, mixed with plain writes; then the end."""

    async def scenario() -> bytes:
        async with wire(Plain(keep_open=True), steps=[*steps, 3]) as (transport, peer):
            for index, pieces in enumerate(writes):
                sources = [bytearray(piece) for piece in pieces]
                transport.writelines([memoryview(source) for source in sources])
                for source in sources:
                    source[:] = b"!" * len(source)
                transport.write(b"|")
                if index % 3 == 0:
                    await iterations(1)
            transport.close()
            return await receive(peer)

    with asyncio.Runner(loop_factory=EpollEventLoop) as runner:
        assert runner.run(scenario()) == b"".join(b"".join(pieces) + b"|" for pieces in writes)


# -- water marks and ends ------------------------------------------------------------------------


@on_epoll
async def test_water_marks_pause_above_high_and_resume_at_low() -> None:
    """Exactly at the high mark it does not pause yet."""
    protocol = Plain()
    async with wire(protocol, steps=[0, 0, 0, 2]) as (transport, peer):
        transport.set_write_buffer_limits(high=10, low=4)
        assert transport.get_write_buffer_limits() == (4, 10)
        transport.write(b"x" * 10)
        assert protocol.calls == ["made"]
        transport.write(b"y")
        transport.write(b"y")
        assert protocol.calls == ["made", "pause"]
        sizes = []
        protocol.resume_writing = lambda: sizes.append(transport.get_write_buffer_size())
        assert await receive(peer, 12) == b"x" * 10 + b"yy"
        await until(lambda: sizes, "it resumed")
        assert sizes == [4]


@on_epoll
async def test_set_write_buffer_limits_with_a_write_buffer_pauses_at_once() -> None:
    """And the defaults are asyncio's."""
    protocol = Plain()
    async with wire(protocol, steps=[0, 0, 0, 1]) as (transport, _):
        assert transport.get_write_buffer_limits() == (16 * 1024, 64 * 1024)
        transport.write(b"x" * 10)
        transport.set_write_buffer_limits(high=0)
        assert protocol.calls == ["made", "pause"]
        with pytest.raises(ValueError, match="high"):
            transport.set_write_buffer_limits(high=1, low=2)


@on_epoll
async def test_resume_writing_that_writes_goes_behind_what_is_left() -> None:
    """I12: also from inside the callback, where the write buffer is not empty."""
    protocol = Plain()
    async with wire(protocol, steps=[0, 6, 1]) as (transport, peer):
        transport.set_write_buffer_limits(high=8, low=4)
        protocol.resume_writing = lambda: transport.write(b"<more>")
        transport.write(b"0123456789")
        assert await receive(peer, 16) == b"0123456789<more>"


@on_epoll
@pytest.mark.parametrize("steps", [[100], [0, 3, 0, 2]], ids=["no write buffer", "write buffer"])
async def test_write_eof_comes_after_all_bytes(steps: list[int]) -> None:
    """The other direction stays open; a second write_eof is none."""
    protocol = Plain(keep_open=True)
    async with wire(protocol, steps=steps) as (transport, peer):
        assert transport.can_write_eof()
        transport.write(b"farewell")
        transport.write_eof()
        transport.write_eof()
        with pytest.raises(RuntimeError, match="after write_eof"):
            transport.write(b"x")
        assert await receive(peer) == b"farewell"
        await asyncio.get_running_loop().sock_sendall(peer, b"still heard")
        await until(lambda: protocol.data == b"still heard", "it hears")
        assert not transport.is_closing()


@on_epoll
async def test_close_with_a_write_buffer_sends_it_first() -> None:
    """Writes after close() join the write buffer, as in asyncio; input is not read any more."""
    protocol = Plain()
    async with wire(protocol, steps=[0, 0, 2]) as (transport, peer):
        transport.write(b"01234567")
        transport.close()
        transport.close()
        transport.write(b"89")
        transport.write_eof()
        assert transport.is_closing()
        assert "lost" not in protocol.calls
        await asyncio.get_running_loop().sock_sendall(peer, b"unheard")
        assert await receive(peer, 10) == b"0123456789"
        await until(lambda: "lost" in protocol.calls, "it is lost")
        assert protocol.calls == ["made", "lost"]
        assert protocol.error is None
        assert not protocol.data


@on_epoll
async def test_abort_drops_the_write_buffer_and_the_memory_of_it() -> None:
    """I13: a later change of the limits finds no write buffer, so nobody is called for it."""
    protocol = Plain()
    async with wire(protocol, steps=[0]) as (transport, peer):
        transport.write(b"x" * 1000)
        transport.abort()
        assert transport.get_write_buffer_size() == 0
        transport.set_write_buffer_limits(high=0)
        await until(lambda: "lost" in protocol.calls, "it is lost")
        transport.set_write_buffer_limits(high=0)
        transport.abort()
        transport.close()
        assert protocol.calls == ["made", "lost"]
        assert await receive(peer) == b""


@on_epoll
async def test_write_to_a_lost_connection_warns_from_the_fifth_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As asyncio does; nothing raises."""
    async with wire(Plain()) as (transport, _):
        transport.abort()
        with caplog.at_level(logging.WARNING, "asyncio"):
            for _ in range(4):
                transport.write(b"x")
            assert not caplog.records
            transport.write(b"x")
        assert "socket.send() raised" in caplog.text
        await iterations()
        transport.write(b"closed by now")


class Broken(socket.socket):
    """Takes nothing, then fails."""

    fails_with: BaseException = ConnectionResetError()
    sends = 0

    def send(self, data: Any, *flags: int) -> int:  # type: ignore[override]
        self.sends += 1
        if self.sends == 1:
            raise BlockingIOError
        raise self.fails_with


@on_epoll
@pytest.mark.parametrize("error", [ConnectionResetError(), BrokenPipeError()])
@pytest.mark.parametrize("later", [False, True])
async def test_send_that_fails_loses_the_connection_without_a_report(
    error: OSError, later: bool
) -> None:
    """In write itself and when the write buffer is sent; a peer's fault is nobody's traceback."""
    mine, peer = socket.socketpair()
    broken = Broken(fileno=mine.detach())
    broken.setblocking(False)
    broken.fails_with = error
    broken.sends = 0 if later else 1
    protocol = Plain()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(lambda: protocol, sock=broken)
    transport.write(b"x")
    await until(lambda: "lost" in protocol.calls, "it is lost")
    assert protocol.error is error
    peer.close()


@on_epoll
async def test_send_that_fails_strangely_is_reported(loop_errors: list[dict[str, Any]]) -> None:
    """What is no OSError is a defect, and reaches the loop's handler with the transport."""
    mine, peer = socket.socketpair()
    broken = Broken(fileno=mine.detach())
    broken.setblocking(False)
    broken.fails_with = error = ZeroDivisionError()
    protocol = Plain()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(lambda: protocol, sock=broken)
    transport.write(b"x")
    await until(lambda: "lost" in protocol.calls, "it is lost")
    (context,) = loop_errors
    assert context["exception"] is error
    assert context["transport"] is transport
    loop_errors.clear()
    peer.close()


@on_epoll
async def test_system_exit_out_of_send_passes_through_and_ends_the_stream() -> None:
    """It is for the interpreter; and nobody knows how much was sent before."""
    mine, peer = socket.socketpair()
    broken = Broken(fileno=mine.detach())
    broken.setblocking(False)
    broken.fails_with = SystemExit()
    broken.sends = 1
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(Plain, sock=broken)
    with pytest.raises(SystemExit):
        transport.write(b"x")
    assert transport.is_closing()
    await iterations()
    peer.close()


@on_epoll
async def test_system_exit_out_of_a_later_send_passes_through_and_ends_the_stream() -> None:
    """The same while the write buffer is sent."""
    mine, peer = socket.socketpair()
    broken = Broken(fileno=mine.detach())
    broken.setblocking(False)
    broken.fails_with = SystemExit()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(Plain, sock=broken)
    transport.write(b"x")
    with pytest.raises(SystemExit):
        transport._send_write_buffer()
    assert transport.is_closing()
    assert transport.get_write_buffer_size() == 0  # or it would go twice
    await iterations()
    peer.close()


@on_epoll
async def test_sendfile_waits_for_the_write_buffer_and_refuses_writes(tmp_path: Any) -> None:
    """I12: what `loop.sendfile` asks for; nothing goes between the write buffer and the file."""
    path = tmp_path / "file"
    path.write_bytes(b"<file>")
    loop = asyncio.get_running_loop()
    for steps in ([100], [0, 2]):
        async with wire(Plain(), steps=steps) as (transport, peer):
            transport.write(b"before")
            with path.open("rb") as file:
                sending = asyncio.create_task(loop.sendfile(transport, file))
                await iterations(1)
                for write in (transport.write, lambda data: transport.writelines([data, data])):
                    with pytest.raises(RuntimeError, match="sendfile is in progress"):
                        write(b"x")
                with pytest.raises(RuntimeError, match="already set"):
                    transport._make_empty_waiter()
                assert await receive(peer, 12) == b"before<file>"
                assert await sending == 6
            transport.write(b"after")
            assert await receive(peer, 5) == b"after"


@on_epoll
async def test_sendfile_that_is_cancelled_before_the_write_buffer_was_sent_is_not_woken(
    tmp_path: Any,
) -> None:
    """The write buffer is sent all the same."""
    path = tmp_path / "file"
    path.write_bytes(b"<file>")
    loop = asyncio.get_running_loop()
    async with wire(Plain(), steps=[0, 0, 0, 2]) as (transport, peer):
        transport.write(b"before")
        with path.open("rb") as file:
            sending = asyncio.create_task(loop.sendfile(transport, file))
            await iterations(1)
            waiter = transport._empty_waiter
            waiter.cancel()
            wake(waiter)
            with pytest.raises(asyncio.CancelledError):
                await sending
        assert await receive(peer, 6) == b"before"


class Unshuttable(socket.socket):
    """A socket whose peer has reset it."""

    def shutdown(self, how: int) -> None:
        raise OSError(errno.ENOTCONN, "not connected")


@on_epoll
async def test_write_eof_on_a_socket_that_cannot_shut_loses_the_connection() -> None:
    """ENOTCONN after a reset is the peer's doing, not the caller's."""
    mine, peer = socket.socketpair()
    sock = Unshuttable(fileno=mine.detach())
    sock.setblocking(False)
    protocol = Plain()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(lambda: protocol, sock=sock)
    transport.write_eof()
    await until(lambda: "lost" in protocol.calls, "it is lost")
    assert isinstance(protocol.error, OSError)
    peer.close()


@on_epoll
async def test_write_buffer_that_was_sent_leaves_the_loop_asleep() -> None:
    """A socket that can be written to is reported for ever, to whoever still asks."""
    async with wire(Plain(), steps=[1, 0, 100]) as (transport, peer):
        transport.write(b"beyond1")
        assert await receive(peer, 7) == b"beyond1"
        await until(lambda: not transport.get_write_buffer_size(), "the write buffer is empty")
        assert await polls_while_idle(asyncio.get_running_loop()) < FEW_POLLS
