"""channel: the ring as a queue between coroutines and a thread, without any socket."""

import array
import asyncio
import ctypes
import gc
import weakref
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncrev import Channel, EpollEventLoop
from asyncrev.errors import ChannelClosed, LocalError, SettingsError
from asyncrev.ring.thread_side import ThreadSide
from tests import strategies
from tests.support import until

pytestmark = pytest.mark.usefixtures("each_plane")
EPOLL = pytest.mark.asyncio(loop_factories=["epoll"])


def answer_all(side: ThreadSide, work: Callable[[bytes], bytes] = bytes) -> int:
    """Answer every buffer until the loop's side closes, then close; return how many."""
    count = 0
    try:
        while True:
            side.put(work(bytes(side.get())))
            count += 1
    except ChannelClosed:
        side.close()
        return count


def wrapped(future: "Future[Any]") -> "asyncio.Future[Any]":
    """Return something to await."""
    return asyncio.wrap_future(future)


@pytest.mark.asyncio
@pytest.mark.parametrize("slots", [1, 2, 3, 64])
async def test_channel_moves_buffers_there_and_back_in_order(slots: int) -> None:
    """I5, I6 on every loop: nothing lost, doubled or reordered, no wake-up lost."""
    channel, nitems = Channel(slots, 8), 300
    side = channel.loop_side

    async def put() -> None:
        for number in range(nitems):
            await side.put(number.to_bytes(8, "big"))
        side.close()

    with ThreadPoolExecutor(1) as pool:
        worker = pool.submit(answer_all, channel.thread_side, lambda data: data[::-1])
        putting = asyncio.ensure_future(put())
        for number in range(nitems):
            assert await side.get() == number.to_bytes(8, "big")[::-1]
        await putting
        with pytest.raises(ChannelClosed):
            await side.get()
        assert await wrapped(worker) == nitems
    assert channel.thread_side._parker.backstop_wakes == 0


# -- blocks that close what they leave -----------------------------------------------------------


def answer_in_a_block(side: ThreadSide, *, fail_at: bytes | None = None) -> int:
    """Answer every buffer, in a block of the thread's side; return how many."""
    count = 0
    with side:
        while True:
            data = bytes(side.get())
            if data == fail_at:
                raise ZeroDivisionError("the thread fails")
            side.put(data)
            count += 1
    return count


@pytest.mark.asyncio
async def test_block_of_the_channel_closes_both_sides() -> None:
    """The thread ends with what it has got, and nothing stays on the loop."""
    with ThreadPoolExecutor(1) as pool:
        async with Channel(4, 8) as channel:
            worker = pool.submit(answer_in_a_block, channel.thread_side)
            for number in range(10):
                await channel.loop_side.put(b"%d" % number)
                assert await channel.loop_side.get() == b"%d" % number
        assert await wrapped(worker) == 10
    for use in (channel.loop_side.get(), channel.loop_side.put(b"x")):
        with pytest.raises(ChannelClosed):
            await use
    with pytest.raises(ChannelClosed):
        channel.thread_side.put(b"x")


@pytest.mark.asyncio
@pytest.mark.parametrize("unanswered", [0, 1, 4])
async def test_exception_on_the_loop_does_not_leave_the_thread_waiting(unanswered: int) -> None:
    """In a get, or with buffers to answer; what it raises comes out of the block."""
    workers: list[Future[int]] = []

    async def fail() -> None:
        async with Channel(4, 8) as channel:
            for _ in range(unanswered):
                await channel.loop_side.put(b"x")
            workers.append(pool.submit(answer_in_a_block, channel.thread_side))
            raise ZeroDivisionError("the loop fails")

    with ThreadPoolExecutor(1) as pool:
        with pytest.raises(ZeroDivisionError, match="the loop fails"):
            await fail()
        await wrapped(workers[0])


@pytest.mark.asyncio
async def test_exception_on_the_thread_does_not_leave_the_loop_waiting() -> None:
    """Neither who puts nor who gets; what was answered before is got."""
    with ThreadPoolExecutor(1) as pool:
        async with Channel(2, 8) as channel:
            side = channel.loop_side
            worker = pool.submit(answer_in_a_block, channel.thread_side, fail_at=b"b")
            await side.put(b"a")
            await side.put(b"b")
            putting = asyncio.ensure_future(side.put(b"c"))
            await asyncio.sleep(0)
            assert await side.get() == b"a"
            with pytest.raises(ChannelClosed):
                await side.get()
            await asyncio.wait([putting])  # it may have found the slot of the first
            if putting.exception() is not None:
                assert isinstance(putting.exception(), ChannelClosed)
        with pytest.raises(ZeroDivisionError, match="the thread fails"):
            await wrapped(worker)


