"""send_cli: `asyncrev send` as a process, against servers of asyncrev."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.certificates import Issuer
from tests.command_line import invoke
from tests.support import DEADLINE_S, ServerProcess, pattern, serving, wait_until

pytestmark = pytest.mark.process


def send(*args: str, data: bytes = b"", **settings: Any) -> "subprocess.CompletedProcess[bytes]":
    """Run `asyncrev send` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "asyncrev", "send", *args],
        input=data,
        capture_output=True,
        timeout=3 * DEADLINE_S,
        check=False,
        **settings,
    )


def where(server: ServerProcess) -> str:
    """Return its address as an argument."""
    return f"127.0.0.1:{server.port}"


@pytest.fixture(params=["raw", "line", "len32", "len64"])
def framed(request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """A framing, and the address of a server that has it."""
    with serving("--framing", request.param) as server:
        yield request.param, where(server)


def test_data_stdin_repeats_and_expectations(framed: tuple[str, str]) -> None:
    """Each framing, verified; a wrong reply is located."""
    framing, address = framed
    run = send(address, "hello", "--framing", framing, "--expect", "reverse")
    end = b"" if framing == "raw" else b"\n"
    assert (run.returncode, run.stdout, run.stderr) == (0, b"olleh" + end, b"")

    run = send(address, "--framing", framing, "--expect", "reverse", data=b"ab\ncde\n")
    assert run.returncode == 0, run.stderr
    assert run.stdout == (b"\nedc\nba" if framing == "raw" else b"ba\nedc\n")

    args = ("--framing", framing, "--repeat", "3000", "--expect", "reverse")
    run = send(address, "abc", *args)
    assert run.returncode == 0, run.stderr
    assert len(run.stdout) == 3000 * (3 + len(end))

    run = send(address, "abba", "--framing", framing, "--expect", "abba")
    assert (run.returncode, run.stderr) == (0, b"")
    run = send(address, "abc", "--framing", framing, "--expect", "echo")
    prefix_bytes = {"len32": 4, "len64": 8}.get(framing, 0)
    assert run.returncode == 4
    assert run.stderr == (
        b"asyncrev: error: the reply differs at offset %d: byte 0x61 ('a') is expected, "
        b"byte 0x63 ('c') came\n" % prefix_bytes
    )


def test_expected_file_and_long_input_from_a_pipe(tmp_path: Path) -> None:
    """Much more than all buffers, both directions at once; the file has the reply."""
    data = b"".join(b"%d %s\n" % (i, pattern(i % 200).hex().encode()) for i in range(40_000))
    reply = b"".join(line[::-1] + b"\n" for line in data.splitlines())
    (tmp_path / "reply").write_bytes(reply)
    with serving("--framing", "line") as server:
        args = (where(server), "-", "--framing", "line", "--expect", f"@{tmp_path / 'reply'}")
        run = send(*args, data=data)
        assert (run.returncode, run.stderr) == (0, b"")
        assert run.stdout == reply
        run = send(*args, data=data + b"more\n")
        assert run.returncode == 4
        assert f"offset {len(reply)}: the end is expected" in run.stderr.decode()


@pytest.mark.parametrize("framing", ["raw", "line", "len32"])
def test_tls(framing: str, tmp_path: Path) -> None:
    """Verified by an authority; refused without it; a long input; a UNIX socket."""
    issuer = Issuer(tmp_path)
    certificate = issuer.issue("localhost")
    trust = ("--tls", "--ca-certs", issuer.trusted, "--framing", framing, "--expect", "reverse")
    with serving("--ssl-certfile", certificate, "--framing", framing) as server:
        address = f"localhost:{server.port}"
        run = send(address, "hello", *trust)
        assert (run.returncode, run.stderr) == (0, b"")
        assert run.stdout.strip() == b"olleh"
        lines = (b"x" * 99 + b"\n") * 30_000
        run = send(address, *trust, data=lines + b"end")
        assert (run.returncode, run.stderr) == (0, b"")
        assert len(run.stdout) >= len(lines)
        run = send(where(server), "hello", *trust)
        assert run.returncode == 1
        assert b"certificate is refused" in run.stderr
        assert run.stderr.count(b"\n") == 1
        run = send(where(server), "hello", "--framing", framing, "--tls", "--insecure")
        assert (run.returncode, run.stdout.strip()) == (0, b"olleh")
        # A processor that replies at the end only: nothing comes before close_notify.
    path = str(tmp_path / "sock")
    with serving("--uds", path, "--ssl-certfile", certificate, "--framing", framing):
        run = send(f"unix:{path}", "hi", *trust, "--server-hostname", "localhost")
        assert (run.returncode, run.stdout.strip()) == (0, b"ih")
        run = send(f"unix:{path}", "hi", "--tls")
        assert run.returncode == 2
        assert b"--server-hostname" in run.stderr


def test_unix_socket(tmp_path: Path) -> None:
    """By its path."""
    path = str(tmp_path / "sock")
    with serving("--uds", path):
        run = send(f"unix:{path}", "hello", "--expect", "reverse")
        assert (run.returncode, run.stdout) == (0, b"olleh")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("h:1", "a", "b"), "at most an address and the data"),
        (("h:99999", "a"), "from 1 to 65535"),
        (("--repeat", "0", "x"), "--repeat"),
        (("--repeat", "2"), "stdin is read once"),
        (("--insecure", "x"), "--insecure needs --tls"),
        (("--ca-certs", "f", "x"), "--ca-certs needs --tls"),
        (("--tls", "--ca-certs", "/nowhere", "x"), "No such file"),
        (("--expect", "@/nowhere", "x"), "--expect @/nowhere: No such file"),
        (("--framing", "http", "x"), "--framing"),
        (("--timeout-s", "soon", "x"), "--timeout-s"),
    ],
)
def test_mistake_is_one_line_and_exit_code_2(args: tuple[str, ...], words: str) -> None:
    """Nothing is connected to."""
    result = invoke("send", *args)
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("asyncrev: error: ")
    assert words in line


