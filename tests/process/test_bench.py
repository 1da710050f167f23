"""`asyncrev bench` as a process, against servers that are asyncrev's and servers that are not."""

import contextlib
import json
import os
import pty
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("hdrh")

from benchmarks.build import have_compiler, native
from tests.bench.servers import closing_after, echo, reversing, served, silent, wrong_after
from tests.support import DEADLINE_S, ROOT, listens, serving, wait_until

pytestmark = pytest.mark.process

QUICK = ("-c", "4", "-z", "300ms", "--warmup", "50ms", "--rate", "500")
CLOSED = ("-c", "4", "-n", "400", "--warmup", "50ms")
# Of a busy machine's runs, all are good that have measured something.
MEASURED = (0, 5)

ASYNCIO_ECHO = """
import asyncio, sys
async def answer(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()
async def main():
    server = await asyncio.start_server(answer, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()
asyncio.run(main())
"""


def bench(*args: object, **popen: Any) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "asyncrev", "bench", *map(str, args)],
        capture_output=True,
        text=True,
        timeout=3 * DEADLINE_S,
        check=False,
        **popen,
    )


def document(*args: object, **popen: Any) -> dict[str, Any]:
    """Return the figures of a run without errors."""
    done = bench(*args, "--json", "-", **popen)
    assert done.returncode in MEASURED, done.stderr
    figures: dict[str, Any] = json.loads(done.stdout)
    assert figures["errors"] == {}
    assert figures["messages"] > 0
    assert figures["latency_us"]["count"] > 0
    return figures


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


@contextlib.contextmanager
def running(command: Callable[[int], list[str]]) -> Iterator[tuple[int, "subprocess.Popen[bytes]"]]:
    """Run a server that listens on a port; yield the port and the process."""
    port = free_port()
    with subprocess.Popen(command(port), stderr=subprocess.DEVNULL) as process:
        try:

            def is_listening() -> bool:
                assert process.poll() is None
                with socket.socket() as probe:
                    return probe.connect_ex(("127.0.0.1", port)) == 0

            wait_until(is_listening, "the server listens")
            yield port, process
        finally:
            process.kill()


# -- servers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("plane", ["python", "native"])
@pytest.mark.parametrize("framing", ["raw", "line", "len32", "len64"])
def test_asyncrev_answers_every_message(plane: str, framing: str) -> None:
    """In each framing, on both planes, whole and in parts of many messages."""
    from asyncrev.native import choice

    if plane == "native" and choice.NAME != "native":
        pytest.skip("the native plane was not built")
    environment = {**os.environ, "ASYNCREV_PLANE": plane}
    with serving("--framing", framing, env=environment) as server:
        target = f"127.0.0.1:{server.port}"
        figures = document(target, *CLOSED, "--framing", framing)
        assert figures["messages"] == 400
        figures = document(target, *CLOSED, "--framing", framing, "-P", 16, "--size", "3K")
        assert figures["messages"] == 400


def test_messages_larger_than_any_buffer() -> None:
    """Of a mebibyte, several at once."""
    with serving() as server:
        figures = document(
            f"127.0.0.1:{server.port}", "-c", 2, "-n", 20, "-P", 2, "--size", "1M", "--warmup", 0
        )
    assert figures["messages"] == 20
    assert figures["received_bytes"] == figures["sent_bytes"] == 20 << 20


def test_unix_socket_and_tls(tmp_path: Path, certificate: tuple[str, str]) -> None:
    """The certificate is checked."""
    path = str(tmp_path / "socket")
    with serving("--uds", path):
        wait_until(lambda: listens(Path(path)), "it listens")
        figures = document(f"unix:{path}", *QUICK)
        assert figures["target"] == f"unix:{path}"
    both, trusted = certificate
    with serving("--ssl-certfile", both, "--framing", "len32") as server:
        target = f"127.0.0.1:{server.port}"
        tls = ("--tls", "--framing", "len32", "-P", 4)
        document(target, *CLOSED, *tls, "--insecure", "--size", "40K")
        document(target, *QUICK, *tls, "--ca-certs", trusted, "--server-hostname", "localhost")
        refused = bench(target, *CLOSED, *tls)
        assert refused.returncode == 1
        assert "TLS handshake with" in refused.stderr


def test_asyncio_echo() -> None:
    """A server of asyncio's streams, in a closed and in an open loop."""
    with running(lambda port: [sys.executable, "-c", ASYNCIO_ECHO, str(port)]) as (port, _):
        target = f"127.0.0.1:{port}"
        assert document(target, *CLOSED, "--expect", "echo")["messages"] == 400
        figures = document(target, *QUICK, "--expect", "echo", "--processes", 2)
        wanted = 500 * figures["duration_s"]
        assert figures["latency_us"]["count"] == pytest.approx(wanted, abs=6)
        assert len(figures["client_cores"]) == 2


def test_socat_echo() -> None:
    """A process of cat for each connection."""
    if shutil.which("socat") is None:
        pytest.skip("socat is not installed")
    command = "TCP-LISTEN:{},bind=127.0.0.1,reuseaddr,fork"
    with running(lambda port: ["socat", command.format(port), "EXEC:cat"]) as (port, _):
        assert document(f"127.0.0.1:{port}", *CLOSED, "--expect", "echo")["messages"] == 400