@pytest.mark.asyncio
async def test_leaving_the_block_wakes_coroutines_that_wait() -> None:
    """They are the loop's own, and nobody will answer them."""
    async with Channel(1, 8) as channel:
        side = channel.loop_side
        await side.put(b"a")
        waiting = [asyncio.ensure_future(side.put(b"b")), asyncio.ensure_future(side.get())]
        await asyncio.sleep(0)
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(result) for result in results] == [ChannelClosed, ChannelClosed]


@pytest.mark.asyncio
async def test_channel_that_was_left_stays_nowhere_on_the_loop() -> None:
    """Unused, and with a buffer that nobody answered."""

    async def use(buffers: int) -> "weakref.ref[Any]":
        async with Channel(2, 8) as channel:
            for _ in range(buffers):
                await channel.loop_side.put(b"a")
            return weakref.ref(channel.loop_side)

    gone = [await use(0), await use(1)]
    for _ in range(3):
        await asyncio.sleep(0)
    gc.collect()
    assert [ref() for ref in gone] == [None, None]


@EPOLL
async def test_block_of_the_threads_side_hides_no_end_of_another_channel() -> None:
    """Only what its own channel says is a regular end."""
    open_one, closed = Channel(2, 8), Channel(2, 8)
    closed.loop_side.close()
    with pytest.raises(ChannelClosed), open_one.thread_side:
        closed.thread_side.get()
    with closed.thread_side as side:
        side.get()
    open_one.loop_side.close()


@pytest.mark.asyncio
async def test_channel_made_outside_a_loop_works_in_one() -> None:
    """Made on a thread without a loop; entries of both sides meet later."""
    with ThreadPoolExecutor(1) as pool:
        channel = await wrapped(pool.submit(Channel, 4, 8))
        worker = pool.submit(answer_all, channel.thread_side)
        await channel.loop_side.put(b"x")
        channel.loop_side.close()
        assert await channel.loop_side.get() == b"x"
        assert await wrapped(worker) == 1


def test_channel_refuses_a_ring_of_nothing() -> None:
    """The ring's own message comes through."""
    with pytest.raises(SettingsError, match="0 slots of 8 bytes"):
        Channel(0, 8)


@pytest.mark.asyncio
async def test_put_waits_while_every_slot_is_in_use() -> None:
    """A slot is in use from its put until the get of its answer: both directions are bounded."""
    channel = Channel(2, 8)
    side, thread = channel.loop_side, channel.thread_side
    for data in (b"a", b"b"):
        await side.put(data)
    third = asyncio.ensure_future(side.put(b"c"))
    with ThreadPoolExecutor(1) as pool:
        for _ in range(2):
            await wrapped(pool.submit(lambda: thread.put(bytes(thread.get()))))
        await asyncio.sleep(0)
        assert not third.done()  # answered is not enough
        assert await side.get() == b"a"
        await third
        await wrapped(pool.submit(lambda: thread.put(bytes(thread.get()))))
    assert [await side.get(), await side.get()] == [b"b", b"c"]


@EPOLL
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"abcdefgh",
        bytearray(b"abc"),
        memoryview(b"abcdefgh")[::-2],
        memoryview(b"abcdefgh").cast("I"),
        memoryview(b"abcdefgh").cast("B", (2, 4)),
        array.array("H", [1, 2, 3]),
        np.arange(8, dtype="u1").reshape(2, 4)[:, ::2],
        np.array([1, 2], dtype=">u4"),
        np.zeros((0, 3), dtype="u4"),
        (ctypes.c_int * 2)(5, 6),
    ],
    ids=lambda data: type(data).__name__,
)
async def test_put_takes_every_shape_of_buffer(data: Any) -> None:
    """Not contiguous, not bytes, more than one dimension, foreign byte order, nothing at all."""
    channel = Channel(1, 8)
    await channel.loop_side.put(data)
    assert bytes(channel.thread_side.get(0)) == memoryview(data).tobytes()


@EPOLL
async def test_put_longer_than_a_slot_raises_with_both_numbers() -> None:
    """Nothing was put, and bytes are counted, not items."""
    channel = Channel(1, 8)
    with pytest.raises(LocalError, match="put of 9 bytes; a slot has 8"):
        await channel.loop_side.put(bytes(9))
    with pytest.raises(LocalError, match="put of 12 bytes; a slot has 8"):
        await channel.loop_side.put(memoryview(bytes(12)).cast("I"))
    with pytest.raises(TypeError):
        await channel.loop_side.put("text")  # type: ignore[arg-type]
    with pytest.raises(TimeoutError):
        channel.thread_side.get(0)


