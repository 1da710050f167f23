"""Settings of an executor, with their checks. Pure."""

import dataclasses
from typing import Any

from asyncrev.errors import SettingsError
from asyncrev.limit_checks import MOST_BYTES, check_count, check_time

__all__ = ["KINDS", "MOST_WORKERS", "ExecutorSettings"]

KINDS = ("processes", "threads", "interpreters", "dask")

MOST_WORKERS = 512


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorSettings:
    """Frozen settings of an engine for executors.

    Attributes:
        workers: processes, threads or interpreters; None for one per core that this process may
            use, or as many as a given executor has.
        address: of a Dask scheduler, as tcp://host:port; None starts a cluster on this machine.
        batch_frames: the most frames that a worker gets in one call. At 16 the caller's CPU time
            per frame is a tenth of that at 1, and hardly less at 64.
        batch_bytes: payload bytes at which a batch is full; a longer frame goes alone.
        timeout_s: how long a worker may take for a batch; then it is ended, and started again.
            `inf` for no limit.
    """

    workers: int | None = None
    address: str | None = None
    batch_frames: int = 16
    batch_bytes: int = 256 * 1024
    timeout_s: float = 30.0

    def __post_init__(self) -> None:
        """Check every value.

        Raises:
            SettingsError: names the setting, its value and what is allowed.
        """
        if self.workers is not None:
            check_count(self, "workers", 1, most=MOST_WORKERS)
        check_count(self, "batch_frames", 1, most=1024)
        check_count(self, "batch_bytes", 1, most=MOST_BYTES)
        check_time(self, "timeout_s", or_never=True)
        address: Any = self.address
        if address is not None and (not isinstance(address, str) or "://" not in address):
            raise SettingsError(
                f"address is {address!r}; it must be that of a Dask scheduler, as "
                "tcp://192.0.2.7:8786"
            )
