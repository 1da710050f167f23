"""top: what is asked, printed and said, without a server."""

import copy
import json
import sys
from typing import Any

import pytest

from asyncrev.command import top as module
from asyncrev.command.signals import ProcessSignals
from asyncrev.command.top_source import NoEndpoint, TopSource
from tests.admin.talking import STATISTICS
from tests.command_line import invoke

ADMIN = ("--admin", "127.0.0.1:9190")
CONNECTION = {
    "peer": "10.0.0.1:5",
    "state": "open",
    "open_s": 3.5,
    "received_bytes": 2048,
    "replied_bytes": 0,
    "in_flight_bytes": 7,
    "unsent_bytes": 0,
    "paused_by": ["quota"],
    "tls": None,
}


class Endpoint:
    """In place of a source: counts, and may fail."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.fails_after = 1000
        self.statistics: dict[str, Any] = copy.deepcopy(STATISTICS)

    def workers(self, path: str) -> list[dict[str, Any]]:
        self.paths.append(path)
        if len(self.paths) > self.fails_after:
            raise NoEndpoint("gone")
        if path == "/stats.json":
            self.statistics["statistics"]["received_bytes"] += 1000
            return [{"worker": "0", "up": True, **copy.deepcopy(self.statistics)}]
        return [{"worker": "0", "up": True, "connections": [CONNECTION]}]


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Endpoint:
    made = Endpoint()
    monkeypatch.setattr(TopSource, "workers", lambda _, path: made.workers(path))
    return made


def test_once_prints_tables_after_an_interval(endpoint: Endpoint) -> None:
    """With what was done in it."""
    result = invoke("top", *ADMIN, "--once", "--interval", "200ms")
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.output.splitlines()
    assert lines[1].split()[:3] == ["worker", "state", "conns"]
    assert lines[2].split()[:3] == ["0", "serving", "3"]
    heads, cells = lines[1].split(), lines[2].replace("write 1, quota 2", "waits").split("  ")
    known = dict(zip(heads, filter(None, (cell.strip() for cell in cells)), strict=False))
    assert known["in/s"] != "-"
    assert "write 1, quota 2" in lines[2]
    assert lines[3] == "ended by the server: write stall 2"
    assert lines[-2].split()[0] == "10.0.0.1:5"
    assert "quota" in lines[-2]
    assert endpoint.paths == ["/stats.json", "/connections.json?sort=bytes&limit=20"] * 2


def test_json_is_a_line_per_interval(endpoint: Endpoint) -> None:
    """Until the endpoint has gone."""
    endpoint.fails_after = 6
    result = invoke("top", *ADMIN, "--json", "--interval", "0.2")
    assert result.exit_code == 1
    assert result.stderr == "asyncrev: error: gone\n"
    first, second = [json.loads(line) for line in result.stdout.splitlines()]
    assert first["workers"][0]["connections"] == 3
    assert second["workers"][0]["received_bytes_per_s"] > 0
    assert second["workers"][0]["ends"] == {"write stall": 2}
    assert second["connections"] == [{"worker": "0", **CONNECTION}]
    assert second["time_s"] > first["time_s"]


def test_without_a_terminal_it_prints_text_again_and_again(endpoint: Endpoint) -> None:
    """For a file, or a pager."""
    endpoint.fails_after = 6
    result = invoke("top", *ADMIN, "--interval", "0.2")
    assert result.exit_code == 1
    assert result.stdout.count("worker  state") == 2


def test_address_is_also_the_servers_variable(endpoint: Endpoint) -> None:
    """So that it need not be said twice on one machine."""
    result = invoke("top", "--once", "--interval", "0.2", env={"ASYNCREV_ADMIN": "unix:/x"})
    assert result.exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--once",), "--admin is missing"),
        (("--admin", "here", "--once"), "is no address"),
        ((*ADMIN, "--interval", "0.1"), "--interval is 0.1 s; give 0.2 to 3600 s"),
        ((*ADMIN, "--interval", "inf"), "--interval is inf s"),
        ((*ADMIN, "--interval", "nan"), "nan"),
        ((*ADMIN, "--interval", "soon"), "soon"),
        ((*ADMIN, "more"), "unexpected extra argument"),
    ],
)
def test_bad_arguments_are_one_line(arguments: tuple[str, ...], said: str) -> None:
    """Exit code 2, as for serve."""
    result = invoke("top", *arguments, env={"ASYNCREV_ADMIN": ""})
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


def test_port_0_is_one_line() -> None:
    """The address is one for serve, and none to connect to."""
    result = invoke("top", "--admin", "127.0.0.1:0", "--once")
    assert (result.exit_code, "port 0" in result.stderr) == (1, True)


def test_other_version_is_said_so(endpoint: Endpoint) -> None:
    """Rather than a traceback."""
    del endpoint.statistics["paused"]
    result = invoke("top", *ADMIN, "--once", "--interval", "0.2")
    assert result.exit_code == 1
    assert result.stderr == (
        "asyncrev: error: the endpoint's answer has no 'paused'; is its asyncrev of another "
        "version?\n"
    )


def test_rich_is_needed_for_a_screen_only(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line says what to install."""
    monkeypatch.setattr(module, "_is_terminal", lambda: True)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    result = invoke("top", *ADMIN)
    assert result.exit_code == 2
    assert "pip install 'asyncrev[ops]', or give --once" in result.stderr
    assert invoke("top", *ADMIN, "--once", "--interval", "0.2").exit_code == 0


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt, 0), (BrokenPipeError, 1)])
def test_end_by_the_user_is_silent(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, error: type[BaseException], code: int
) -> None:
    """Ctrl-C, and a reader that has seen enough."""

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(module, "_print", fail)
    result = invoke("top", *ADMIN, "--once")
    assert (result.exit_code, result.output) == (code, "")


