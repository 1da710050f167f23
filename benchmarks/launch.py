"""`asyncrev serve`, which also notes how its ring and its loop did: `python -m benchmarks.launch`.

It takes the arguments of `asyncrev serve`. Beside the server it runs a `LagProbe` when the runner
asks for it.
"""

import asyncio
import sys
from typing import Any

from asyncrev.command import cli, server_setup
from asyncrev.server.server import Server
from benchmarks.lag import LagProbe, obey_runner


class NotingServer(Server):
    """Notes its counters with every look of the probe."""

    async def start(self, *args: Any, **settings: Any) -> None:
        """Start, and look after the loop when the runner says so."""
        await super().start(*args, **settings)
        loop = asyncio.get_running_loop()
        obey_runner(LagProbe(loop, self._counters), loop)

    def _counters(self) -> dict[str, Any]:
        bridge = self.bridges[0].statistics()
        return {
            "entries": bridge.processed,
            "worker_wakes": bridge.worker_wakes,
            "loop_deliveries": bridge.loop_deliveries,
            "loop_wakes": bridge.loop_wakes,
            "backstop_wakes": bridge.backstop_wakes,
            "overflows": bridge.overflows,
            "batches": bridge.worker_batches,
        }


if __name__ == "__main__":
    server_setup.Server = NotingServer  # type: ignore[misc]
    sys.argv[0] = "asyncrev"
    cli.main()
