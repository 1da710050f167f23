"""The benchmarks run, tell what they should, and notice a server that answers wrongly."""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import report, run, summary, tables, threads
from benchmarks.build import compiled, have_compiler
from benchmarks.running import ServerFailed, running
from benchmarks.scenarios import SCENARIOS, Scenario
from benchmarks.servers import SERVERS, Kind, custom

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(not have_compiler(), reason="no gcc: the load generator is written in C"),
]

SWAPPING = f"{sys.executable} -m tests.benchmarks.swapping {{port}} {{framing}}"
SECONDS = 0.1


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory for programs that only these tests use."""
    return tmp_path_factory.mktemp("programs")


def measured(
    scenarios: dict[str, Scenario], servers: dict[str, Any], seconds: float = SECONDS
) -> dict[str, Any]:
    """Return the results of one short round."""
    return run.measure(scenarios, servers, 1, seconds, warmup_s=0.05, progress=False)


def errors_with(kind: Any, scenario: Scenario) -> int:
    """Return how many errors a short run has."""
    results = measured({"tried": scenario}, {"tried": kind}, seconds=0.2)
    server = results["scenarios"]["tried"]["servers"]["tried"]
    assert not server["failures"]
    return server["errors"]


@pytest.mark.parametrize("program", ["loadgen", "native"])
def test_c_program_compiles_without_a_warning(program: str, cache: Path) -> None:
    """What gcc has to say about the C programs is an error."""
    assert compiled(program, "-Werror", "-O1", directory=cache).stat().st_size > 0


def test_short_run_verifies_every_reply_and_tells_everything(tmp_path: Path) -> None:
    """Two scenarios against the reference, a peer and asyncrev: the JSON has its shape."""
    path = tmp_path / "results.json"
    servers = "native,asyncio,asyncrev,asyncrev-python,asyncrev-function,by-hand-asyncio"
    arguments = ["--scenarios", "latency,len32", "--servers", servers, "--json", str(path)]
    code = run.main([*arguments, "--rounds", "1", "--seconds", str(SECONDS), "--quiet"])
    results = json.loads(path.read_text(encoding="utf-8"))
    assert code == 0, report.text(results)
    assert results["schema_version"] == summary.SCHEMA_VERSION
    assert results["closed_loop"] is True
    assert results["machine"]["cores"] >= 1
    assert results["machine"]["commit"]
    assert list(results["scenarios"]) == ["latency", "len32"]
    latency, len32 = results["scenarios"].values()
    ours = {"asyncrev", "asyncrev-python", "asyncrev-function"}
    assert set(latency["servers"]) == {"native", "asyncio", *ours}
    assert set(len32["servers"]) == {"native", "by-hand-asyncio", *ours}
    for scenario in (latency, len32):
        for server in scenario["servers"].values():
            assert server["errors"] == 0
            assert server["failures"] == []
            median = server["median"]
            assert median["messages_per_s"] > 0
            assert 0 < median["p50_us"] <= median["p99_us"]
            assert server["cpu"]["median"] == median["cpu_us_per_message"] > 0
            assert server["rounds"][0]["verified"] == "every byte"
        assert scenario["servers"]["asyncrev"]["rounds"][0]["backstop_wakes"] == 0
        assert scenario["servers"]["asyncrev"]["median"]["entries_per_batch"] >= 1
        assert scenario["servers"]["asyncrev"]["median"]["lag_p99_us"] >= 0
    assert latency["servers"]["native"]["ratio"] == {"low": 1.0, "median": 1.0, "high": 1.0}
    assert latency["servers"]["asyncio"]["median"]["lag_p99_us"] >= 0


@pytest.mark.parametrize(
    "scenario",
    [
        Scenario(title="raw", headline="messages_per_s", connections=3, size_bytes=64),
        Scenario(
            title="line", headline="messages_per_s", framing="line", connections=2, size_bytes=64
        ),
    ],
    ids=["raw", "line"],
)
def test_two_swapped_bytes_are_errors(scenario: Scenario) -> None:
    """A reply that has the right bytes in the wrong order is noticed, one in a hundred."""
    assert errors_with(custom(SWAPPING), scenario) > 0


def test_server_without_framing_gives_errors_with_frames() -> None:
    """What is checked is the frame, not the bytes in it."""
    scenario = Scenario(
        title="len32", headline="mib_per_s", framing="len32", connections=1, size_bytes=64
    )
    raw = dataclasses.replace(SERVERS["asyncio"], framings=("len32",))
    assert errors_with(raw, scenario) > 0


@pytest.mark.slow
def test_server_that_never_answers_is_an_error() -> None:
    """The load generator measures until the first reply, but gives up after some seconds."""
    silent = "import socket, sys; s = socket.create_server(('127.0.0.1', int(sys.argv[1])))\n"
    silent += "kept = []\nwhile True: kept.append(s.accept())\n"
    kind = Kind(command=(sys.executable, "-c", silent, "{port}"), framings=("raw",))
    assert errors_with(kind, SCENARIOS["latency"]) > 0


def test_server_that_ends_is_a_failure_with_its_last_words() -> None:
    """A server that cannot start is told of, and is no figure."""
    kind = custom(f"{sys.executable} -c 'import sys; sys.exit(\"no such luck\")'")
    with pytest.raises(ServerFailed, match="no such luck"), running(kind, SCENARIOS["latency"]):
        pass


def test_wrong_replies_make_the_run_exit_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    """Figures of a server that answers wrongly cannot pass for a result."""
    arguments = ["--scenarios", "small50", "--servers", "", "--server", f"wrong={SWAPPING}"]
    assert run.main([*arguments, "--rounds", "1", "--seconds", "0.1", "--quiet"]) == 1
    assert "small50 wrong" in capsys.readouterr().err


@pytest.mark.slow
def test_comparison_of_threads_runs_and_checks_replies(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All kinds of work, and a server that works otherwise than the clients expect."""
    arguments = ["--rounds", "1", "--seconds", "0.1", "--connections", "2"]
    assert threads.main(arguments) == 0
    assert capsys.readouterr().out.count("times the work of one") == len(threads.WORK)
    monkeypatch.setattr(threads, "WORK", {"digest": threads.compress})
    assert threads.main(arguments) == 1
    assert "wrong replies" in capsys.readouterr().err


