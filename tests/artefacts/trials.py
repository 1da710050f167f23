"""What is tried of an installation: each function fails if something does not work."""

import contextlib
import json
import re
import select
import socket
import subprocess
import time
from collections.abc import Callable, Iterator

from tests.artefacts.environment import MOST_S, Environment

__all__ = ["EXTRA_TRIALS", "certified", "command_line", "errors_of_extras", "library", "serving"]

TEXT = "The quick brown fox"
LIBRARY = """
import asyncio
import asyncrev

async def main():
    async with await asyncrev.serve("127.0.0.1", 0, processor=bytes.upper) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"ten lines")
        writer.write_eof()
        print((await reader.read()).decode())
        writer.close()

asyncrev.run(main())
"""
TEST_FILE = """
from asyncrev.testing import check_processor

pytest_plugins = ["asyncrev.testing.plugin"]

def test_processor_keeps_its_contract():
    check_processor(bytes.upper)

def test_server_answers(asyncrev_server):
    assert asyncrev_server(bytes.upper).port > 0
"""
FUNCTION = """
def upper(data):
    return bytes(data).upper()

upper.idempotent = True
"""
# What a command says where its extra is missing.
WITHOUT_EXTRA = {
    "bench": ("bench", "127.0.0.1:1"),
    "ops": ("serve", "--port", "0", "--admin", "127.0.0.1:0"),
    "uvloop": ("serve", "--port", "0", "--loop", "uvloop"),
    "dask": ("serve", "--port", "0", "--framing", "len32", "--executor", "dask"),
}


@contextlib.contextmanager
def serving(environment: Environment, *options: str) -> Iterator[str]:
    """Run `asyncrev serve` with these options; give its start line, and have it drain at the end.

    Fails if it does not start, or does not exit with 0.
    """
    command = [str(environment.executable("asyncrev")), "serve", *options]
    process = subprocess.Popen(command, **environment.options())
    try:
        yield _start_line(process)
        process.terminate()
        _, log = process.communicate(timeout=MOST_S)
        assert process.returncode == 0, log.decode()
    finally:
        process.kill()
        process.communicate()


def _start_line(process: "subprocess.Popen[bytes]") -> str:
    assert process.stderr is not None
    end_s, said = time.monotonic() + MOST_S, ""
    while " serving on " not in said:
        ready, _, _ = select.select([process.stderr], [], [], max(0.0, end_s - time.monotonic()))
        line = process.stderr.readline().decode() if ready else ""
        assert line, f"the server does not start: {said}"
        said += line
    return said.splitlines()[-1]


def certified(
    environment: Environment, kind: str, files: tuple[str, str]
) -> tuple[list[str], list[str]]:
    """Return options of a server of this kind (tcp, unix, tls), and those of `send` for it."""
    certificate, authority = files
    if kind == "unix":
        path = environment.short / "socket"
        return ["--uds", str(path)], [f"unix:{path}"]
    if kind == "tls":
        options = ["--host", "localhost", "--port", "0", "--ssl-certfile", certificate]
        return options, ["--tls", "--ca-certs", authority, "--server-hostname", "localhost"]
    return ["--port", "0"], []


def answers(environment: Environment, kind: str, files: tuple[str, str], plane: str) -> None:
    """`asyncrev serve` reverses what `asyncrev send` sends, over a transport, and drains."""
    options, arguments = certified(environment, kind, files)
    with serving(environment, *options) as line:
        assert f" plane={plane} " in line, line
        address = [] if kind == "unix" else [_address(line)]
        sent = environment.run(
            "asyncrev", "send", *arguments, *address, "--expect", "reverse", TEXT
        )
        assert sent.stdout.strip() == TEXT[::-1]


def _address(start_line: str) -> str:
    found = re.search(r"serving on (\S+:\d+)", start_line)
    assert found is not None, start_line
    return found[1]


def library(environment: Environment) -> None:
    """A server in ten lines, in a program."""
    assert environment.run("python", "-I", "-c", LIBRARY).stdout == "TEN LINES\n"


def command_line(environment: Environment) -> None:
    """`doctor` looks, `completion` completes, and manual pages are where man(1) looks."""
    doctor = environment.run("asyncrev", "doctor", "--port", "0", "--json", code=(0, 1))
    assert json.loads(doctor.stdout)
    for shell, words in {"bash": "complete ", "zsh": "#compdef", "fish": "complete "}.items():
        assert words in environment.run("asyncrev", "completion", shell).stdout
    share = environment.prefix / "share"
    assert (share / "man/man1/asyncrev-serve.1").read_text(encoding="utf-8").startswith(".")
    assert (share / "bash-completion/completions/asyncrev").stat().st_size > 0
    assert (share / "zsh/site-functions/_asyncrev").stat().st_size > 0
    assert (share / "fish/vendor_completions.d/asyncrev.fish").stat().st_size > 0


def errors_of_extras(environment: Environment) -> None:
    """A command that needs an extra says which, in one line."""
    for extra, command in WITHOUT_EXTRA.items():
        said = environment.run("asyncrev", *command, code=2).stderr
        (line,) = said.splitlines()
        assert line.startswith("asyncrev: error: "), line
        assert f"asyncrev[{extra}]" in line, line


def ops(environment: Environment) -> None:
    """`--admin` answers Prometheus, and `asyncrev top`."""
    path = environment.short / "admin"
    with serving(environment, "--port", "0", "--admin", f"unix:{path}"):
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(MOST_S)
            client.connect(str(path))
            client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            answer = b"".join(iter(lambda: client.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 200 "), answer[:200]
        assert b"\nasyncrev_build_info{" in answer
        look = environment.run("asyncrev", "top", "--admin", f"unix:{path}", "--once", "--json")
        assert json.loads(look.stdout)


def bench(environment: Environment) -> None:
    """`asyncrev bench` verifies replies; that it may be the bottleneck (5) is no fault of it."""
    with serving(environment, "--port", "0") as line:
        command = ("bench", _address(line), "-c", "2", "-n", "200", "--json", "-")
        done = environment.run("asyncrev", *command, code=(0, 5))
    figures = json.loads(done.stdout)
    assert (figures["messages"], figures["errors"], figures["mismatch"]) == (200, {}, None)


def uvloop(environment: Environment) -> None:
    """`--loop uvloop` serves."""
    with serving(environment, "--port", "0", "--loop", "uvloop") as line:
        assert " loop=uvloop " in line
        command = ("send", _address(line), "--expect", "reverse", TEXT)
        assert environment.run("asyncrev", *command).stdout.strip() == TEXT[::-1]


def dask(environment: Environment) -> None:
    """`--executor dask` answers frames by a cluster of its own."""
    options = ("--port", "0", "--framing", "line", "--executor", "dask", "--executor-workers", "1")
    module = environment.folder / "work_of_users.py"
    module.write_text(FUNCTION, encoding="utf-8")
    with serving(environment, *options, "--processor", "work_of_users:upper") as line:
        command = ("send", _address(line), "--framing", "line", "--timeout-s", "60")
        done = environment.run("asyncrev", *command, "--expect", TEXT.upper(), TEXT)
        assert done.stdout.strip() == TEXT.upper()


def testing(environment: Environment) -> None:
    """`asyncrev.testing` in a test file of a user."""
    path = environment.folder / "test_of_users.py"
    path.write_text(TEST_FILE, encoding="utf-8")
    done = environment.run("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", str(path))
    assert "2 passed" in done.stdout


EXTRA_TRIALS: dict[str, Callable[[Environment], None]] = {
    "ops": ops,
    "bench": bench,
    "uvloop": uvloop,
    "dask": dask,
    "testing": testing,
}
