"""bench_output: names of saved runs, and the files; tests/process/test_bench has whole runs."""

import json
from pathlib import Path

import pytest

pytest.importorskip("hdrh")

from asyncrev.bench.thresholds import parse_threshold
from asyncrev.command.bench_output import Output, check_report, saved_path, write_files
from asyncrev.errors import LocalError, SettingsError
from tests.bench.made import figures


def test_name_of_a_run_is_a_file_in_the_users_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """And what looks like a file is one."""
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert saved_path("before") == "/data/asyncrev/bench/before.json"
    assert saved_path("./before") == "./before"
    assert saved_path("before.json") == "before.json"
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", "/home/x")
    assert saved_path("a") == "/home/x/.local/share/asyncrev/bench/a.json"
    with pytest.raises(SettingsError, match="is no name of a run"):
        saved_path("a\nb")


def test_files_are_written_where_they_were_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder of saved runs is made; another one is not."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    report = tmp_path / "r.html"
    write_files(
        figures(), [parse_threshold("rate>1")], [], Output(save="first", report=str(report))
    )
    saved = json.loads((tmp_path / "data" / "asyncrev" / "bench" / "first.json").read_text())
    assert saved["thresholds"] == [{"text": "rate>1", "value": 1000, "kept": True}]
    assert saved["compared"] is None
    assert report.read_text().startswith("<!doctype html>")
    with pytest.raises(LocalError, match=r"--save .*/x\.json: No such file"):
        write_files(figures(), [], [], Output(save=str(tmp_path / "nowhere" / "x.json")))


def test_report_is_a_page_or_a_picture() -> None:
    """Nothing else."""
    check_report(None)
    check_report("r.html")
    with pytest.raises(SettingsError, match=r"must end in \.html or \.png"):
        check_report("r.svg")