@pytest.mark.parametrize("framing", ["raw", "line", "len32"])
def test_server_in_c(framing: str) -> None:
    """The one that our benchmarks compare with."""
    if not have_compiler():
        pytest.skip("there is no C compiler")
    program = str(native(tls=False))
    with running(lambda port: [program, str(port), framing]) as (port, _):
        target = f"127.0.0.1:{port}"
        assert document(target, *CLOSED, "--framing", framing, "-P", 5)["messages"] == 400


def test_function_of_the_current_directory(tmp_path: Path) -> None:
    """Makes the replies."""
    (tmp_path / "mine.py").write_text("def same(payload):\n    return payload\n")
    with served(echo) as port:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        figures = document(
            f"127.0.0.1:{port}", *CLOSED, "--expect", "mine:same", cwd=tmp_path, env=environment
        )
    assert figures["settings"]["expect"] == "mine:same"


# -- what goes wrong -------------------------------------------------------------------------------


@pytest.mark.parametrize("processes", [1, 2])
def test_wrong_byte_is_exit_code_4_with_the_offset(processes: int) -> None:
    """And both bytes; what was measured is still printed, if anything was."""
    with served(wrong_after(3, 64)) as port:
        done = bench(
            f"127.0.0.1:{port}", "-z", "60s", "-c", 2, "--expect", "echo", "--processes", processes
        )
    assert done.returncode == 4
    assert "wrong reply: connection" in done.stderr
    assert "byte 224 of the replies: expected b'" in done.stderr
    assert "Traceback" not in done.stderr


def test_server_that_does_not_reverse_is_exit_code_4() -> None:
    """The default is what asyncrev does."""
    with served(echo) as port:
        done = bench(f"127.0.0.1:{port}", *CLOSED)
    assert done.returncode == 4
    assert "the server echoes" in done.stderr


@pytest.mark.parametrize("processes", [1, 2])
def test_dead_port_is_exit_code_1(processes: int) -> None:
    """One line."""
    done = bench(f"127.0.0.1:{free_port()}", *QUICK, "--processes", processes)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("asyncrev: error: cannot connect to 127.0.0.1:")
    assert line.endswith("Connection refused")


@pytest.mark.parametrize("resets", [False, True])
def test_server_that_ends_connections_is_exit_code_1(resets: bool) -> None:
    """With the kinds of errors."""
    with served(closing_after(20, resets=resets)) as port:
        done = bench(f"127.0.0.1:{port}", "-z", "60s", "-c", 2, "--expect", "echo", "--warmup", 0)
    assert done.returncode == 1
    assert ("reset 2" if resets else "closed 2") in done.stderr


def test_server_that_dies_meanwhile_is_exit_code_1() -> None:
    """The run ends then, and prints what there was."""
    args = ("-z", "60s", "--expect", "echo", "--warmup", 0)
    with (
        running(lambda port: [sys.executable, "-c", ASYNCIO_ECHO, str(port)]) as (port, server),
        client(f"127.0.0.1:{port}", *args) as (process, terminal),
    ):
        wait_for(terminal, "messages/s")
        server.kill()
        assert process.wait(DEADLINE_S) == 1
        assert process.stdout is not None
        assert "messages/s" in process.stdout.read().decode()


def test_replies_that_never_come_are_exit_code_1() -> None:
    """Within the time limit."""
    with served(silent) as port:
        done = bench(f"127.0.0.1:{port}", "-c", 2, "-z", "200ms", "--timeout", "200ms")
    assert done.returncode == 1
    assert "no_reply 2" in done.stderr


# -- ends by signals, and the terminal -------------------------------------------------------------


