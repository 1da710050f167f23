"""cli: help, version, options from flags and from the environment, one line for every mistake."""

import os
import platform
import runpy
import socket
import subprocess
import sys
from pathlib import Path

import click
import pytest

from asyncrev.command import serving
from asyncrev.command.settings import ServeSettings
from asyncrev.errors import LocalError, SettingsError
from asyncrev.native.choice import DESCRIPTION
from asyncrev.version import __version__
from tests.command_line import invoke
from tests.support import run_asyncrev


def test_help_of_the_group_names_its_commands() -> None:
    """-h does too."""
    for flag in ("--help", "-h"):
        result = invoke(flag)
        assert result.exit_code == 0
        assert "serve" in result.output
        assert "--version" in result.output


def test_without_a_command_the_help_is_shown() -> None:
    """Whoever types the bare name wants to know what there is."""
    assert "Usage: asyncrev" in invoke().output


def test_version_tells_version_loop_python_and_gil() -> None:
    """One line, for bug reports; the kernels, too."""
    result = invoke("--version")
    assert result.exit_code == 0
    gil = "on" if getattr(sys, "_is_gil_enabled", lambda: True)() else "off"
    assert result.output == (
        f"asyncrev {__version__} (loop epoll, plane {DESCRIPTION}, "
        f"{platform.python_implementation()} {platform.python_version()}, GIL {gil})\n"
    )


def test_version_without_gil_says_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """On free-threaded builds it is the first thing to know."""
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: False, raising=False)
    assert "GIL off)" in invoke("--version").output


