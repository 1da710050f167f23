"""submission: `await bridge.submit(...)`, in order, bounded, and given up when it is cancelled."""

import array
import asyncio
import contextvars
import hashlib
import queue
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncrev import Bridge, EpollEventLoop, Limits
from asyncrev.errors import BridgeStopped, LocalError, ProcessorError, SettingsError, WorkerDied
from tests import strategies
from tests.sinks import TINY, Held, Upper
from tests.support import until

on_all = pytest.mark.asyncio
on_epoll = pytest.mark.asyncio(loop_factories=["epoll"])


class Digest:
    """Answers the whole input, when it has ended, with its SHA-256."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def process(self, chunk: memoryview) -> None:
        """Take it in."""
        self._hash.update(chunk)

    def eof(self) -> bytes:
        """Answer."""
        return self._hash.digest()


class Raising:
    """Raises what it was made with, at the chunk that says so."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def process(self, chunk: memoryview) -> bytes:
        """Raise, or answer with the chunk."""
        if b"!" in bytes(chunk):
            raise self._error
        return bytes(chunk)

    def eof(self) -> None:
        """Answer nothing."""


@on_all
async def test_submit_reverses_by_default_and_takes_functions() -> None:
    """What `BridgeProtocol` takes as a processor is one here, too."""
    async with Bridge() as bridge:
        assert await bridge.submit(b"hello") == b"olleh"
        assert await bridge.submit(b"hello", bytes.upper) == b"HELLO"
        assert await bridge.submit(b"hello", Upper) == b"HELLO."
        await until(lambda: not bridge.open_lanes, "their lanes are gone")


@on_all
@pytest.mark.parametrize("limits", [Limits(), TINY], ids=["default", "tiny"])
@pytest.mark.parametrize("nbytes", [0, 1, 100, 4097, 70_000])
async def test_data_longer_than_a_slot_goes_to_one_processor_in_order(
    limits: Limits, nbytes: int
) -> None:
    """In chunks, with `eof` behind them; slots and quota are waited for."""
    data = bytes(range(256)) * (nbytes // 256) + bytes(nbytes % 256)
    async with Bridge(limits) as bridge:
        assert await bridge.submit(data, Digest) == hashlib.sha256(data).digest()
        assert bridge.statistics().processor_errors == 0


@on_all
async def test_submissions_are_worked_on_and_answered_in_the_order_of_their_calls() -> None:
    """Each fits the ring; none overtakes another."""
    worked: list[bytes] = []
    ended: list[int] = []

    def note(data: bytes) -> bytes:
        worked.append(data)
        return data

    async with Bridge() as bridge:

        async def submit(number: int) -> None:
            data = b"%d" % number
            assert await bridge.submit(data, note) == data
            ended.append(number)

        await asyncio.gather(*(submit(number) for number in range(300)))
    assert worked == [b"%d" % number for number in range(300)]
    assert ended == list(range(300))


@on_epoll
@pytest.mark.parametrize(
    ("data", "seen"),
    [
        (bytearray(b"abc"), b"abc"),
        (memoryview(b"abcdef")[::2], b"ace"),
        (memoryview(array.array("H", [0x4141, 0x4242])), b"AABB"),
        (memoryview(array.array("H")), b""),
        (memoryview(b"abcd").cast("B", (2, 2)), b"abcd"),
    ],
)
async def test_any_buffer_is_taken_as_its_bytes(data: Any, seen: bytes) -> None:
    """However its items look."""
    async with Bridge() as bridge:
        assert await bridge.submit(data, Upper) == seen.upper() + b"."


@on_all
@pytest.mark.parametrize("kind", [ValueError, MemoryError, LookupError])
async def test_what_a_processor_raises_comes_out_of_submit(kind: type[Exception]) -> None:
    """That of this submission only; the bridge goes on."""
    error = kind("no")
    async with Bridge(TINY) as bridge:
        other = asyncio.ensure_future(bridge.submit(b"x" * 50, Upper))
        with pytest.raises(kind) as caught:
            await bridge.submit(b"abcdefghijklmnop!" + b"y" * 100, lambda: Raising(error))
        assert caught.value is error
        assert await other == b"X" * 50 + b"."
        assert bridge.statistics().processor_errors == 1


@on_all
@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, StopIteration])
async def test_what_would_end_the_loop_comes_as_a_processor_error(
    kind: type[BaseException],
) -> None:
    """A processor's `sys.exit()` is not the program's."""
    error = kind(3)
    async with Bridge() as bridge:
        with pytest.raises(ProcessorError) as caught:
            await bridge.submit(b"!", lambda: Raising(error))
        assert caught.value.__cause__ is error
        assert await bridge.submit(b"abc") == b"cba"


