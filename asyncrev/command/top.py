"""`asyncrev top`: what a server does, live in a terminal, or as text or JSON for others."""

import importlib.util
import json
import os
import shutil
import signal
import sys
import time
from typing import Any

from asyncrev.admin.history import Rates
from asyncrev.command.admin_address import parse_admin_address
from asyncrev.command.exit_codes import EXIT_CLEAN, EXIT_RUNTIME_ERROR
from asyncrev.command.signals import EXIT_SIGNAL_BASE
from asyncrev.command.top_source import NoEndpoint, TopSource
from asyncrev.command.top_tables import SORTS, as_text, connections, ends, workers
from asyncrev.errors import SettingsError

__all__ = ["LEAST_INTERVAL_S", "MOST_INTERVAL_S", "top"]

LEAST_INTERVAL_S = 0.2  # answers are as old as that
MOST_INTERVAL_S = 3600.0

_PLAIN_CONNECTIONS = 20  # of text; a screen has as many as it has room for
_MOST_CONNECTIONS = 100


class _Figures:
    """What was asked last."""

    def __init__(self, source: TopSource, sort: str = "bytes") -> None:
        self._source = source
        self._rates = Rates()
        self.sort = sort
        self.at_s = 0.0
        self.rows: list[dict[str, Any]] = []
        self.connections: list[dict[str, Any]] = []

    def ask(self, most_connections: int) -> None:
        """Ask for everything, once.

        Raises:
            NoEndpoint: there is no answer.
        """
        try:
            statistics = self._source.workers("/stats.json")
            self.rows = self._rates.rows(time.monotonic(), statistics)
            self.at_s = time.time()
            self.ask_connections(most_connections)
        except (KeyError, TypeError, AttributeError) as error:
            raise NoEndpoint(
                f"the endpoint's answer has no {error}; is its asyncrev of another version?"
            ) from None

    def ask_connections(self, most: int) -> None:
        """Ask for the connections alone."""
        self.connections = self._source.workers(
            f"/connections.json?sort={self.sort}&limit={min(most, _MOST_CONNECTIONS)}"
        )


def top(admin: str | None, interval_s: float, *, once: bool, as_json: bool) -> int:
    """Show the figures of the server whose endpoint is at `admin`; return the exit code.

    Raises:
        SettingsError: an argument is not usable, or a package is missing.
        NoEndpoint: nobody answers, at the start, or where nobody looks at a screen.
    """
    if not LEAST_INTERVAL_S <= interval_s <= MOST_INTERVAL_S:
        raise SettingsError(
            f"--interval is {interval_s:g} s; give {LEAST_INTERVAL_S:g} to {MOST_INTERVAL_S:g} s"
        )
    address = parse_admin_address(admin)
    if address is None:
        raise SettingsError(
            "--admin is missing; give the address that the server has, unix:PATH or HOST:PORT"
        )
    figures = _Figures(TopSource(address))
    try:
        if once or as_json or not _is_terminal():
            return _print(figures, interval_s, once=once, as_json=as_json)
        if importlib.util.find_spec("rich") is None:
            raise SettingsError(
                "rich is not installed; pip install 'asyncrev[ops]', or give --once or --json"
            )
        return _show(figures, interval_s, str(address))
    except KeyboardInterrupt:
        return EXIT_CLEAN
    except BrokenPipeError:  # of `| head`
        return EXIT_RUNTIME_ERROR


def _is_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def _print(figures: _Figures, interval_s: float, *, once: bool, as_json: bool) -> int:
    figures.ask(_PLAIN_CONNECTIONS)  # nothing is known per second yet
    due_s = time.monotonic()
    while True:
        due_s = max(due_s + interval_s, time.monotonic())
        time.sleep(max(0.0, due_s - time.monotonic()))
        figures.ask(_PLAIN_CONNECTIONS)
        print(_as_json(figures) if as_json else f"{_as_text(figures)}\n", flush=True)
        if once:
            return EXIT_CLEAN


def _as_json(figures: _Figures) -> str:
    return json.dumps(
        {
            "time_s": round(figures.at_s, 3),
            "workers": figures.rows,
            "connections": [
                {"worker": answer["worker"], **one}
                for answer in figures.connections
                for one in answer.get("connections", ())
            ],
        },
        separators=(",", ":"),
    )


def _as_text(figures: _Figures) -> str:
    listed = connections(figures.connections, figures.sort, _PLAIN_CONNECTIONS)
    parts = [
        time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(figures.at_s)),
        as_text(workers(figures.rows)),
        f"ended by the server: {ends(figures.rows)}",
    ]
    if listed.rows:
        parts += ["", as_text(listed)]
    return "\n".join(parts)


def _show(figures: _Figures, interval_s: float, address: str) -> int:
    from asyncrev.command.top_terminal import Terminal, TopEnded

    figures.ask(_MOST_CONNECTIONS)
    try:
        with Terminal() as terminal:
            _watch(figures, interval_s, address, terminal)
    except TopEnded as ended:
        is_key = ended.number in (signal.SIGINT, signal.SIGQUIT)
        return EXIT_CLEAN if is_key else EXIT_SIGNAL_BASE + ended.number
    return EXIT_CLEAN


def _watch(figures: _Figures, interval_s: float, address: str, terminal: Any) -> None:
    """Show one screen after another, until q."""
    problem = ""
    while True:
        due_s = time.monotonic() + interval_s
        terminal.show(_screen(figures, address, problem))
        while key := terminal.key(due_s):
            if key in "qQ":
                return
            if key in SORTS:
                figures.sort = SORTS[key][0]
                try:
                    figures.ask_connections(_MOST_CONNECTIONS)
                except NoEndpoint as error:
                    problem = str(error)
            terminal.show(_screen(figures, address, problem))
        try:
            figures.ask(_MOST_CONNECTIONS)
            problem = ""
        except NoEndpoint as error:
            problem = str(error)


def _screen(figures: _Figures, address: str, problem: str) -> str:
    from asyncrev.command.top_screen import MOST_ROWS_BESIDE, screen

    width, height = shutil.get_terminal_size()
    room = max(1, height - MOST_ROWS_BESIDE - len(figures.rows))
    version = next((row["version"] for row in figures.rows if row["up"]), "")
    at = time.strftime("%H:%M:%S", time.localtime(figures.at_s))
    return screen(
        f"asyncrev {version}  {address}  {at}",
        workers(figures.rows),
        ends(figures.rows),
        connections(figures.connections, figures.sort, room),
        sort=figures.sort,
        problem=problem,
        width=width,
        height=height,
    )
