"""What an executor costs and gains per frame, by how long the work of a frame takes.

    python -m benchmarks.executors [--kinds direct,threads,processes,dask] [--seconds 2]

Closed loop: `--in-flight` frames are always with the engine, without sockets. Replies are checked.
For each kind and duration of the work: frames per second; CPU time of the calling process per
frame, which contains the work for `direct` and `threads`; p50 and p99 from the start of a frame to
its reply. `direct` calls the function on the loop. `pickled` is `processes` without shared memory
for large frames: compare them by `--kinds pickled,processes --work-ms 0 --bytes 65536`.
"""

import argparse
import asyncio
import os
import platform
import time
from typing import Any

from asyncrev.executors.making import make_engine
from asyncrev.executors.settings import ExecutorSettings
from asyncrev.version import __version__
from benchmarks.executor_work import WORK, WORK_MS


class _Request:
    __slots__ = ("payload",)

    def __init__(self, payload: bytes) -> None:
        self.payload = payload


class _Job:
    """One frame, and another one when it is answered."""

    __slots__ = ("engine_data", "request", "run", "started_s")

    def __init__(self, run: "_Run", payload: bytes) -> None:
        self.run = run
        self.request = _Request(payload)
        self.engine_data: Any = None
        self.started_s = time.perf_counter()

    def finish(self, reply: bytes | None, error: BaseException | None = None) -> None:
        """Check the reply; start the next frame."""
        if error is not None:
            raise SystemExit(f"a frame failed: {error!r}")
        if reply != self.request.payload:
            raise SystemExit("a reply is not that of its frame")
        self.run.note(self)


class _Direct:
    """Calls the function on the loop, one frame after the other."""

    def __init__(self, function: Any) -> None:
        self._function = function

    async def open(self) -> None:
        """Nothing starts."""

    def start(self, job: _Job) -> None:
        """Answer in a later callback, as the engine does."""
        asyncio.get_running_loop().call_soon(self._answer, job)

    def _answer(self, job: _Job) -> None:
        job.finish(self._function(job.request.payload))

    async def close(self, timeout_s: float) -> None:
        """Let the loop do what is left."""
        await asyncio.sleep(0)


class _Run:
    def __init__(self, engine: Any, nbytes: int, seconds: float) -> None:
        self._engine = engine
        self._nbytes = nbytes
        self._end_s = time.perf_counter() + seconds
        self._open = 0
        self._count = 0
        self.latencies_s: list[float] = []
        self.done = asyncio.get_running_loop().create_future()

    def add(self) -> None:
        """Start a frame."""
        self._count += 1
        self._open += 1
        payload = self._count.to_bytes(8, "big") + bytes(self._nbytes - 8)
        self._engine.start(_Job(self, payload))

    def note(self, job: _Job) -> None:
        """Take note of a reply."""
        now_s = time.perf_counter()
        self._open -= 1
        self.latencies_s.append(now_s - job.started_s)
        if now_s < self._end_s:
            self.add()
        elif not self._open:
            self.done.set_result(None)


async def measure(kind: str, work_ms: float, args: argparse.Namespace) -> None:
    """Measure one kind with one duration of work, and print a line."""
    settings = ExecutorSettings(workers=args.workers, batch_frames=args.batch)
    function = WORK[work_ms]
    engine = _engine(kind, function, settings)
    await engine.open()
    try:
        for seconds in (args.seconds / 4, args.seconds):  # the first one warms up
            run = _Run(engine, args.bytes, seconds)
            began_s, began_cpu_s = time.perf_counter(), time.process_time()
            for _ in range(args.in_flight):
                run.add()
            await run.done
            took_s = time.perf_counter() - began_s
            cpu_s = time.process_time() - began_cpu_s
    finally:
        await engine.close(5.0)
    frames = len(run.latencies_s)
    ordered = sorted(run.latencies_s)
    batches = "" if kind == "direct" else f"{_mean_batch(engine):10.1f}"
    print(
        f"{kind:12} {work_ms:6g} {frames / took_s:12,.0f} {cpu_s / frames * 1e6:14.1f} "
        f"{ordered[frames // 2] * 1e3:9.2f} {ordered[frames * 99 // 100] * 1e3:9.2f} {batches}"
    )


def _engine(kind: str, function: Any, settings: ExecutorSettings) -> Any:
    if kind == "direct":
        return _Direct(function)
    if kind != "pickled":
        return make_engine(kind, function, settings)
    engine: Any = make_engine("processes", function, settings)
    engine._source.shares_memory = False
    return engine


def _mean_batch(engine: Any) -> float:
    figures = engine.statistics()
    return float(figures.frames / figures.batches)


def main() -> None:
    """Measure what the options say."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kinds", default="direct,threads,processes,dask")
    parser.add_argument("--work-ms", type=float, nargs="+", choices=WORK_MS, default=WORK_MS[1:])
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batch", type=int, default=16, help="frames at most in a batch")
    parser.add_argument("--bytes", type=int, default=4096, help="of a frame, 8 or more")
    parser.add_argument("--in-flight", type=int, default=256)
    args = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    print(f"asyncrev {__version__}, Python {platform.python_version()}, {cores} cores, {args}")
    print(
        f"{'kind':12} {'ms':>6} {'frames/s':>12} {'CPU us/frame':>14} {'p50 ms':>9} {'p99 ms':>9}"
    )
    for kind in args.kinds.split(","):
        for work_ms in args.work_ms:
            asyncio.run(measure(kind, work_ms, args))


if __name__ == "__main__":
    main()