@on_all
async def test_cancelled_submission_gives_its_lane_up_and_others_go_on() -> None:
    """What the worker has not begun is never processed, and nobody hears of it."""
    held, worked = Held(), []
    async with Bridge(TINY) as bridge:
        first = asyncio.ensure_future(bridge.submit(b"first", lambda: held))
        await until(held.entered.is_set, "the worker has begun")
        second = asyncio.ensure_future(bridge.submit(b"second" * 9, worked.append))
        third = asyncio.ensure_future(bridge.submit(b"third", Upper))
        await asyncio.sleep(0)
        for given_up in (first, second):
            given_up.cancel()
        await asyncio.wait([first, second])
        assert first.cancelled()
        assert second.cancelled()
        held.go.set()
        assert await third == b"THIRD."
        await until(lambda: not bridge.open_lanes, "the lanes are gone")
    assert worked == []


@on_all
async def test_timeout_around_submit_is_a_cancellation() -> None:
    """So `asyncio.timeout` bounds it."""
    held = Held()
    async with Bridge() as bridge:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await bridge.submit(b"x", lambda: held)
        held.go.set()
        await until(lambda: not bridge.open_lanes, "its lane is gone")


@on_all
async def test_end_of_the_bridge_comes_out_of_submit() -> None:
    """Before, meanwhile, and after."""
    bridge, held = Bridge(TINY), Held()
    with pytest.raises(BridgeStopped, match="never started"):
        await bridge.submit(b"x")
    async with bridge:
        waiting = asyncio.ensure_future(bridge.submit(b"x" * 100, lambda: held))
        await until(held.entered.is_set, "the worker has begun")
        closing = asyncio.ensure_future(bridge.close())
        await asyncio.sleep(0)
        held.go.set()
        with pytest.raises(BridgeStopped, match="was stopped while this was open"):
            await waiting
        await closing
    with pytest.raises(BridgeStopped, match="is stopped"):
        await bridge.submit(b"x")


@on_epoll
@pytest.mark.usefixtures("broken_lane")
async def test_death_of_the_worker_comes_out_of_submit(loop_errors: list[dict[str, Any]]) -> None:
    """A defect of asyncrev's, and no reply will ever come."""
    bridge = Bridge()
    bridge.start()
    with pytest.raises(WorkerDied):
        await bridge.submit(b"die")
    await bridge.close()
    loop_errors.clear()


@on_epoll
async def test_submit_of_what_is_no_processor_is_refused_at_once() -> None:
    """As everywhere."""
    async with Bridge() as bridge:
        with pytest.raises(SettingsError, match="is not callable"):
            await bridge.submit(b"x", 7)
        assert not bridge.open_lanes


@on_epoll
async def test_submit_on_another_loop_is_refused() -> None:
    """A ring has one loop's side; the other loop would race with it."""

    async def elsewhere() -> str:
        with pytest.raises(LocalError) as caught:
            await bridge.submit(b"x")
        return str(caught.value)

    async with Bridge() as bridge:
        said: list[str] = []
        thread = threading.Thread(target=lambda: said.append(asyncio.run(elsewhere())))
        thread.start()
        await asyncio.to_thread(thread.join)
        assert "started on another loop" in said[0]