@contextlib.contextmanager
def client(*args: object) -> Iterator[tuple["subprocess.Popen[bytes]", int]]:
    """Run the command with a terminal for stderr; yield it and the terminal's descriptor."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "asyncrev", "bench", *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=theirs,
    )
    os.close(theirs)
    try:
        yield process, ours
    finally:
        process.kill()
        process.wait()
        os.close(ours)
        assert process.stdout is not None
        process.stdout.close()


def wait_for(terminal: int, words: str) -> str:
    """Return what a terminal has shown, once that contains `words`."""
    text = ""

    def has_words() -> bool:
        nonlocal text
        text += os.read(terminal, 4096).decode()
        return words in text

    wait_until(has_words, f"the terminal shows {words}", 3 * DEADLINE_S)
    return text


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_prints_what_was_measured(number: int, processes: int) -> None:
    """With the exit code that shells expect; the progress line was there before."""
    with served(reversing) as port:
        target = f"127.0.0.1:{port}"
        args = (target, "-z", "60s", "-c", 2, "--warmup", "100ms", "--processes", processes)
        with client(*args) as (process, terminal):
            shown = wait_for(terminal, "messages/s")
            assert "warm-up, 0.1 s" in shown
            assert "of 60 s" in shown
            process.send_signal(number)
            assert process.wait(DEADLINE_S) == 128 + number
            assert process.stdout is not None
            assert "latency" in process.stdout.read().decode()


def test_signal_before_anything_was_measured_says_so() -> None:
    """While it warms up."""
    with served(reversing) as port, client(f"127.0.0.1:{port}", "--warmup", "60s") as (process, t):
        wait_for(t, "warm-up")
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE_S) == 130
        wait_for(t, "interrupted before anything was measured")


def test_progress_is_for_terminals_only() -> None:
    """A log gets no line of it."""
    with served(reversing) as port:
        done = bench(f"127.0.0.1:{port}", *QUICK)
    assert "\r" not in done.stderr + done.stdout


# -- thresholds and files --------------------------------------------------------------------------


def test_thresholds() -> None:
    """Broken ones are exit code 99, and named."""
    with served(reversing) as port:
        kept = bench(f"127.0.0.1:{port}", *QUICK, "--threshold", "p50<5s")
        broken = bench(
            f"127.0.0.1:{port}", *QUICK, "--threshold", "p50<1us", "--threshold", "errors<1"
        )
    assert kept.returncode in MEASURED
    assert "p50<5s: kept" in kept.stdout
    assert broken.returncode in (99, 5)  # 5: the machine is so busy that the client was late
    assert "p50<1us: BROKEN" in broken.stdout
    assert "errors<1: kept" in broken.stdout


def test_client_that_is_late_is_exit_code_5() -> None:
    """One that was stopped for a while: nobody can tell what the server did meanwhile."""
    args = ("-z", "1500ms", "-c", 4, "--rate", 500, "--expect", "echo", "--warmup", "50ms")
    with served(echo) as port, client(f"127.0.0.1:{port}", *args) as (process, terminal):
        wait_for(terminal, "messages/s")
        process.send_signal(signal.SIGSTOP)
        until_s = time.monotonic() + 0.4
        wait_until(lambda: time.monotonic() > until_s, "it was stopped for a while")
        process.send_signal(signal.SIGCONT)
        assert process.wait(DEADLINE_S) == 5
        assert "the client was the bottleneck: 1 of 100 messages was sent" in wait_for(
            terminal, "late, more than 1 ms"
        )


def test_saved_run_is_compared(tmp_path: Path) -> None:
    """By name, with the ratios and what differs; and the report has them."""
    environment = {**os.environ, "XDG_DATA_HOME": str(tmp_path)}
    report = tmp_path / "r.html"
    with served(reversing) as port:
        target = f"127.0.0.1:{port}"
        first = bench(target, *QUICK, "--save", "first", env=environment)
        assert first.returncode in MEASURED, first.stderr
        second = bench(
            target, *QUICK, "--size", 65, "--compare", "first", "--report", report,
            "--json", tmp_path / "second.json", env=environment,
        )  # fmt: skip
    assert second.returncode in MEASURED, second.stderr
    assert "to the earlier run (which had other settings: size_bytes 64 and 65)" in second.stdout
    saved = json.loads((tmp_path / "asyncrev" / "bench" / "first.json").read_text())
    assert saved["messages"] > 0
    ratios = json.loads((tmp_path / "second.json").read_text())["compared"]
    assert set(ratios) == {"rate", "p50", "p90", "p99"}
    assert 0.5 < ratios["rate"]["ratio"] < 2
    assert "To the earlier run" in report.read_text()


def documented_fields() -> set[str]:
    """Return the fields that the page lists."""
    text = (ROOT / "docs" / "howto" / "load-test.md").read_text(encoding="utf-8")
    rows = text.partition("## The JSON document")[2].splitlines()
    cells = [row.split("|")[1] for row in rows if row.startswith("| `")]
    return {name.strip(" `") for cell in cells for name in cell.split(",")}


def test_document_has_exactly_the_documented_fields() -> None:
    """And its intervals theirs."""
    with served(reversing) as port:
        figures = document(f"127.0.0.1:{port}", *QUICK, "--threshold", "errors<1")
    assert set(figures) == documented_fields()
    assert set(figures["intervals"][0]) == {
        "from_s", "to_s", "messages", "messages_per_s", "received_bytes", "errors",
        "client_cores", "latency_us",
    }  # fmt: skip
    assert figures["thresholds"] == [{"text": "errors<1", "value": 0, "kept": True}]


@pytest.mark.parametrize("option", ["--json", "--save", "--report"])
def test_file_that_cannot_be_written_is_exit_code_1(option: str) -> None:
    """The table was printed before."""
    with served(reversing) as port:
        done = bench(f"127.0.0.1:{port}", *QUICK, option, "/nowhere/x.html")
    assert done.returncode == 1
    assert f"{option} /nowhere/x.html: No such file or directory" in done.stderr
    assert "messages/s" in done.stdout


def test_closed_stdout_is_no_traceback() -> None:
    """Of `| true`."""
    with served(reversing) as port:
        command = f"{sys.executable} -m asyncrev bench 127.0.0.1:{port} {' '.join(QUICK)} | true"
        done = subprocess.run(
            ["sh", "-c", command], capture_output=True, text=True, timeout=DEADLINE_S, check=False
        )
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