@EPOLL
async def test_answer_of_none_comes_as_no_bytes() -> None:
    """It keeps its place in the order."""
    channel = Channel(2, 8)
    await channel.loop_side.put(b"a")
    await channel.loop_side.put(b"b")
    thread = channel.thread_side
    with ThreadPoolExecutor(1) as pool:
        await wrapped(pool.submit(lambda: (thread.get(), thread.put(None))))
        await wrapped(pool.submit(lambda: (thread.get(), thread.put(b"B"))))
    assert [await channel.loop_side.get(), await channel.loop_side.get()] == [b"", b"B"]


@pytest.mark.asyncio
async def test_loop_closes_and_the_thread_gets_the_rest() -> None:
    """I4: then the thread is told; then the loop, when every answer was got."""
    channel = Channel(4, 8)
    side, thread = channel.loop_side, channel.thread_side
    await side.put(b"a")
    await side.put(b"b")
    side.close()
    side.close()
    with pytest.raises(ChannelClosed):
        await side.put(b"c")
    with ThreadPoolExecutor(1) as pool:
        assert [bytes(await wrapped(pool.submit(thread.get))) for _ in range(2)] == [b"a", b"b"]
        with pytest.raises(ChannelClosed):
            await wrapped(pool.submit(thread.get))
        getting = asyncio.ensure_future(side.get())
        await wrapped(pool.submit(lambda: (thread.put(b"A"), thread.put(b"B"))))
    assert await getting == b"A"
    assert await side.get() == b"B"
    for _ in range(2):
        with pytest.raises(ChannelClosed):
            await side.get()  # every put was answered, so the thread need not close


@pytest.mark.asyncio
async def test_loop_closes_while_a_get_waits_for_nothing() -> None:
    """No buffer is out, so no answer can come, and the one who waits is told."""
    channel = Channel(2, 8)
    getting = asyncio.ensure_future(channel.loop_side.get())
    await asyncio.sleep(0)
    channel.loop_side.close()
    with pytest.raises(ChannelClosed):
        await getting
    with pytest.raises(ChannelClosed):
        channel.thread_side.get()
    channel.thread_side.close()


