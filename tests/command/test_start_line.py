"""start_line: the values that a server runs with, in the words of the table."""

import datetime
import ssl
from pathlib import Path

import pytest

from asyncrev import EpollEventLoop, Limits, Reverse, Server, run
from asyncrev.certificates import Certificate
from asyncrev.command.option import Said
from asyncrev.command.options import OPTIONS
from asyncrev.command.settings import ServeSettings
from asyncrev.command.start_line import start_line
from asyncrev.command.tls import Tls
from asyncrev.native.choice import DESCRIPTION, NAME
from asyncrev.version import __version__


def line_of(
    path: Path, framing: str, threads: int = 1, cpu: int | None = None, tls: Tls | None = None
) -> str:
    """Return the start line of a server that listens on `path`."""
    settings = ServeSettings(
        host="127.0.0.1",
        port=0,
        uds=str(path),
        loop_name="epoll",
        loop_factory=EpollEventLoop,
        processor_name="asyncrev:Reverse",
        factory=Reverse,
        framing=framing,
        limits=Limits(slots=8, slot_bytes=4096, max_connections=4, idle_timeout_s=float("inf")),
        stop_word=None,
        tee=None,
        cpu=cpu,
        log_level="info",
        threads=threads,
        tls=tls,
    )

    async def listen() -> str:
        server = Server(Reverse, framing=framing, limits=settings.limits, threads=threads)
        async with server:
            await server.start(uds=str(path))
            return start_line(settings, server)

    return run(listen())


def test_line_of_a_raw_server(tmp_path: Path) -> None:
    """The wording that users' tools match on."""
    limits = Limits(slots=8, slot_bytes=4096, max_connections=4)
    assert line_of(tmp_path / "s", "raw", cpu=3) == (
        f"asyncrev {__version__} serving on unix:{tmp_path / 's'} loop=epoll "
        "processor=asyncrev:Reverse framing=raw cpu=3 threads=1 slots=8 slot_bytes=4096 entries=32 "
        "max_connections=4 high_water_bytes=65536 max_reply_bytes=1048576 first_byte_timeout_s=30 "
        "idle_timeout_s=inf write_stall_timeout_s=60 drain_timeout_s=10 "
        f"plane={DESCRIPTION} "
        f"memory_bound_bytes={limits.memory_bound_bytes} (ring {limits.ring_bytes} + 4 x "
        f"{limits.connection_bytes}, ...)"
    )


@pytest.mark.parametrize(("framing", "said"), [("raw", {Said.ALWAYS}), ("line", {*Said})])
def test_line_has_the_options_that_the_table_has_said(
    tmp_path: Path, framing: str, said: set[Said]
) -> None:
    """In the order of the table; those about frames only where there are some."""
    line = line_of(tmp_path / "s", framing, threads=2)
    line = line.replace(DESCRIPTION, NAME)  # why they are not native may have a "=", too
    names = [word.partition("=")[0] for word in line.split() if "=" in word]
    said -= {Said.NEVER, Said.ADDRESS}
    assert names == [
        *(row.name for row in OPTIONS if row.said in said),
        "plane",
        "memory_bound_bytes",
    ]
    assert " cpu=any threads=2 " in line
    assert "(2 x ring " in line
    assert ("+ 2 x pool 67108864 +" in line) is (framing != "raw")


@pytest.mark.parametrize(
    ("days", "said"),
    [
        ([89.5], "TLS, certificate expires in 89 days"),
        ([0.5], "TLS, certificate expires in 0 days"),
        ([-0.5], "TLS, certificate has expired"),
        ([89.5, 12.5, 40.5], "TLS, first of 3 certificates expires in 12 days"),
        ([89.5, -12.5], "TLS, first of 2 certificates has expired"),
    ],
)
def test_line_has_the_days_of_the_certificate_that_expires_first(
    tmp_path: Path, days: list[float], said: str
) -> None:
    """Whole days that are left."""
    now = datetime.datetime.now(datetime.UTC)
    certificates = [Certificate(now, now + datetime.timedelta(days=left), ()) for left in days]
    tls = Tls(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), tuple(certificates))
    assert f"{tmp_path / 's'} ({said}) loop=" in line_of(tmp_path / "s", "raw", tls=tls)