@strategies.QUICK
@given(
    limits=st.builds(
        Limits,
        slots=st.integers(1, 3),
        slot_bytes=st.integers(1, 9),
        in_flight_entries=st.integers(1, 3),
        overflow_bytes=st.integers(1, 9),
    ),
    many=st.lists(st.binary(max_size=60), max_size=12),
)
def test_any_submissions_at_once_get_their_own_replies(limits: Limits, many: list[bytes]) -> None:
    """On rings of one to three tiny slots, with as many waiting as there are."""

    async def main() -> None:
        async with Bridge(limits) as bridge:
            replies = await asyncio.gather(*(bridge.submit(data, Upper) for data in many))
            assert replies == [data.upper() + b"." for data in many]
            assert bridge.statistics().backstop_wakes == 0

    with asyncio.Runner(loop_factory=EpollEventLoop) as runner:
        runner.run(main())


# -- who calls it --------------------------------------------------------------------------------


@on_all
async def test_submit_by_a_processor_of_the_same_bridge_is_refused() -> None:
    """It waited for itself, for good, and with it everybody on that bridge."""
    loop = asyncio.get_running_loop()
    async with Bridge() as bridge, Bridge() as other:

        def asks(target: Bridge) -> Any:
            def work(data: bytes) -> bytes:
                future = asyncio.run_coroutine_threadsafe(target.submit(data, bytes.upper), loop)
                return future.result(10)

            return work

        with pytest.raises(LocalError) as caught:
            await bridge.submit(b"abc", asks(bridge))
        assert str(caught.value) == (
            "submit was called by a processor of the same bridge, whose worker would wait for "
            "itself; call the work directly, or give it to another bridge"
        )
        assert await bridge.submit(b"abc", asks(other)) == b"ABC"
        assert await bridge.submit(b"abc") == b"cba"


@on_epoll
async def test_submit_from_another_thread_is_awaited_on_the_loop() -> None:
    """By `run_coroutine_threadsafe`; that thread may wait."""
    loop = asyncio.get_running_loop()
    async with Bridge() as bridge:

        def ask() -> bytes:
            return asyncio.run_coroutine_threadsafe(bridge.submit(b"abc"), loop).result(10)

        assert await asyncio.to_thread(ask) == b"cba"


REQUEST: contextvars.ContextVar[str] = contextvars.ContextVar("REQUEST", default="nobody's")


class Named:
    """Answers with what the context variable is in each of its methods, and sets it."""

    closed_as: "queue.Queue[str]" = queue.Queue()

    def __init__(self) -> None:
        self._made_as = REQUEST.get()

    def process(self, chunk: memoryview) -> bytes:
        """Answer, then set it."""
        answer = f"{self._made_as} {REQUEST.get()} ".encode()
        REQUEST.set(f"{REQUEST.get()} then")
        return answer

    def eof(self) -> bytes:
        """Answer."""
        return REQUEST.get().encode()

    def close(self) -> None:
        """Tell."""
        self.closed_as.put(REQUEST.get())


@on_all
async def test_submit_runs_in_its_callers_context_variables() -> None:
    """As they are at the call; what the processor sets is its own."""

    async def submit(name: str) -> bytes:
        REQUEST.set(name)
        submission = bridge.submit(b"x", Named)
        REQUEST.set("later")
        answer = await submission
        assert REQUEST.get() == "later"
        return answer

    async with Bridge() as bridge:
        names = [f"request {number}" for number in range(20)]
        answers = await asyncio.gather(*map(submit, names))
        assert answers == [f"{name} {name} {name} then".encode() for name in names]
        closed = {await asyncio.to_thread(Named.closed_as.get, timeout=10) for _ in names}
        assert closed == {f"{name} then" for name in names}
        # Connections have nobody's: theirs would be those of whoever started the server.
        assert await bridge.submit(b"x", lambda data: REQUEST.get().encode()) == b"nobody's"