# -- medians and ratios, without any server ----------------------------------------------------


def one(number: int, rate: float) -> dict[str, Any]:
    """Return a run as the load generator tells it, as far as is needed here."""
    return {"round": number, "messages_per_s": rate, "errors": 0}


def test_ratio_is_the_median_of_the_ratios_within_rounds() -> None:
    """A machine that is twice as fast in one round does not change a ratio."""
    scenario = SCENARIOS["small50"]
    runs = {
        "native": [one(0, 100.0), one(1, 200.0), one(2, 50.0)],
        "other": [one(0, 50.0), one(1, 100.0), one(2, 30.0)],
    }
    other = summary.summarise(scenario, runs, {})["servers"]["other"]
    assert other["ratio"] == {"low": 0.5, "median": 0.5, "high": 0.6}
    assert other["median"]["messages_per_s"] == 50.0
    assert other["spread"] == {"low": 30.0, "median": 50.0, "high": 100.0}


def test_ratio_leaves_out_rounds_without_the_reference() -> None:
    """A round in which the reference failed has no ratio, and its figure still counts."""
    scenario = SCENARIOS["small50"]
    runs = {"native": [one(1, 100.0)], "other": [one(0, 1.0), one(1, 70.0)]}
    other = summary.summarise(scenario, runs, {"other": ["it broke"]})["servers"]["other"]
    assert other["ratio"] == {"low": 0.7, "median": 0.7, "high": 0.7}
    assert other["failures"] == ["it broke"]


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [
        ([5.0], 5.0, 5.0),
        ([5.0, 1.0, 9.0], 1.0, 9.0),
        ([5.0, 1.0, 9.0, 100.0, 0.1], 1.0, 9.0),
        ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 900.0], 3.0, 7.0),
    ],
)
def test_middle_half_leaves_out_the_quarters_at_the_ends(
    values: list[float], low: float, high: float
) -> None:
    """In whatever order they came; the median is always 5."""
    assert summary.middle_half(values) == {"low": low, "median": 5.0, "high": high}


def test_notes_of_a_server_are_restricted_to_what_was_measured() -> None:
    """What a server did before and after, for example to accept, is no part of its figures."""
    looks = [
        (1.0, 9000.0, {"entries": 5, "batches": 0}),
        (2.0, 10.0, {"entries": 10, "batches": 10}),
        (3.0, 30.0, {"entries": 40, "batches": 30}),
        (4.0, 9000.0, {"entries": 99, "batches": 99}),
    ]
    told = summary.digest(looks, 1.5, 3.5)
    assert told["loop_lag_max_us"] == 30.0
    assert told["entries"] == 30
    assert told["batches"] == 20
    assert told["counted_s"] == 1.0


def test_server_that_notes_nothing_has_no_notes() -> None:
    """A server in C has neither loop lag nor batches."""
    assert summary.digest([], 0.0, 1.0) == {}


def test_figures_replace_what_is_between_the_markers(tmp_path: Path) -> None:
    """What stands around them stays, and it is idempotent."""
    path = tmp_path / "page.md"
    begin, end = "<!-- figures: begin -->", "<!-- figures: end -->"
    path.write_text(f"before\n{begin}\nold\n{end}\nafter\n", encoding="utf-8")
    report.put_between_markers(path, report.FIGURES, "new")
    report.put_between_markers(path, report.FIGURES, "new")
    assert path.read_text(encoding="utf-8") == f"before\n{begin}\n\nnew\n{end}\nafter\n"


def test_page_without_markers_is_refused(tmp_path: Path) -> None:
    """Figures are not put just anywhere."""
    path = tmp_path / "page.md"
    path.write_text("nothing\n", encoding="utf-8")
    with pytest.raises(ValueError, match="has not both markers"):
        report.put_between_markers(path, report.MICRO, "new")


def test_start_is_a_table_of_its_own(tmp_path: Path) -> None:
    """In the page and in the terminal: time, CPU time and memory, and no rate."""
    path = tmp_path / "results.json"
    arguments = ["--scenarios", "start", "--servers", "asyncrev,asyncio", "--json", str(path)]
    assert run.main([*arguments, "--rounds", "1", "--quiet"]) == 0
    results = json.loads(path.read_text(encoding="utf-8"))
    ours = results["scenarios"]["start"]["servers"]["asyncrev"]
    time_ms, cpu_ms = (ours["median"][name] for name in ("start_ms", "start_cpu_ms"))
    assert ours["ratio"]["median"] > 0
    page = tables.markdown(results)
    assert "|  | asyncrev | asyncio |\n" in page
    assert f"| ms | {time_ms:.0f} | " in page
    assert f"| CPU time, ms | {cpu_ms:.0f} | " in page
    assert "per message" not in page + report.text(results)
