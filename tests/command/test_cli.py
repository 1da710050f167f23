"""cli: help, version, options from flags and from the environment, one line for every mistake."""

import asyncio
import dataclasses
import os
import platform
import re
import runpy
import socket
import ssl
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from asyncrev.command import cli
from asyncrev.command.options import LIMIT_OPTIONS, LimitOption
from asyncrev.command.serving import ServeOptions
from asyncrev.errors import LocalError, SettingsError
from asyncrev.limits import Limits
from asyncrev.loop import EpollEventLoop
from asyncrev.reverse import Reverse
from asyncrev.version import __version__
from tests.support import ROOT, run_asyncrev

SERVE_OPTIONS = [
    "host", "port", "uds", "uds-mode", "fd", "ssl-certfile", "ssl-keyfile", "threads", "loop",
    "processor", "framing", "max-frame-bytes", "max-reply-bytes", "pool-bytes",
    "pool-connection-bytes", "slots", "slot-bytes", "entries", "max-connections", "backlog",
    "in-flight-entries", "in-flight-bytes", "inline-below-bytes", "high-water-bytes",
    "first-byte-timeout-s", "idle-timeout-s", "frame-timeout-s", "write-stall-timeout-s",
    "drain-timeout-s", "low-water-bytes", "carry-bytes", "tls-handshake-timeout-s",
    "linger-timeout-s", "cpu", "log-level", "stop-word", "tee",
]  # fmt: skip


