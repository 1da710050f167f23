"""access_log: a line per closed connection; nobody waits, and what is lost is counted."""

import dataclasses
import json
import logging
import os
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncrev.command.access_log import AccessLog, fields_of, text_of
from asyncrev.command.log_json import json_line
from asyncrev.command.output_file import OutputFile
from asyncrev.connection_info import ConnectionInfo, TlsInfo, UnixCredentials
from asyncrev.statistics import ClosedConnection
from tests.support import wait_until

AT_S = 1_790_000_000.25


def closed(end: str = "closed by peer", **info: Any) -> ClosedConnection:
    """Return the record of a connection of a second."""
    return ClosedConnection(
        info=ConnectionInfo(**info),
        duration_s=1.0625,
        received_bytes=20,
        replied_bytes=30,
        frames=None,
        end=end,
    )


TCP = closed(peer_address=("192.0.2.1", 4000), local_address=("192.0.2.2", 9090))


def test_line_of_text() -> None:
    """The time, then pairs; what has a space is in quotes."""
    assert text_of(fields_of(TCP, AT_S)) == (
        "2026-09-21T14:13:20.250Z peer=192.0.2.1:4000 local=192.0.2.2:9090 duration_s=1.062 "
        'received_bytes=20 replied_bytes=30 end="closed by peer"'
    )


def test_line_of_json() -> None:
    """Numbers are numbers."""
    assert json.loads(json_line(fields_of(TCP, AT_S))) == {
        "ts": "2026-09-21T14:13:20.250Z",
        "peer": "192.0.2.1:4000",
        "local": "192.0.2.2:9090",
        "duration_s": 1.062,
        "received_bytes": 20,
        "replied_bytes": 30,
        "end": "closed by peer",
    }


def test_frames_are_told_of_framed_connections() -> None:
    """None of raw ones, 0 of one that had none."""
    fields = fields_of(dataclasses.replace(TCP, frames=0), AT_S)
    assert fields["frames"] == 0
    assert " frames=0 end=" in text_of(fields)
    assert "frames" not in fields_of(TCP, AT_S)


def test_tls_is_told_as_far_as_it_was_negotiated() -> None:
    """Version, protocol and host."""
    tls = TlsInfo(version="TLSv1.3", cipher="X", alpn="h2", server_name="localhost")
    fields = fields_of(closed(peer_address=("::1", 1, 0, 0), tls=tls), AT_S)
    assert (fields["peer"], fields["tls"]) == ("[::1]:1", "TLSv1.3")
    assert (fields["alpn"], fields["sni"]) == ("h2", "localhost")
    bare = fields_of(closed(tls=TlsInfo(version="TLSv1.2", cipher="X")), AT_S)
    assert bare["tls"] == "TLSv1.2"
    assert not {"alpn", "sni"} & bare.keys()


def test_unix_peer_is_told_with_its_process() -> None:
    """Its address is mostly empty."""
    who = UnixCredentials(pid=5, uid=6, gid=7)
    fields = fields_of(closed(local_address="/run/s", unix_credentials=who), AT_S)
    assert fields["peer"] == "unnamed peer"
    assert (fields["local"], fields["peer_pid"], fields["peer_uid"]) == ("unix:'/run/s'", 5, 6)
    assert "peer=\"unnamed peer\" local=unix:'/run/s' peer_pid=5" in text_of(fields)


def test_connection_without_an_info_is_told() -> None:
    """Its bridge did not take it."""
    gone = ClosedConnection(
        info=None, duration_s=0.0, received_bytes=0, replied_bytes=0, frames=None, end="closed"
    )
    assert fields_of(gone, AT_S)["peer"] == "unnamed peer"


@given(st.binary(max_size=108), st.text(st.characters(codec=None), max_size=50))
def test_peers_cannot_forge_a_line(address: bytes, host: str) -> None:
    """A name of a UNIX socket may be any bytes; each line is one, printable, and has its fields."""
    tls = TlsInfo(version="TLSv1.3", cipher="X", server_name=host)
    fields = fields_of(closed(peer_address=address, tls=tls), AT_S)
    for line in (text_of(fields), json_line(fields)):
        assert line.isprintable()
        assert line.encode("utf-8", "strict")
    assert json.loads(json_line(fields))["received_bytes"] == 20
    names = re.findall(r'(?:^| )(\w+)=(?:"(?:[^"\\]|\\.)*"|[^ "]*)', text_of(fields))
    assert names == [name for name in fields if name != "ts"]


def test_lines_come_in_order_and_the_end_writes_all(tmp_path: Path) -> None:
    """Also what was kept a moment before."""
    log = AccessLog(OutputFile.open(str(tmp_path / "log")), "json", clock=lambda: AT_S)
    for number in range(1000):
        log.note_closed(closed(end=str(number)))
    assert log.close(10.0)
    lines = (tmp_path / "log").read_text().splitlines()
    assert [json.loads(line)["end"] for line in lines] == list(map(str, range(1000)))


def test_lines_that_the_file_does_not_take_in_time_are_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A pipe that nobody reads: memory is bounded, nobody waits, and the log says the number."""
    reading, writing = os.pipe()
    log = AccessLog(OutputFile(writing, "pipe", "--access-log"), most_lines=10)
    long = closed(end="x" * 100_000)
    with caplog.at_level(logging.WARNING, "asyncrev"):
        for _ in range(50):
            log.note_closed(long)
        assert not log.close(0.05)
    said = sum(int(one.args[0]) for one in caplog.records)  # type: ignore[index, arg-type]
    assert 49 <= said <= 50
    assert log.dropped == said
    os.close(reading)  # the thread's write fails, and it ends
    assert log.close(10.0)


def test_full_disk_is_reported_once_per_second(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With the number of lines; after a reopen, lines are written again."""
    path = tmp_path / "log"
    log = AccessLog(OutputFile(os.open("/dev/full", os.O_WRONLY), str(path), "--access-log"))
    with caplog.at_level(logging.WARNING, "asyncrev"):
        log.note_closed(TCP)
        wait_until(lambda: caplog.records, "it is reported")
        for _ in range(100):
            log.note_closed(TCP)
        wait_until(lambda: log._writer._unwritten == 100, "all were tried")
        assert len(caplog.records) == 1
        wait_until(lambda: log.dropped == 101, "the second is over")
    assert [one.getMessage().partition(" to ")[0] for one in caplog.records] == [
        "1 lines could not be written",
        "100 lines could not be written",
    ]
    assert "No space left on device" in caplog.records[0].getMessage()
    log.file.reopen()
    log.note_closed(TCP)
    assert log.close(10.0)
    assert len(path.read_text().splitlines()) == 1


def test_last_losses_are_reported_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    """Within the second after another report."""
    log = AccessLog(OutputFile(os.open("/dev/full", os.O_WRONLY), "full", "--access-log"))
    for _ in range(5):
        log.note_closed(TCP)
    assert log.close(10.0)
    assert log.dropped == 5
    assert sum(int(one.args[0]) for one in caplog.records) == 5  # type: ignore[index, arg-type]
