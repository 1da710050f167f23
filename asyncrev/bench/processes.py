"""Several processes that send at the same time, and what they have measured together.

Theory of operation. The parent forks, so that every child has the messages and the function that
makes replies. It runs no thread, neither then nor later. A child opens its connections and says so;
when all are ready the parent sends each the time at which to begin, on the clock that they share. A
child sends a line of JSON after each interval, and one at the end. Its control pipe ends when the
parent wants it to end, or has died.
"""

import contextlib
import json
import os
import selectors
import signal
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

from asyncrev.bench.measurement import Interval, Outcome, joined
from asyncrev.bench.messages import Cycle
from asyncrev.bench.plan import Plan, Share
from asyncrev.bench.run import Run
from asyncrev.bench.sockets import ConnectError
from asyncrev.errors import LocalError, SettingsError

__all__ = ["Processes"]

_START_AFTER_NS = 20_000_000  # from the time that all are ready, so that all hear of it before
_LOOK_EVERY_S = 0.1
_TIME_BYTES = 8


class _Child:
    """One process, from the parent's side. A descriptor of -1 is closed."""

    def __init__(self, pid: int, control_fd: int, results_fd: int) -> None:
        self.pid = pid
        self.control_fd = control_fd
        self.results_fd = results_fd
        self.text = b""
        self.is_ready = False
        self.end: dict[str, Any] | None = None

    def release(self) -> None:
        """Let the child end."""
        if self.control_fd >= 0:
            os.close(self.control_fd)
            self.control_fd = -1


class Processes:
    """The processes of one plan. Thread: main; `interrupt` may be called by a signal's handler."""

    def __init__(
        self, plan: Plan, cycle: Cycle, on_interval: Callable[[int, Interval], None] | None = None
    ) -> None:
        """Prepare; `on_interval` is told what all processes together did in each interval."""
        self._plan, self._cycle = plan, cycle
        self._on_interval = on_interval
        self._children: list[_Child] = []
        self._is_interrupted = False
        self._reported: dict[int, tuple[int, Interval]] = {}
        self._failure: LocalError | None = None

    def interrupt(self) -> None:
        """End as soon as possible."""
        self._is_interrupted = True

    def run(self) -> tuple[list[Interval], Outcome]:
        """Run them to their end; return what they have measured, in order.

        Raises:
            ConnectError: a connection could not be opened, or a process died.
            SettingsError: a process could not begin.
        """
        try:
            for index in range(self._plan.processes):
                self._children.append(self._forked(index))
            self._listen()
        finally:
            for child in self._children:
                child.release()
                os.close(child.results_fd)
                os.waitpid(child.pid, 0)
        if self._failure is not None and not self._is_interrupted:
            raise self._failure
        return self._merged()

    # -- parent ------------------------------------------------------------------------------------

    def _forked(self, index: int) -> _Child:
        control_read, control_write = os.pipe()
        results_read, results_write = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid:
            os.close(control_read)
            os.close(results_write)
            return _Child(pid, control_write, results_read)
        code = 1
        try:
            os.close(control_write)
            os.close(results_read)
            for other in self._children:  # else their control pipes would not end
                os.close(other.control_fd)
                os.close(other.results_fd)
            _work(self._plan, self._cycle, index, control_read, results_write)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)

    def _listen(self) -> None:
        with selectors.DefaultSelector() as selector:
            for child in self._children:
                selector.register(child.results_fd, selectors.EVENT_READ, child)
            while selector.get_map():
                for key, _ in selector.select(_LOOK_EVERY_S):
                    data = os.read(key.fd, 1 << 20)
                    if data:
                        self._take(key.data, data)
                        continue
                    selector.unregister(key.fd)
                    if key.data.end is None and self._failure is None:
                        self._failure = ConnectError(
                            "a process of the load ended before its time; see above"
                        )
                if self._failure is not None or self._is_interrupted:
                    for child in self._children:
                        child.release()

    def _take(self, child: _Child, data: bytes) -> None:
        *lines, child.text = (child.text + data).split(b"\n")
        for line in lines:
            values = json.loads(line)
            if "failed" in values:
                kind = SettingsError if values["usage"] else ConnectError
                self._failure = self._failure or kind(values["failed"])
                child.end = values
            elif "ready" in values:
                child.is_ready = True
                if all(one.is_ready for one in self._children):
                    self._start()
            elif "interval" in values:
                self._report(values["interval"], Interval.from_dict(values["values"]))
            else:
                child.end = values

    def _start(self) -> None:
        start_ns = time.monotonic_ns() + _START_AFTER_NS
        for child in self._children:
            if child.control_fd >= 0:
                with contextlib.suppress(BrokenPipeError):  # it has died, which is seen elsewhere
                    os.write(child.control_fd, start_ns.to_bytes(_TIME_BYTES, "big"))

    def _report(self, number: int, interval: Interval) -> None:
        """Report an interval once all processes have."""
        known = self._reported.pop(number, None)
        times = 1
        if known is not None:
            times += known[0]
            interval.add(known[1])
        if times < len(self._children):
            self._reported[number] = (times, interval)
        elif self._on_interval is not None:
            self._on_interval(number, interval)

    def _merged(self) -> tuple[list[Interval], Outcome]:
        ends = [child.end for child in self._children if child.end and "outcome" in child.end]
        joins = max((end["joins"] for end in ends), default=0)
        merged: dict[int, Interval] = {}
        outcome = Outcome(is_interrupted=self._is_interrupted)
        for end in ends:
            intervals = {n: Interval.from_dict(values) for n, values in end["intervals"]}
            for _ in range(joins - end["joins"]):
                intervals = joined(intervals)
            for number, interval in intervals.items():
                if number in merged:
                    merged[number].add(interval)
                else:
                    merged[number] = interval
            outcome.add(Outcome.from_dict(end["outcome"]))
        return [interval for _, interval in sorted(merged.items())], outcome


# -- child -----------------------------------------------------------------------------------------


def _work(plan: Plan, cycle: Cycle, index: int, control_fd: int, results_fd: int) -> None:
    """Do one process's share, and send what it has measured."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent says when to end
    signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def send(values: dict[str, Any]) -> None:
        data = json.dumps(values, separators=(",", ":")).encode() + b"\n"
        while data:
            data = data[os.write(results_fd, data) :]

    run = Run(
        plan,
        cycle,
        Share(index, plan.processes),
        on_interval=lambda number, one: send({"interval": number, "values": one.as_dict()}),
        control_fd=control_fd,
    )
    try:
        run.connect()
    except LocalError as error:
        send({"failed": str(error), "usage": isinstance(error, SettingsError)})
        return
    send({"ready": True})
    text = os.read(control_fd, _TIME_BYTES)
    if len(text) < _TIME_BYTES:  # another process could not connect
        run.close()
        send({"failed": "not begun", "usage": False})
        return
    outcome = run.run(int.from_bytes(text, "big"))
    intervals = [(number, interval.as_dict()) for number, interval in sorted(run.intervals.items())]
    send({"intervals": intervals, "joins": run.joins, "outcome": outcome.as_dict()})