@pytest.mark.asyncio
async def test_loop_closes_while_puts_wait() -> None:
    """Each of them is told; the ring stays full of what was put before."""
    channel = Channel(1, 8)
    await channel.loop_side.put(b"a")
    putting = [asyncio.ensure_future(channel.loop_side.put(b"b")) for _ in range(3)]
    await asyncio.sleep(0)
    channel.loop_side.close()
    outcomes = await asyncio.gather(*putting, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [ChannelClosed] * 3


@pytest.mark.asyncio
async def test_thread_closes_and_the_loop_gets_the_rest() -> None:
    """I4: then the loop's gets and puts raise, those that wait already included."""
    channel = Channel(2, 8)
    side, thread = channel.loop_side, channel.thread_side
    await side.put(b"a")
    await side.put(b"b")
    putting = asyncio.ensure_future(side.put(b"c"))
    with ThreadPoolExecutor(1) as pool:
        await wrapped(pool.submit(lambda: (thread.get(), thread.put(b"A"), thread.close())))
        assert await side.get() == b"A"
        with pytest.raises(ChannelClosed):
            await putting
        with pytest.raises(ChannelClosed):
            await side.put(b"d")
        with pytest.raises(ChannelClosed):
            await side.get()  # b"b" was never answered, and never will be


@pytest.mark.asyncio
async def test_thread_closes_with_nothing_answered_and_all_who_wait_are_told() -> None:
    """A close alone, without any result, wakes a get on an empty and a put on a full channel."""
    empty, full = Channel(1, 8), Channel(1, 8)
    await full.loop_side.put(b"a")
    waiting = [
        asyncio.ensure_future(empty.loop_side.get()),
        asyncio.ensure_future(full.loop_side.put(b"b")),
    ]
    await asyncio.sleep(0)
    with ThreadPoolExecutor(1) as pool:
        await wrapped(pool.submit(lambda: (empty.thread_side.close(), full.thread_side.close())))
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [ChannelClosed] * 2


@pytest.mark.asyncio
async def test_answers_not_got_do_not_keep_the_loop_busy() -> None:
    """Nothing spins: a loop with answers that nobody gets yet sleeps."""
    channel = Channel(2, 8)
    await channel.loop_side.put(b"a")
    thread = channel.thread_side
    with ThreadPoolExecutor(1) as pool:
        await wrapped(pool.submit(lambda: (thread.get(), thread.put(b"A"))))
    side = channel.loop_side._side
    await until(lambda: thread._ring.processed_seq == 1, "the answer is there")
    if side.flush_is_due:  # iteration hooks: whether the next iteration must come at once
        assert side.before_poll() is False
    else:
        deliveries = side.deliveries
        for _ in range(10):
            await asyncio.sleep(0)
        assert side.deliveries == deliveries
    assert await channel.loop_side.get() == b"A"


@pytest.mark.asyncio
@pytest.mark.parametrize("thread_closes", [False, True])
async def test_channel_that_is_over_leaves_nothing_on_the_loop(thread_closes: bool) -> None:
    """Its memory and its descriptor go with the last reference, while the loop lives on."""

    async def use() -> "weakref.ref[Any]":
        channel = Channel(2, 8)
        side, thread = channel.loop_side, channel.thread_side
        await side.put(b"a")
        if not thread_closes:
            side.close()
        with ThreadPoolExecutor(1) as pool:
            await wrapped(pool.submit(lambda: (thread.get(), thread.put(b"A"))))
            if thread_closes:
                await wrapped(pool.submit(thread.close))
        assert await side.get() == b"A"
        if thread_closes:
            with pytest.raises(ChannelClosed):
                await side.get()
        return weakref.ref(side)

    gone = await use()
    for _ in range(3):
        await asyncio.sleep(0)
    gc.collect()
    assert gone() is None


def test_second_loop_is_refused() -> None:
    """The side belongs to the loop that used it first."""
    channel = Channel(2, 8)
    with asyncio.Runner(loop_factory=EpollEventLoop) as first:
        first.run(channel.loop_side.put(b"a"))
        with asyncio.Runner(loop_factory=EpollEventLoop) as second:
            with pytest.raises(LocalError, match="another event loop"):
                second.run(channel.loop_side.put(b"b"))
            with pytest.raises(LocalError, match="another event loop"):
                second.run(channel.loop_side.get())
    with pytest.raises(RuntimeError, match="no running event loop"):
        channel.loop_side.close()


@pytest.mark.parametrize("factory", [EpollEventLoop, asyncio.SelectorEventLoop])
def test_thread_is_told_when_the_loop_was_closed_under_it(factory: type) -> None:
    """An answer that nobody can get is an error, not a silent loss."""
    channel = Channel(2, 8)
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(channel.loop_side.put(b"a"))
    channel.thread_side.get()
    channel.thread_side._signal.clear()
    with pytest.raises(LocalError, match="loop was closed"):
        channel.thread_side.put(b"A")


@pytest.mark.asyncio
async def test_many_putters_and_getters_are_served_in_order() -> None:
    """First come, first served, on both sides, through a single slot."""
    channel, many = Channel(1, 8), 20
    side = channel.loop_side
    with ThreadPoolExecutor(1) as pool:
        worker = pool.submit(answer_all, channel.thread_side)
        getting = [asyncio.ensure_future(side.get()) for _ in range(many)]
        putting = [asyncio.ensure_future(side.put(b"%d" % number)) for number in range(many)]
        await asyncio.gather(*putting)
        assert await asyncio.gather(*getting) == [b"%d" % number for number in range(many)]
        side.close()
        assert await wrapped(worker) == many


@pytest.mark.parametrize("factory", [EpollEventLoop, asyncio.SelectorEventLoop])
@strategies.QUICK
@given(
    slots=st.integers(1, 3),
    schedule=st.lists(
        st.tuples(
            st.sampled_from(["put", "get", "cancel put", "cancel get", "iterate", "answer"]),
            st.integers(0, 3),
        ),
        max_size=60,
    ),
)
def test_cancelling_who_waits_loses_nothing(
    factory: type, slots: int, schedule: list[tuple[str, int]]
) -> None:
    """Puts that were done are got once and in order, whoever was cancelled and whenever."""

    async def main() -> None:
        channel = Channel(slots, 4)
        side, thread = channel.loop_side, channel.thread_side
        puts: list[asyncio.Task[None]] = []
        gets: list[asyncio.Task[bytes]] = []

        def answer() -> None:
            try:
                thread.put(bytes(thread.get(0)))
            except TimeoutError:
                pass

        for what, number in schedule:
            if what == "put":
                puts.append(asyncio.ensure_future(side.put(len(puts).to_bytes(4, "big"))))
            elif what == "get":
                gets.append(asyncio.ensure_future(side.get()))
            elif what == "cancel put" and puts:
                puts[-1 - number % len(puts)].cancel()
            elif what == "cancel get" and gets:
                gets[-1 - number % len(gets)].cancel()
            elif what == "answer":
                answer()
            else:
                for _ in range(number):
                    await asyncio.sleep(0)
        while not all(put.done() for put in puts):
            gets.append(asyncio.ensure_future(side.get()))
            answer()
            await asyncio.sleep(0)
        expected = [n.to_bytes(4, "big") for n, put in enumerate(puts) if not put.cancelled()]
        side.close()
        while thread._taken_seq != thread._ring.published_seq:
            answer()
        gets += [asyncio.ensure_future(side.get()) for _ in expected]
        got = [
            g for g in await asyncio.gather(*gets, return_exceptions=True) if isinstance(g, bytes)
        ]
        assert got == expected

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())