def test_handlers_of_a_server_are_given_back(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else Ctrl-C would end the process in the middle of a screen."""
    given: list[str] = []
    monkeypatch.setattr(ProcessSignals, "give_back", lambda _: given.append("back"))
    from click.testing import CliRunner

    from asyncrev.command.cli import main

    arguments = ["top", *ADMIN, "--once", "--interval", "0.2"]
    result = CliRunner().invoke(main, arguments, obj=ProcessSignals())
    assert (result.exit_code, given) == (0, ["back"])


class Terminal:
    """In place of the terminal: types what a test wants, and notes screens."""

    def __init__(self, *keys: str) -> None:
        self.keys = list(keys)
        self.screens: list[str] = []

    def show(self, text: str) -> None:
        self.screens.append(text)

    def key(self, until_s: float) -> str:
        return self.keys.pop(0)


def watch(endpoint: Endpoint, *keys: str) -> Terminal:
    pytest.importorskip("rich")
    terminal = Terminal(*keys)
    figures = module._Figures(endpoint)  # type: ignore[arg-type]
    figures.ask(100)
    module._watch(figures, 1.0, "unix:/x", terminal)
    return terminal


def test_keys_sort_at_once(endpoint: Endpoint) -> None:
    """Others do nothing; q ends."""
    terminal = watch(endpoint, "i", "x", "c", "", "b", "q")
    assert [path.partition("sort=")[2] for path in endpoint.paths if "sort" in path] == [
        "bytes&limit=100",
        "in_flight&limit=100",
        "age&limit=100",
        "age&limit=100",
        "bytes&limit=100",
    ]
    assert "in flight" in terminal.screens[1]
    assert "connected longest" in terminal.screens[3]


def test_endpoint_that_goes_is_told_and_asked_again(endpoint: Endpoint) -> None:
    """The last figures stay."""
    endpoint.fails_after = 2
    terminal = watch(endpoint, "", "i", "", "Q")
    assert "gone" not in terminal.screens[0]
    assert all("gone" in screen for screen in terminal.screens[1:])
    assert "10.0.0.1:5" in terminal.screens[-1]
    assert len(endpoint.paths) == 5


def test_endpoint_that_comes_again_is_told_no_more(endpoint: Endpoint) -> None:
    """Figures go on."""
    endpoint.fails_after = 2
    endpoint.paths = []
    terminal = Terminal("", "", "q")

    def key(_: float) -> str:
        endpoint.fails_after = 2 if len(terminal.keys) == 3 else 1000
        return terminal.keys.pop(0)

    pytest.importorskip("rich")
    terminal.key = key  # type: ignore[method-assign]
    figures = module._Figures(endpoint)  # type: ignore[arg-type]
    figures.ask(100)
    module._watch(figures, 1.0, "unix:/x", terminal)
    assert ["gone" in screen for screen in terminal.screens] == [False, True, False]


def test_screen_is_for_terminals_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ends must be one, and one that can move its cursor."""

    class Stream:
        def __init__(self, is_terminal: bool) -> None:
            self.isatty = lambda: is_terminal

    for stdin, stdout, term, expected in (
        (True, True, "xterm", True),
        (False, True, "xterm", False),
        (True, False, "xterm", False),
        (True, True, "dumb", False),
    ):
        monkeypatch.setattr(sys, "stdin", Stream(stdin))
        monkeypatch.setattr(sys, "stdout", Stream(stdout))
        monkeypatch.setenv("TERM", term)
        assert module._is_terminal() is expected