def test_module_runs_as_the_command_does() -> None:
    """`python -m asyncrev` is `asyncrev`, by name too."""
    done = run_asyncrev("--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"asyncrev {__version__} (loop epoll, ")


def test_main_module_calls_main(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same in this process, whose signals and descriptors are not the command's to keep."""
    monkeypatch.setattr(sys, "argv", ["x", "--version"])
    for name in ("atexit.register", "os.register_at_fork"):
        monkeypatch.setattr(name, lambda *_, **__: None)
    monkeypatch.setattr("asyncrev.command.signals.ProcessSignals.take_over", lambda _: None)
    before = [path for path in sys.path if path != os.getcwd()]
    monkeypatch.setattr(sys, "path", [os.getcwd(), *before])
    with pytest.raises(SystemExit) as caught:
        runpy.run_module("asyncrev", run_name="__main__")
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith(f"asyncrev {__version__} (loop epoll, ")
    assert sys.path == before


def test_exit_code_is_that_of_serving(monkeypatch: pytest.MonkeyPatch) -> None:
    """3 and 143 reach the shell."""
    for code in (0, 1, 3, 143):
        monkeypatch.setattr(serving, "serve_until_signal", lambda *_, code=code: code)
        assert invoke("serve").exit_code == code


def test_mistyped_variable_is_handed_on_as_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    """To be logged, once there is a log."""
    given: list[list[str]] = []
    monkeypatch.setattr(serving, "serve_until_signal", lambda _, __, found: given.append(found))
    for name in [name for name in os.environ if name.startswith("ASYNCREV_")]:
        monkeypatch.delenv(name)
    assert invoke("serve", env={"ASYNCREV_PROT": "1"}).exit_code == 0
    assert [[warning.split()[0] for warning in found] for found in given] == [["ASYNCREV_PROT"]]


# -- mistakes ----------------------------------------------------------------------------------


def test_port_that_kubernetes_sets_for_a_service_is_an_error_that_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is not a port; the command line wins."""
    monkeypatch.setattr(serving, "serve_until_signal", lambda *_: 0)
    link = {"ASYNCREV_PORT": "tcp://10.0.0.1:9090"}
    result = invoke("serve", env=link)
    assert result.exit_code == 2
    assert "'ASYNCREV_PORT'): 'tcp://10.0.0.1:9090' is not a whole number; give 0 to 65535; " in (
        result.stderr
    )
    assert "put enableServiceLinks: false into the pod's spec" in result.stderr
    assert "Kubernetes" not in invoke("serve", "--port", "tcp").stderr
    assert invoke("serve", "--port", "9090", env=link).exit_code == 0


@pytest.mark.parametrize(
    ("args", "part"),
    [
        (["--port", "65536"], "65536 is not in the range 0<=x<=65535"),
        (["--port", "x"], "'x' is not a whole number; give 0 to 65535"),
        (["--loop", "nope"], "'nope' is not one of 'epoll', 'asyncio', 'uvloop'"),
        (["--log-level", "loud"], "'loud' is not one of"),
        (["--slots", "0"], "slots is 0; it must be a whole number >= 1"),
        (["--slots", "9" * 30], "it must be at most"),
        (["--threads", "0"], "0 is not in the range x>=1"),
        (
            ["--uds", "s", "--uds-mode", "rw"],
            "'rw' is not the mode of a file; give it in octal",
        ),
        (["--uds-mode", "0800"], "'0800' is not the mode of a file"),
        (["--uds-mode", "1777"], "'1777' is not the mode of a file"),
        (["--fd", "-1"], "-1 is not in the range 0<=x<=2147483647"),
        (["--ssl-certfile", "/nowhere"], "--ssl-certfile '/nowhere': No such file or directory"),
        (
            ["--ssl-certfile", __file__, "--ssl-keyfile", "/nowhere"],
            "--ssl-keyfile '/nowhere': No such file or directory",
        ),
        (["--ssl-certfile", __file__], f"--ssl-certfile {__file__!r}: no certificate and key can"),
        (["--slots", "8", "--entries", "7"], "entries is 7; it must be a whole number >= 8"),
        (["--slot-bytes", "-1"], "slot_bytes is -1; it must be a whole number >= 1"),
        (["--max-connections", "0"], "max_connections is 0"),
        (["--max-reply-bytes", "-1"], "'-1' is negative; give 0 or more bytes"),
        (["--low-water-bytes", "-1"], "'-1' is negative"),
        (["--pool-connection-bytes", "-1K"], "'-1K' is negative"),
        (["--entries", "-1"], "-1 is not in the range x>=0"),
        (["--high-water-bytes", "-5"], "high_water_bytes is -5"),
        (["--write-stall-timeout-s", "0"], "write_stall_timeout_s is 0.0"),
        (["--framing", "len16"], "'len16' is not one of 'raw', 'line', 'len32', 'len64'"),
        (["--max-frame-bytes", "0"], "max_frame_bytes is 0; it must be a whole number >= 1"),
        (["--max-frame-bytes", "1e6"], "'1e6' is not a number of bytes"),
        (
            ["--max-frame-bytes", "1GiB"],
            "--max-frame-bytes is 1073741824: pool_bytes is 67108864; it must be a whole number",
        ),
        (
            ["--max-frame-bytes", "8GiB", "--framing", "len32"],
            "max_frame_bytes is 8589934592; it must be at most 4294967295, the longest that a "
            "frame of len32 can be",
        ),
        (
            ["--max-frame-bytes", "8GiB", "--framing", "len64"],
            "is 8589934592: pool_bytes is 67108864",
        ),
        (["--port", "abc"], "'abc' is not a whole number; give 0 to 65535"),
        (["--threads", "x"], "'x' is not a whole number; give 1 or more"),
        (["--processor", "work:A", "--processor", "work:B"], "--processor is given 2 times; give"),
        (["--pool-bytes", "1000"], "pool_bytes is 1000; it must be a whole number >= 4194304"),
        (["--pool-connection-bytes", "1"], "pool_connection_bytes is 1; it must be a whole"),
        (["--backlog", "0"], "backlog is 0"),
        (["--backlog", "2147483648"], "backlog is 2147483648; it must be at most 2147483647"),
        (["--max-connections", "2147483648"], "max_connections is 2147483648; it must be at most"),
        (["--fd", "2147483648"], "2147483648 is not in the range 0<=x<=2147483647"),
        (["--in-flight-entries", "0"], "in_flight_entries is 0"),
        (["--in-flight-bytes", "0"], "in_flight_bytes is 0"),
        (
            ["--first-byte-timeout-s", "0"],
            "first_byte_timeout_s is 0.0; it must be a number of seconds from 0.001 to 1e+09, or",
        ),
        (["--idle-timeout-s", "-1"], "idle_timeout_s is -1.0; it must be a number of"),
        (["--frame-timeout-s", "nan"], "frame_timeout_s is nan; it must be a number of"),
        (["--write-stall-timeout-s", "inf"], "write_stall_timeout_s is inf; it must be a"),
        (["--drain-timeout-s", "nan"], "drain_timeout_s is nan; it must be a number"),
        (["--cpu", "x"], "--cpu is 'x'; it must be auto, any, or one of the cores"),
        (["--processor", "os"], "--processor 'os': write it as module:attr"),
        (["--processor", ":x"], "write it as module:attr"),
        (["--processor", "x:"], "write it as module:attr"),
        (["--processor", "no_such_module:x"], "No module named 'no_such_module'"),
        (["--processor", "os:nope"], "module 'os' has no attribute 'nope'"),
        (["--processor", "os:path.nope"], "has no attribute 'nope'"),
        (["--processor", "os:sep"], "--processor 'os:sep': processor '/' is not callable"),
        (
            ["--processor", "builtins:dict"],
            "--processor 'builtins:dict': processor <class 'dict'> is a class without",
        ),
        (["--nope"], "No such option"),
        (["--slots"], "requires an argument"),
        (["extra"], "unexpected extra argument"),
    ],
)
def test_bad_value_is_one_line_and_exit_2(
    served: list[ServeSettings], args: list[str], part: str
) -> None:
    """It names the option, the value and what is allowed; nothing else is printed."""
    result = invoke("serve", *args)
    assert result.exit_code == 2
    assert result.output.startswith("asyncrev: error: ")
    assert result.output.count("\n") == 1
    assert part in result.output
    assert not served


def test_unknown_command_is_one_line_and_exit_2() -> None:
    """Also before any command is found."""
    for args in (["nope"], ["--nope"]):
        result = invoke(*args)
        assert result.exit_code == 2
        assert result.output.startswith("asyncrev: error: No such ")
        assert result.output.count("\n") == 1


def test_bad_environment_names_its_variable(served: list[ServeSettings]) -> None:
    """Nobody searches their command line for what is not there."""
    result = invoke("serve", env={"ASYNCREV_PORT": "x"})
    assert result.exit_code == 2
    assert "env var: 'ASYNCREV_PORT'" in result.output
    assert "'x' is not a whole number; give 0 to 65535" in result.output
    assert result.output.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (OSError(98, "Address already in use"), 1, "Address already in use"),
        (LocalError("somebody else's\npath"), 1, "somebody else's path"),
        (SettingsError("the stop word is empty"), 2, "the stop word is empty"),
    ],
)
def test_error_while_serving_is_one_line(
    monkeypatch: pytest.MonkeyPatch, error: Exception, code: int, line: str
) -> None:
    """What cannot be served is told, not traced."""

    def fail(*_: object) -> int:
        raise error

    monkeypatch.setattr(serving, "serve_until_signal", fail)
    result = invoke("serve", "--host", "a..b")
    assert result.exit_code == code
    assert result.output == f"asyncrev: error: {line}\n"


# -- as real processes -------------------------------------------------------------------------


@pytest.mark.process
def test_mistakes_of_a_real_process_are_one_line(tmp_path: Path) -> None:
    """Exactly one on stderr, nothing on stdout, no traceback, the code that is documented."""
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = str(busy.getsockname()[1])
        foreign = tmp_path / "file"
        foreign.write_text("mine")
        (tmp_path / "uvloop.py").write_text("raise ImportError('no uvloop here')\n")
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
        for args, code, part in [
            (["--slots", "x"], 2, "'x' is not a valid integer"),
            (["--processor", "nope:x"], 2, "No module named 'nope'"),
            (["--port", port], 1, f"cannot listen on 127.0.0.1:{port}: Address already in use"),
            (["--loop", "uvloop"], 2, "uvloop is not installed"),
            (["--uds", str(foreign)], 1, "exists and is not a socket; name another path"),
            (["--host", "a..b"], 2, "--host 'a..b', --port: host 'a..b' is no name: "),
            (["--host", "192.0.2.77", "--port", "0"], 1, "cannot listen on 192.0.2.77:0: Cannot "),
            (["--fd", "99"], 1, "--fd: descriptor 99 cannot be listened on: Bad file descriptor"),
            (["--uds", str(tmp_path / "no" / "s")], 1, "/no/s': No such file or directory"),
            (["--backlog", "2147483648"], 2, "backlog is 2147483648; it must be at most"),
            (["--threads", "9090"], 2, "threads is 9090; it must be at most"),
            (["--slots", "100000000"], 1, "--slots, --slot-bytes, --entries, --threads: 1 x 2"),
            (["--tee", str(tmp_path / "no" / "file"), "--port", "0"], 1, "No such file"),
            (["--stop-word", "", "--port", "0"], 2, "the stop word is empty"),
        ]:
            done = run_asyncrev("serve", *args, env=environment)
            assert done.returncode == code, (args, done.stderr)
            assert done.stdout == ""
            assert done.stderr.startswith("asyncrev: error: "), (args, done.stderr)
            assert done.stderr.count("\n") == 1, (args, done.stderr)
            assert part in done.stderr
        assert foreign.read_text() == "mine"


@pytest.mark.process
@pytest.mark.parametrize("args", [("--version",), ("--help",), ("serve", "--help")])
def test_output_that_cannot_be_written_is_one_line(args: tuple[str, ...]) -> None:
    """It says what could not be written, and why."""
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "asyncrev", *args], stdout=full, stderr=subprocess.PIPE
        )
    assert done.returncode == 1
    assert done.stderr == b"asyncrev: error: cannot write to stdout: No space left on device\n"


def test_click_of_the_first_supported_versions_has_no_help_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before 8.2 there is no NoArgsIsHelpError; other mistakes read the same there."""
    monkeypatch.delattr(click.exceptions, "NoArgsIsHelpError", raising=False)
    result = invoke("serve", "--nope")
    assert result.exit_code == 2
    assert result.output.startswith("asyncrev: error: No such option")
