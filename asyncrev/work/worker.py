"""The worker: one dedicated, named thread that does the work of every lane, in order."""

import threading
from collections.abc import Callable

from asyncrev.errors import ChannelClosed, LocalError
from asyncrev.ring.plane import BACKSTOP_S
from asyncrev.ring.thread_side import ThreadSide
from asyncrev.states import WORKER_TRANSITIONS, WorkerEvent, WorkerState, advance
from asyncrev.work.block_pool import Pool
from asyncrev.work.lane_work import Share
from asyncrev.work.scratch import Scratch

__all__ = ["Worker"]


class Worker:
    """Takes batches from a ring until its input is closed, then ends.

    A processor cannot end it (`LaneWork.do` raises nothing). What ends it before its time is a
    defect of asyncrev or a closed loop, and is reported to `on_end`.
    """

    def __init__(
        self,
        side: ThreadSide,
        pool: Pool,
        on_end: Callable[[BaseException | None], None],
        *,
        name: str,
    ) -> None:
        """Prepare a worker on `side`. `on_end` is called last, on the worker's thread."""
        self._side = side
        self._pool = pool
        self._on_end = on_end
        # daemon: a bridge that its user forgot to stop must not keep the interpreter alive.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        # Writer: the starter until it starts, then the worker; readers: any.
        self.state = WorkerState.NEW

    @property
    def name(self) -> str:
        """The thread's name, as debuggers and `ps -L` show it."""
        return self._thread.name

    def start(self) -> None:
        """Start the thread. Thread: loop.

        Raises:
            LocalError: it was started before.
            RuntimeError: the system gives no thread; it can be started again.
        """
        self.state = advance(WORKER_TRANSITIONS, self.state, WorkerEvent.START)
        try:
            self._thread.start()
        except BaseException:
            self.state = WorkerState.NEW
            raise

    def is_alive(self) -> bool:
        """Return whether the thread runs. Thread: any."""
        return self._thread.is_alive()

    def is_this_thread(self) -> bool:
        """Return whether the caller runs on the worker. Thread: any."""
        return threading.current_thread() is self._thread

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread's end; return whether it came. Thread: any but the worker.

        Raises:
            LocalError: the worker was never started.
        """
        if self.state is WorkerState.NEW:
            raise LocalError("join of a worker that was never started")
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            self._work()
        except ChannelClosed:
            event = WorkerEvent.END
        except BaseException as raised:
            error, event = raised, WorkerEvent.FAIL
        self.state = advance(WORKER_TRANSITIONS, self.state, event)
        self._on_end(error)

    def _work(self) -> None:
        side, pool, scratch = self._side, self._pool, Scratch()
        while True:
            # While blocks are lent, what is answered without Python ends the wait, too.
            batch = side.take(BACKSTOP_S, stays=not pool.lent_bytes)
            pool.reclaim()  # at each batch, hence at least once a cycle of the ring; and when idle
            if not batch:
                continue
            # A lane with more than its share is deferred, unless nobody could resume it any more.
            share = Share.unbounded(scratch) if side.input_is_closed else Share(scratch)
            side.answer(batch.stop, pool, share)
