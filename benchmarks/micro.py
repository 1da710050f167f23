"""Micro-benchmarks with pyperf: `python -m benchmarks.micro [--fast] [-o FILE]`, see `--help`.

What single steps on a message's way cost. The threads' hand-over is the one that a system and its
load decide; the others hardly depend on either.
"""

import threading
import time
from collections.abc import Callable

import pyperf

from asyncrev.bridge.budget import Budget
from asyncrev.bridge.lane import Lane
from asyncrev.frames.registry import as_framing
from asyncrev.limits import Limits
from asyncrev.ring.ring import DATA, Ring
from asyncrev.ring.wakeups import DeliverySignal, Parker
from asyncrev.work.block_pool import Pool
from asyncrev.work.framer import Framer
from asyncrev.work.make_work import make_work
from asyncrev.work.reverse import Reverse
from asyncrev.work.reverse_numpy import reverse_in_place

SLOT_BYTES = 64 * 1024
PAYLOAD_BYTES = 60
REVERSED_SIZES_BYTES = (64, 1024, 4096, 16 * 1024, 64 * 1024, 256 * 1024)
PARK_S = 5.0


def cycle_ring(loops: int, batch: int) -> float:
    """Move `batch` entries at a time all the way round; no thread, no waiting."""
    ring, owner = Ring(256, SLOT_BYTES), object()
    entries = range(batch)
    start_s = time.perf_counter()
    for _ in range(loops):
        for _ in entries:
            slot = ring.try_claim(small=True)
            ring.publish(owner, DATA, slot, 64)
        for _ in range(ring.processed_seq, ring.published_seq):
            ring.mark_processed()
        ring.release(batch)
    return time.perf_counter() - start_s


def unpark_awake(loops: int) -> float:
    """Find that the worker does not sleep, which is what nearly every flush finds."""
    parker = Parker()
    start_s = time.perf_counter()
    for _ in range(loops):
        parker.unpark()
    return time.perf_counter() - start_s


def request_awaited(loops: int) -> float:
    """Find that a delivery will come anyway."""
    deliveries = DeliverySignal(lambda: None)
    deliveries.hold()
    start_s = time.perf_counter()
    for _ in range(loops):
        deliveries.request()
    return time.perf_counter() - start_s


def hand_over(loops: int) -> float:
    """Wake a sleeping thread and be woken by it: two hand-overs per loop."""
    ping, pong = Parker(), Parker()
    asked = answered = 0

    def answer() -> None:
        nonlocal answered
        for number in range(1, loops + 1):
            while not ping.park(lambda number=number: asked >= number, PARK_S):
                pass
            answered = number
            pong.unpark()

    thread = threading.Thread(target=answer)
    thread.start()
    start_s = time.perf_counter()
    for number in range(1, loops + 1):
        asked = number
        ping.unpark()
        while not pong.park(lambda number=number: answered >= number, PARK_S):
            pass
    elapsed_s = time.perf_counter() - start_s
    thread.join()
    return elapsed_s


class AllReleased:
    """Cursors of a ring whose loop has released everything, so blocks come back at once."""

    processed_seq = 0
    released_seq = 1


def make_framer(name: str) -> tuple[Framer, Pool]:
    """Return a framer as a lane of our own loop has it, and its pool."""
    framing, limits = as_framing(name), Limits()
    assert framing is not None
    pool = Pool(AllReleased(), limits.pool_bytes)
    framer = Framer(
        framing, Reverse(), pool, max_frame_bytes=limits.max_frame_bytes, views_allowed=True
    )
    return framer, pool


def make_chunk(name: str, frames: int) -> memoryview:
    """Return whole frames in a writable buffer; reversed they are whole frames, too."""
    payload = bytes(97 + n % 26 for n in range(PAYLOAD_BYTES))
    frame = payload + b"\n" if name == "line" else len(payload).to_bytes(4, "big") + payload
    return memoryview(bytearray(frame * frames))


def processing(name: str, frames: int) -> Callable[[], object]:
    """Return a call that has a chunk of so many frames answered."""
    (framer, _), chunk = make_framer(name), make_chunk(name, frames)
    return lambda: framer.process(chunk)


def processing_split(name: str) -> Callable[[], object]:
    """Return a call that has one frame answered that comes in two chunks."""
    (framer, pool), chunk = make_framer(name), make_chunk(name, 1)
    half = len(chunk) // 2

    def work() -> None:
        framer.process(chunk[:half])
        framer.process(chunk[half:])  # answered in its block, so the chunk stays as it is
        pool.reclaim()

    return work


class NoSink:
    """A sink that nothing is sent to."""


def budgeting() -> Callable[[], object]:
    """Return a call that asks for budget as a framed connection does before each receive."""
    budget = Budget(Limits())
    work = make_work(Reverse, views_allowed=True, framing=as_framing("len32"))
    lane = Lane(NoSink(), work, is_framed=True)
    return lambda: (budget.allowed_bytes(lane, 16 * 1024), budget.reserve(lane))


def reversing(nbytes: int) -> Callable[[], object]:
    """Return a call that reverses a chunk as the reference processor does."""
    chunk, process = memoryview(bytearray(nbytes)), Reverse().process
    return lambda: process(chunk)


def main() -> None:
    """Run them all."""
    # pyperf starts itself anew for each; what it starts must find this package.
    runner = pyperf.Runner(program_args=("-m", "benchmarks.micro"))
    for batch in (1, 32):
        name = f"ring: claim, publish, finish, release; {batch} at a time, per entry"
        runner.bench_time_func(name, cycle_ring, batch, inner_loops=batch)
    runner.bench_time_func("wake-up: unpark a worker that is awake", unpark_awake)
    runner.bench_time_func("wake-up: request a delivery that is awaited", request_awaited)
    runner.bench_time_func("wake-up: hand over to a sleeping thread", hand_over, inner_loops=2)
    for framing in ("line", "len32"):
        for frames in (1, 64):
            name = f"framer: {framing}, {frames} of 60 bytes in a chunk"
            runner.bench_func(name, processing(framing, frames))
        runner.bench_func(f"framer: {framing}, one in two chunks", processing_split(framing))
    runner.bench_func("budget: allowed_bytes and reserve, nothing reserved", budgeting())
    for nbytes in REVERSED_SIZES_BYTES:
        runner.bench_func(f"reverse: {nbytes} bytes", reversing(nbytes))
    chunk = memoryview(bytearray(64 * 1024))
    runner.bench_func("reverse: 65536 bytes in place, NumPy only", reverse_in_place, chunk)


if __name__ == "__main__":
    main()
