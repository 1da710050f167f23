"""Workers of a Dask cluster: its scheduler's, or a cluster of processes on this machine.

The engine has one executor for the whole cluster, whose scheduler spreads the calls. Dask runs the
calls of a lost worker again by itself, up to `distributed.scheduler.allowed-failures` times, also
calls that were finished; so functions must be idempotent (`making`).
"""

import importlib
import importlib.util
import threading
import time
from concurrent.futures import CancelledError, Executor, Future
from typing import Any

from asyncrev.errors import SettingsError
from asyncrev.executors.pools import Loss

__all__ = ["DaskSource"]

CONNECT_TIMEOUT_S = 10.0
COUNT_EVERY_S = 1.0  # of the workers of a cluster that grows or shrinks


class DaskSource:
    """Makes clients of a cluster; see `pools.Source`."""

    units = 1
    travels = True
    shares_memory = False
    can_replace = True
    in_order = False

    def __init__(self, address: str | None, workers: int) -> None:
        """Prepare.

        Args:
            address: of the scheduler; None for a cluster on this machine.
            workers: how many processes that has.

        Raises:
            SettingsError: Dask is not installed.
        """
        if importlib.util.find_spec("distributed") is None:
            raise SettingsError(
                "executor is 'dask', but distributed is not installed; pip install 'asyncrev[dask]'"
            )
        self._address = address
        self._workers = workers

    def make(self) -> Executor:
        """See `pools.Source.make`. Raises OSError if there is no scheduler at the address."""
        distributed: Any = importlib.import_module("distributed")
        dask: Any = importlib.import_module("dask")
        cluster = None
        if self._address is None:
            # The engine itself tries frames again, each alone, so that the batch mates of one that
            # kills its worker are not blamed for more deaths.
            with dask.config.set({"distributed.scheduler.allowed-failures": 0}):
                cluster = distributed.LocalCluster(
                    n_workers=self._workers,
                    threads_per_worker=1,
                    processes=True,
                    dashboard_address=None,
                )
        try:
            where = cluster if cluster is not None else self._address
            client = distributed.Client(where, timeout=CONNECT_TIMEOUT_S, set_as_default=False)
        except BaseException:
            if cluster is not None:
                cluster.close()
            raise
        return _DaskExecutor(client, cluster)

    def workers(self, executor: Executor) -> int:
        """See `pools.Source.workers`: threads of all workers that the client knows of."""
        assert isinstance(executor, _DaskExecutor)
        return max(1, executor.threads)

    def loss_of(self, error: BaseException) -> Loss | None:
        """See `pools.Source.loss_of`; the names are those of distributed's exceptions."""
        names = {kind.__name__ for kind in type(error).__mro__}
        if "KilledWorker" in names:  # the call was on several workers that died
            return Loss("died", is_executor=False)
        if isinstance(error, CancelledError) or names & {"FutureCancelledError", "CommClosedError"}:
            return Loss("cancelled", is_executor=True)  # the scheduler is lost
        return None

    def end(self, executor: Executor, *, kill: bool) -> None:
        """See `pools.Source.end`."""
        executor.shutdown(wait=True)


class _DaskExecutor(Executor):
    """A client as an executor. `submit` must not be called from the client's own thread.

    Attributes:
        threads: of the workers that there were a short while ago. Writer: whoever makes this, then
            the client's thread of callbacks; reader: loop.
    """

    def __init__(self, client: Any, cluster: Any) -> None:
        self._client = client
        self._cluster = cluster
        self._lock = threading.Lock()
        self._counted_s = 0.0
        self.threads = 0
        self._count()
        self._submitted: set[Any] = set()  # guarded by _lock; a Dask future that nobody has is lost

    def _count(self) -> None:
        """Ask the scheduler for its workers; blocks. Thread: any but the client's own."""
        self._counted_s = time.monotonic()
        self.threads = sum(self._client.nthreads().values())

    def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> "Future[Any]":
        """Have the cluster call the function; the future is done on the client's thread."""
        done: Future[Any] = Future()
        # A call whose arguments are the same is another call.
        asked = self._client.submit(function, *args, pure=False, retries=0, **kwargs)
        with self._lock:
            self._submitted.add(asked)
        asked.add_done_callback(lambda asked: self._settle(asked, done))
        return done

    def _settle(self, asked: Any, done: "Future[Any]") -> None:
        with self._lock:
            self._submitted.discard(asked)
        try:
            if asked.status == "cancelled":
                raise CancelledError("the scheduler of the Dask cluster is lost")
            result = asked.result(timeout=CONNECT_TIMEOUT_S)
            if time.monotonic() - self._counted_s > COUNT_EVERY_S:
                self._count()
        except BaseException as error:
            done.set_exception(error)
        else:
            done.set_result(result)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Close the client, and the cluster if it is this one's own."""
        self._client.close()
        if self._cluster is not None:
            self._cluster.close()