def test_stdout_that_nobody_reads() -> None:
    """One line and exit code 1."""
    reader, writer = os.pipe()
    os.close(reader)
    with serving() as server:
        try:
            run = subprocess.run(
                [sys.executable, "-m", "asyncrev", "send", where(server), "hello"],
                stdout=writer,
                stderr=subprocess.PIPE,
                timeout=DEADLINE_S,
                check=False,
            )
        finally:
            os.close(writer)
    assert run.returncode == 1
    assert run.stderr == b"asyncrev: error: cannot write to stdout: Broken pipe\n"


def test_interrupt_while_it_waits_for_stdin() -> None:
    """Exit code 130, and no traceback."""
    with (
        serving() as server,
        subprocess.Popen(
            [sys.executable, "-m", "asyncrev", "send", where(server)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
        ) as client,
    ):
        try:
            assert client.stdin is not None
            assert client.stdout is not None
            client.stdin.write(b"abc")
            assert client.stdout.read(3) == b"cba"  # while stdin stays open
            client.send_signal(signal.SIGINT)
            assert client.wait(DEADLINE_S) == 130
            assert client.stderr is not None
            assert client.stderr.read() == b""
        finally:
            client.kill()


def test_memory_is_bounded() -> None:
    """Input that is ten times as long needs as much."""
    code = (
        "import resource, sys; from asyncrev.command.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert end.code == 0, end.code\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)"
    )
    peaks_kib = []
    with serving() as server:
        for times in (20, 200):
            args = ["send", where(server), "--repeat", str(times * 2**14), "--expect", "reverse"]
            run = subprocess.run(
                [sys.executable, "-c", code, *args, "x" * 63],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                timeout=5 * DEADLINE_S,
                check=True,
            )
            peaks_kib.append(int(run.stderr))
    assert peaks_kib[1] < peaks_kib[0] + 40_000


def test_serve_imports_nothing_of_it() -> None:
    """Nor does the help."""
    code = (
        "import sys; from asyncrev.command import cli, serving; "
        "print(sorted(name for name in sys.modules if name.startswith('asyncrev.command.send')))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
    assert "send" in invoke("--help").output
    assert wait_until(lambda: "--expect" in invoke("send", "--help").output, "the help has it")
