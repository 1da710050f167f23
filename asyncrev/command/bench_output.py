"""What `asyncrev bench` makes of the figures of a run: the table, and files."""

import contextlib
import dataclasses
import importlib.util
import json
import os
import re
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from asyncrev.errors import LocalError, SettingsError
from asyncrev.version import __version__

if TYPE_CHECKING:
    from asyncrev.bench.comparison import Ratio
    from asyncrev.bench.figures import Figures
    from asyncrev.bench.thresholds import Threshold

__all__ = ["Output", "check_report", "print_table", "saved_path", "write_files"]

STDOUT = "-"
_REPORTS = (".html", ".png")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What is made of the figures, beside the table.

    Attributes:
        thresholds: as they were given.
        json: a file for the JSON document, "-" for stdout, or None.
        save, compare: names or files of saved runs, or None.
        report: a file for the plots, or None; its ending says which form they have.
    """

    thresholds: tuple[str, ...] = ()
    json: str | None = None
    save: str | None = None
    compare: str | None = None
    report: str | None = None


def saved_path(name: str) -> str:
    """Return the file of a saved run: `name` itself if it looks like one, else one of that name.

    Raises:
        SettingsError: it is neither.
    """
    if os.sep in name or name.endswith(".json"):
        return name
    if not re.fullmatch(r"[\w.-]+", name):
        raise SettingsError(f"{name!r} is no name of a run; give letters, digits, - and _")
    home = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
    return os.path.join(home, "asyncrev", "bench", f"{name}.json")


def print_table(
    figures: "Figures",
    thresholds: "Sequence[Threshold]",
    ratios: "Sequence[Ratio]",
    differing: Sequence[str],
    *,
    to_stderr: bool,
) -> None:
    """Print the table to stdout, or to stderr."""
    from asyncrev.bench.table import as_text

    try:
        stream = sys.stderr if to_stderr else sys.stdout
        print(as_text(figures, thresholds, ratios, differing), file=stream, flush=True)
    except BrokenPipeError:  # of `| head`; the exit code still counts
        _drop_stdout()


def _drop_stdout() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def write_files(
    figures: "Figures",
    thresholds: "Sequence[Threshold]",
    ratios: "Sequence[Ratio]",
    output: Output,
) -> None:
    """Write the files that `output` names.

    Raises:
        LocalError: one cannot be written.
    """
    if output.json is not None or output.save is not None:
        document = {
            "asyncrev": __version__,
            "time_s": round(time.time(), 3),
            **figures.as_dict(),
            "thresholds": [
                {"text": one.text, "value": one.value(figures), "kept": one.is_kept(figures)}
                for one in thresholds
            ],
            "compared": {one.name: one.as_dict() for one in ratios} or None,
        }
        text = json.dumps(document, indent=1) + "\n"
        if output.json == STDOUT:
            try:
                sys.stdout.write(text)
                sys.stdout.flush()
            except BrokenPipeError:
                _drop_stdout()
        elif output.json is not None:
            _write("--json", output.json, text.encode())
        if output.save is not None:
            path = saved_path(output.save)
            with contextlib.suppress(OSError):  # the write says why it is not there
                if path != output.save:
                    os.makedirs(os.path.dirname(path), exist_ok=True)
            _write("--save", path, text.encode())
    if output.report is not None:
        if output.report.endswith(".png"):
            from asyncrev.bench.report_png import png

            _write("--report", output.report, png(figures))
        else:
            from asyncrev.bench.report_html import html

            _write("--report", output.report, html(figures, thresholds, ratios).encode())


def check_report(report: str | None) -> None:
    """Check that a report of that name can be made.

    Raises:
        SettingsError: its name has another ending, or what draws it is not installed.
    """
    if report is None:
        return
    if not report.endswith(_REPORTS):
        raise SettingsError(f"--report {report}: its name must end in {' or '.join(_REPORTS)}")
    if report.endswith(".png") and importlib.util.find_spec("matplotlib") is None:
        raise SettingsError(
            f"--report {report}: matplotlib is not installed; pip install matplotlib, or give a "
            "name that ends in .html"
        )


def _write(option: str, path: str, data: bytes) -> None:
    try:
        with open(path, "wb") as file:
            file.write(data)
    except OSError as error:
        raise LocalError(f"{option} {path}: {error.strerror or error}") from None