def invoke(*args: str, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(cli.main, args, env=env, prog_name="asyncrev")


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[ServeOptions]:
    """What `serve` would serve with; it returns 0 at once instead."""
    options: list[ServeOptions] = []

    def note(asked: ServeOptions, signals: object) -> int:
        options.append(asked)
        return 0

    monkeypatch.setattr(cli, "serve_until_signal", note)
    for name in list(os.environ):
        if name.startswith("ASYNCREV_"):
            monkeypatch.delenv(name)
    return options


# -- help and version --------------------------------------------------------------------------


def test_help_of_serve_names_every_option_with_its_variable() -> None:
    """Nothing is hidden, and the list above is all there is."""
    result = invoke("serve", "--help")
    assert result.exit_code == 0
    text = " ".join(result.output.split())
    for option in SERVE_OPTIONS:
        assert f"--{option} " in text
        variable = "ASYNCREV_" + option.upper().replace("-", "_")
        assert f"env var: {variable};" in text or f"env var: {variable}]" in text
    declared = {p.opts[0].removeprefix("--") for p in cli.serve.params}
    assert declared == set(SERVE_OPTIONS)
    assert "Exit codes: 0 clean, 1 runtime error, 2 usage, 3 the drain deadline" in text


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
    """One line, for bug reports."""
    result = invoke("--version")
    assert result.exit_code == 0
    gil = "on" if getattr(sys, "_is_gil_enabled", lambda: True)() else "off"
    assert result.output == (
        f"asyncrev {__version__} (loop epoll, {platform.python_implementation()} "
        f"{platform.python_version()}, GIL {gil})\n"
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


# -- options -----------------------------------------------------------------------------------


def test_defaults(served: list[ServeOptions]) -> None:
    """What `asyncrev serve` alone means."""
    assert invoke("serve").exit_code == 0
    (options,) = served
    assert (options.host, options.port, options.uds) == ("127.0.0.1", 9090, None)
    assert (options.loop_name, options.loop_factory) == ("epoll", EpollEventLoop)
    assert (options.processor_name, options.factory) == ("asyncrev:Reverse", Reverse)
    assert options.framing == "raw"
    assert options.limits == cli.DEFAULTS
    assert (options.stop_word, options.tee, options.log_level) == (None, None, "info")


VALUES = {
    "host": ("::1", "::1"),
    "port": ("1234", 1234),
    "uds": ("/tmp/x", "/tmp/x"),
    "fd": ("7", 7),
    "threads": ("3", 3),
    "loop": ("asyncio", "asyncio"),
    "processor": ("zlib:compress", "zlib:compress"),
    "framing": ("len64", "len64"),
    "max-frame-bytes": ("70000", 70000),
    "max-reply-bytes": ("80000", 80000),
    "pool-bytes": ("10000000", 10_000_000),
    "pool-connection-bytes": ("3000000", 3_000_000),
    "slots": ("7", 7),
    "slot-bytes": ("4K", 4096),
    "entries": ("2100", 2100),
    "max-connections": ("3", 3),
    "backlog": ("17", 17),
    "in-flight-entries": ("5", 5),
    "in-flight-bytes": ("9999", 9999),
    "inline-below-bytes": ("4096", 4096),
    "high-water-bytes": ("1kB", 1000),
    "low-water-bytes": ("0.5KiB", 512),
    "carry-bytes": ("2048", 2048),
    "tls-handshake-timeout-s": ("750ms", 0.75),
    "linger-timeout-s": ("1m30s", 90.0),
    "first-byte-timeout-s": ("3.5", 3.5),
    "idle-timeout-s": ("inf", float("inf")),
    "frame-timeout-s": ("4.5", 4.5),
    "write-stall-timeout-s": ("1.5", 1.5),
    "drain-timeout-s": ("2.5", 2.5),
    "cpu": ("any", None),
    "log-level": ("error", "error"),
    "stop-word": ("exit", b"exit"),
    "tee": ("-", "-"),
}
FIELDS = {"loop": "loop_name", "processor": "processor_name"}


def value_of(options: ServeOptions, option: str) -> Any:
    name = FIELDS.get(option, option.replace("-", "_"))
    return getattr(options if hasattr(options, name) else options.limits, name)


@pytest.mark.parametrize("option", VALUES)
def test_option_comes_from_flag_or_environment(served: list[ServeOptions], option: str) -> None:
    """Both give the same; of the two the flag wins."""
    text, value = VALUES[option]
    variable = "ASYNCREV_" + option.upper().replace("-", "_")
    assert invoke("serve", f"--{option}", text).exit_code == 0
    assert invoke("serve", env={variable: text}).exit_code == 0
    assert invoke("serve", f"--{option}", text, env={variable: "wrong"}).exit_code == 0
    assert [value_of(options, option) for options in served] == [value] * 3


@pytest.mark.parametrize("limit", LIMIT_OPTIONS, ids=lambda limit: limit.field)
def test_limit_takes_the_unit_of_its_name_from_flag_or_environment(
    served: list[ServeOptions], limit: LimitOption
) -> None:
    """Bytes and seconds with units, counts as plain numbers; the message has the forms."""
    variable = "ASYNCREV_" + limit.field.upper()
    good, wrong, part = ("16777216", "5x", "'5x' is not a valid integer")
    if limit.field.endswith("_bytes"):
        good, part = ("16MiB", "'5x' is not a number of bytes; give bytes as 65536, 64K or")
    elif limit.field.endswith("_s"):
        good, part = ("1500ms", "'5x' is not a time; give seconds as 30 or 0.5, or with units")
    others = ["--high-water-bytes", "1G", "--pool-bytes", "1G", "--slots", "4"]
    others += ["--pool-connection-bytes", "16M"] if limit.field != "max_frame_bytes" else []
    assert invoke("serve", *others, limit.name, good).exit_code == 0
    given = [name for name in others if name != limit.name]
    if limit.name in others:
        del given[others.index(limit.name)]
    assert invoke("serve", *given, env={variable: good}).exit_code == 0
    wanted = {"16777216": 1 << 24, "16MiB": 1 << 24, "1500ms": 1.5}[good]
    assert [getattr(options.limits, limit.field) for options in served] == [wanted] * 2
    for result in (invoke("serve", limit.name, wrong), invoke("serve", env={variable: wrong})):
        assert result.exit_code == 2
        assert part in result.output
        assert limit.name in result.output
        assert result.output.count("\n") == 1


def test_defaults_of_limits_are_shown_with_their_units() -> None:
    """As one would write them."""
    text = " ".join(invoke("serve", "--help").output.split())
    for shown in (
        "ASYNCREV_SLOT_BYTES; default: 256KiB]",
        "ASYNCREV_IDLE_TIMEOUT_S; default: 5m]",
        "ASYNCREV_SLOTS; default: 256]",
        "BYTES are given as 65536, 64K or 64KiB (1024 each), 64kB (1000 each)",
        "SECONDS are given as 30 or 0.5, or with units as 500ms",
    ):
        assert shown in text


def test_every_limit_has_an_option_or_the_page_says_why_not() -> None:
    """And an option that sets no field would set nothing."""
    page = (ROOT / "docs" / "howto" / "choose-limits.md").read_text(encoding="utf-8")
    section = page.split("\n## Settings without an option\n")[1].split("\n## ")[0]
    without = set(re.findall(r"^- \*\*`(\w+)`\*\*: \w", section, re.MULTILINE))
    with_one = {limit.field for limit in LIMIT_OPTIONS}
    fields = {field.name for field in dataclasses.fields(Limits)}
    assert with_one | without == fields
    assert with_one & without == set()


@pytest.mark.parametrize(
    ("args", "env", "part"),
    [
        (["--uds", "s", "--fd", "3"], {}, "--uds and --fd exclude each other"),
        (["--host", "::", "--uds", "s"], {}, "--host and --uds exclude each other"),
        (["--port", "0", "--fd", "3"], {}, "--port and --fd exclude each other"),
        (
            ["--port", "0", "--host", "::", "--fd", "3", "--uds", "s"],
            {},
            "--host, --port, --uds and --fd exclude each other; say where to listen in one way",
        ),
        (
            ["--uds", "s"],
            {"ASYNCREV_HOST": "::"},
            "ASYNCREV_HOST (of the environment) and --uds exclude each other",
        ),
        (
            [],
            {"ASYNCREV_PORT": "1", "ASYNCREV_FD": "3"},
            "ASYNCREV_FD (of the environment) exclude",
        ),
        (["--uds-mode", "0660"], {}, "--uds-mode without --uds; name the UNIX socket, too"),
        ([], {"ASYNCREV_UDS_MODE": "0660"}, "ASYNCREV_UDS_MODE (of the environment) without --uds"),
        (["--ssl-keyfile", "k"], {}, "--ssl-keyfile without --ssl-certfile; name the cert"),
        ([], {"ASYNCREV_SSL_KEYFILE": "k"}, "ASYNCREV_SSL_KEYFILE (of the environment) without"),
    ],
)
def test_options_that_exclude_each_other_are_refused_by_name(
    served: list[ServeOptions], args: list[str], env: dict[str, str], part: str
) -> None:
    """One of them would be ignored in silence; a variable that nobody sees is named as one."""
    result = invoke("serve", *args, env=env)
    assert result.exit_code == 2
    assert part in result.output
    assert result.output.count("\n") == 1
    assert not served


def test_options_that_go_together_are_taken(served: list[ServeOptions]) -> None:
    """Defaults are not given, so they exclude nothing."""
    for args in (
        ["--host", "::", "--port", "1"],
        ["--uds", "s", "--uds-mode", "0660"],
        ["--fd", "3"],
    ):
        assert invoke("serve", *args).exit_code == 0
    assert [options.uds_mode for options in served] == [0o600, 0o660, 0o600]


def test_certificate_and_key_come_from_files_of_their_own_or_one(
    served: list[ServeOptions], tmp_path: Path
) -> None:
    """By flag or environment; without them the server is a plain one."""
    trustme = pytest.importorskip("trustme")
    issued = trustme.CA().issue_cert("localhost")
    both, certificate, key = (str(tmp_path / name) for name in ("both", "certificate", "key"))
    issued.private_key_and_cert_chain_pem.write_to_path(both)
    issued.cert_chain_pems[0].write_to_path(certificate)
    issued.private_key_pem.write_to_path(key)
    apart = ["--ssl-certfile", certificate, "--ssl-keyfile", key]
    environment = {"ASYNCREV_SSL_CERTFILE": certificate, "ASYNCREV_SSL_KEYFILE": key}
    assert invoke("serve", "--ssl-certfile", both).exit_code == 0
    assert invoke("serve", *apart).exit_code == 0
    assert invoke("serve", env=environment).exit_code == 0
    assert [type(options.ssl) for options in served] == [ssl.SSLContext] * 3
    assert invoke("serve").exit_code == 0
    assert served[-1].ssl is None


def test_encrypted_key_is_an_error_and_not_a_question(tmp_path: Path) -> None:
    """OpenSSL would ask for the password on a terminal that nobody watches."""
    trustme = pytest.importorskip("trustme")
    serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
    issued = trustme.CA().issue_cert("localhost")
    certificate, key = tmp_path / "certificate", tmp_path / "key"
    issued.cert_chain_pems[0].write_to_path(certificate)
    private_key = serialization.load_pem_private_key(issued.private_key_pem.bytes(), None)
    key.write_bytes(
        private_key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    done = invoke("serve", "--ssl-certfile", str(certificate), "--ssl-keyfile", str(key))
    assert done.exit_code == 2
    assert "the private key is encrypted" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_high_water_moves_low_water_along(served: list[ServeOptions]) -> None:
    """Else a small one would contradict the default low water."""
    assert invoke("serve", "--high-water-bytes", "100").exit_code == 0
    assert served[0].limits.low_water_bytes == 25


def test_longest_frame_moves_the_pools_quota_along(served: list[ServeOptions]) -> None:
    """Else a longer one would contradict the default quota."""
    assert invoke("serve", "--max-frame-bytes", "5000000").exit_code == 0
    assert served[0].limits.pool_connection_bytes == 16 << 20


@pytest.mark.parametrize("framing", ["raw", "line", "len32", "len64"])
def test_framing_is_one_of_four(served: list[ServeOptions], framing: str) -> None:
    """And reaches the server by its name."""
    assert invoke("serve", "--framing", framing).exit_code == 0
    assert served[0].framing == framing


def test_asyncio_and_uvloop_give_their_loops(served: list[ServeOptions]) -> None:
    """By a factory: policies are gone in Python 3.16."""
    assert invoke("serve", "--loop", "asyncio").exit_code == 0
    assert served[0].loop_factory is asyncio.SelectorEventLoop
    uvloop = pytest.importorskip("uvloop")
    assert invoke("serve", "--loop", "uvloop").exit_code == 0
    assert served[1].loop_factory is uvloop.new_event_loop


def test_stop_word_may_be_any_bytes(served: list[ServeOptions]) -> None:
    """Bytes that are no UTF-8 used to end in a traceback."""
    word = b"\xff\xfe"
    assert invoke("serve", "--stop-word", os.fsdecode(word)).exit_code == 0
    assert served[0].stop_word == word


def test_exit_code_is_that_of_serving(monkeypatch: pytest.MonkeyPatch) -> None:
    """3 and 143 reach the shell."""
    for code in (0, 1, 3, 143):
        monkeypatch.setattr(cli, "serve_until_signal", lambda *_, code=code: code)
        assert invoke("serve").exit_code == code


# -- mistakes ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "part"),
    [
        (["--port", "65536"], "65536 is not in the range 0<=x<=65535"),
        (["--port", "x"], "'x' is not a valid integer"),
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
        (["--max-frame-bytes", str(1 << 30)], "pool_bytes is 67108864; it must be a whole number"),
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
    served: list[ServeOptions], args: list[str], part: str
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


def test_bad_environment_names_its_variable(served: list[ServeOptions]) -> None:
    """Nobody searches their command line for what is not there."""
    result = invoke("serve", env={"ASYNCREV_PORT": "x"})
    assert result.exit_code == 2
    assert "env var: 'ASYNCREV_PORT'" in result.output
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

    monkeypatch.setattr(cli, "serve_until_signal", fail)
    result = invoke("serve", "--host", "a..b")
    assert result.exit_code == code
    assert result.output == f"asyncrev: error: {line}\n"


def test_missing_uvloop_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, served: list[ServeOptions]
) -> None:
    """Exit 2: it is the command line that asks for it."""
    monkeypatch.setitem(sys.modules, "uvloop", None)
    result = invoke("serve", "--loop", "uvloop")
    assert result.exit_code == 2
    assert result.output == (
        "asyncrev: error: --loop uvloop: uvloop is not installed; pip install "
        "'asyncrev[uvloop]', or use --loop epoll\n"
    )
    assert not served


# -- processors --------------------------------------------------------------------------------


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A processor module of a user, in the current directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    path = tmp_path / "users_module.py"
    path.write_text("class Outer:\n    @staticmethod\n    def work(data): return data.upper()\n")
    yield path
    sys.modules.pop("users_module", None)


def test_processor_is_found_in_the_current_directory(
    module: Path, served: list[ServeOptions]
) -> None:
    """As with `python -m`, and with dots behind the colon."""
    result = invoke("serve", "--processor", "users_module:Outer.work")
    assert result.exit_code == 0, result.output
    processor = served[0].factory()
    assert processor.process(memoryview(bytearray(b"abc"))) == b"ABC"


def test_processor_module_that_exits_is_one_line_too(module: Path) -> None:
    """It would end the command without a word otherwise."""
    module.write_text("raise SystemExit(0)\n")
    result = invoke("serve", "--processor", "users_module:x")
    assert result.exit_code == 2
    assert result.output.startswith("asyncrev: error: --processor 'users_module:x': importing it")
    assert "SystemExit(0)" in result.output


def test_processor_module_that_raises_is_one_line(module: Path) -> None:
    """A mistake in a user's module reads like one."""
    module.write_text("raise RuntimeError('no\\nlicence')\n")
    result = invoke("serve", "--processor", "users_module:x")
    assert result.exit_code == 2
    assert result.output == (
        "asyncrev: error: --processor 'users_module:x': importing it raised "
        f"RuntimeError('no\\nlicence') ({module}, line 1)\n"
    )


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


def test_click_of_the_first_supported_versions_has_no_help_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before 8.2 there is no NoArgsIsHelpError; other mistakes read the same there."""
    monkeypatch.delattr(click.exceptions, "NoArgsIsHelpError", raising=False)
    result = invoke("serve", "--nope")
    assert result.exit_code == 2
    assert result.output.startswith("asyncrev: error: No such option")
