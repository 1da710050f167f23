"""`asyncrev serve`, telling its statistics to whoever starts it: a line of JSON for each on stdin.

`with telling("--framing", "len32") as server: statistics_of(server)["bridge"]["pool"]`.
"""

import asyncio
import contextlib
import dataclasses
import fcntl
import json
import logging
import os
import select
import subprocess
from collections.abc import Iterator
from typing import Any

from asyncrev.command import cli, server_setup
from asyncrev.server.server import Server
from tests.process.processors import HERE
from tests.support import DEADLINE_S, ServerProcess, serving

ERRORS_ONLY = "TELLING_LOGS_ERRORS_ONLY"


@contextlib.contextmanager
def telling(*args: str, errors_only: bool = False) -> Iterator[ServerProcess]:
    """Run such a server; see `tests.support.serving`.

    `errors_only`: from the first statistics on, it logs errors alone. (A start line is an info.)
    """
    with serving(
        *args,
        module="tests.process.telling",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **({ERRORS_ONLY: "1"} if errors_only else {})},
        **HERE,
    ) as server:
        # A line for each of 2,000 peers must not fill the pipe: nobody reads it before the end.
        fcntl.fcntl(server.process.stderr.fileno(), fcntl.F_SETPIPE_SZ, 1 << 20)
        yield server


def statistics_of(server: ServerProcess) -> dict[str, Any]:
    """Return the server's `statistics()` as they are now."""
    stdin, stdout = server.process.stdin, server.process.stdout
    assert stdin is not None
    assert stdout is not None
    stdin.write(b"\n")
    assert select.select([stdout], [], [], DEADLINE_S)[0], "it told nothing"
    found: dict[str, Any] = json.loads(stdout.readline())
    return found


def pool_of(server: ServerProcess) -> dict[str, int]:
    """Return the statistics of the server's pool."""
    pool: dict[str, int] = statistics_of(server)["bridge"]["pool"]
    return pool


class _TellingServer(Server):
    async def start(self, *args: Any, **settings: Any) -> None:
        await super().start(*args, **settings)
        asyncio.get_running_loop().add_reader(0, self._tell)

    def _tell(self) -> None:
        if ERRORS_ONLY in os.environ:
            logging.getLogger("asyncrev").setLevel(logging.ERROR)
        if os.read(0, 1):
            print(json.dumps(dataclasses.asdict(self.statistics())), flush=True)
        else:
            asyncio.get_running_loop().remove_reader(0)


if __name__ == "__main__":
    server_setup.Server = _TellingServer  # type: ignore[misc]
    cli.main()
