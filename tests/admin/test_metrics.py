"""metrics: names, types and labels, in both formats."""

import re
import shutil
import subprocess
from typing import Any

import pytest

pytest.importorskip("prometheus_client")
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_families
from prometheus_client.parser import text_string_to_metric_families as families

from asyncrev import Limits, Server
from asyncrev.admin.answers import Answers
from asyncrev.admin.metrics import HISTOGRAMS, METRICS, encoder_for, exposition
from tests.protocol.served import tls_contexts
from tests.support import ROOT

pytestmark = pytest.mark.asyncio(loop_factories=["asyncio"])

OPEN = "application/openmetrics-text; version=1.0.0"


async def said(**server: Any) -> dict[str, Any]:
    """Return the statistics of a new server."""
    async with Server(limits=Limits(slots=8, max_connections=5), **server) as made:
        return await Answers(made).statistics()


def text_of(answers: dict[str, Any], accept: str = "") -> str:
    return exposition(answers, encoder_for(accept)[0]).decode()


def check(text: str) -> tuple[int, str, str]:
    """Return what promtool says."""
    run = subprocess.run(
        ["promtool", "check", "metrics"],
        input=text,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    return run.returncode, run.stdout, run.stderr


async def _answer(data: bytes) -> bytes:
    return data


async def test_every_name_has_a_sample_or_a_reason_to_have_none() -> None:
    """TLS has some of its own; errors and ends have one for each that has occurred."""
    plain = text_of({"0": await said()})
    tls = text_of({"0": await said(ssl=tls_contexts()[0])})
    names = {row.name for row in METRICS}
    without = {name for name in names if not re.search(rf"^{name}[{{ ]", plain, re.M)}
    without.discard("process_open_fds")  # of Linux 6.2
    assert without == {
        "asyncrev_accept_errors_total",
        "asyncrev_connections_cut_total",
        *(name for name in names if "_pending_" in name),
        "asyncrev_tls_handshakes",
        "asyncrev_tls_handshakes_limit",
        "asyncrev_tls_handshakes_delayed_total",
        "asyncrev_tls_certificate_expiry_timestamp_seconds",
    }
    later = text_of({"0": await said(processor=_answer)})
    for name in without:
        assert ("_pending_" in name) == (f"\n{name}{{" in later)
    assert {name for name in without if "tls" in name and f"\n{name}{{" in tls} == {
        name for name in without if "tls" in name
    }


async def test_samples_are_what_was_said_with_the_worker() -> None:
    """Several workers are samples of one metric."""
    one, other = await said(), await said()
    one["statistics"]["aborted"] = {"idle deadline": 3}
    one["accept_errors"] = {"EMFILE": 2}
    text = text_of({"0": one, "1": other})
    assert 'asyncrev_connections_cut_total{reason="idle deadline",worker="0"} 3.0' in text
    assert 'asyncrev_accept_errors_total{errno="EMFILE",worker="0"} 2.0' in text
    assert 'asyncrev_connections_limit{worker="1"} 5.0' in text
    assert text.count("# TYPE asyncrev_connections_limit gauge") == 1


async def test_worker_without_an_answer_is_down_and_hides_no_other() -> None:
    """Nothing else is known of it."""
    text = text_of({"0": None, "1": await said()})
    assert [line for line in text.splitlines() if 'worker="0"' in line] == [
        'asyncrev_worker_up{worker="0"} 0.0'
    ]
    assert 'asyncrev_worker_up{worker="1"} 1.0' in text


@pytest.mark.parametrize(("accept", "parse"), [("", families), (OPEN, open_families)])
async def test_both_formats_are_read_by_the_librarys_parser(accept: str, parse: Any) -> None:
    """OpenMetrics where it is asked for."""
    encode, content_type = encoder_for(accept)
    text = exposition({"0": await said()}, encode).decode()
    assert content_type.startswith("application/openmetrics" if accept else "text/plain")
    found = {sample.name for family in parse(text) for sample in family.samples}
    assert {"asyncrev_connections", "asyncrev_received_bytes_total"} <= found
    assert text.endswith("# EOF\n") is bool(accept)


async def test_promtool_accepts_them() -> None:
    """It checks names, units and help texts, too."""
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed")
    answers = {"0": await said(ssl=tls_contexts()[0]), "1": None}
    answers["0"]["statistics"]["aborted"] = {"refused": 1}
    answers["0"]["accept_errors"] = {"EMFILE": 2}
    assert check(text_of(answers)) == (0, "", "")


async def test_page_has_every_name_and_no_other() -> None:
    """What people build dashboards on is written down."""
    page = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `(\w+)", page, re.M)
    made = [row.name for row in METRICS] + [name for name, _, _ in HISTOGRAMS]
    made += ["asyncrev_worker_up", "asyncrev_build_info"]
    made += ["asyncrev_workers", "asyncrev_worker_restarts_total"]  # with a supervisor
    assert sorted(listed) == sorted(made)
    for row in METRICS:
        if row.label:
            assert f"| `{row.name}{{{row.label}}}` |" in page


FACTS = {"pid": 7, "workers": 8, "generation": 1, "restarts": {"exit 1": 3, "SIGKILL": 1}}


async def test_workers_and_their_supervisor() -> None:
    """Those that do not answer have a metric, too; a single process has none of a supervisor."""
    told = await said()
    answers = {str(number): told for number in range(7)} | {"7": None, "1-old": told}
    for accept, parse in (("", families), (OPEN, open_families)):
        text = exposition(answers, encoder_for(accept)[0], FACTS).decode()
        found = {family.name: family for family in parse(text)}
        assert [sample.value for sample in found["asyncrev_workers"].samples] == [8]
        restarts = found["asyncrev_worker_restarts"].samples
        assert {sample.labels["cause"]: sample.value for sample in restarts} == {
            "hung": 0,
            **FACTS["restarts"],
        }
        up = {
            sample.labels["worker"]: sample.value for sample in found["asyncrev_worker_up"].samples
        }
        assert up == {name: float(name != "7") for name in answers}
    assert "restarts" not in text_of(answers)
    assert "asyncrev_workers" not in text_of(answers)


@pytest.mark.parametrize("restarts", [{}, FACTS["restarts"]])
async def test_promtool_accepts_eight_workers(restarts: dict[str, int]) -> None:
    """Whether or not one has ended."""
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed")
    told = await said(ssl=tls_contexts()[0])
    facts = FACTS | {"restarts": restarts}
    text = exposition({str(n): told for n in range(8)}, encoder_for("")[0], facts).decode()
    assert check(text) == (0, "", "")


@pytest.mark.parametrize("accept", ["", OPEN])
async def test_histograms_are_cumulative_per_worker(accept: str) -> None:
    """In seconds; a worker that measures nothing has none."""
    one, other, third = await said(), await said(), await said()
    bounds_s = [0.001, 0.002]
    one["histograms"] = {
        key: {"bounds_s": bounds_s, "counts": [3, 0, 4], "sum_s": 1.5} for _, key, _ in HISTOGRAMS
    }
    other["histograms"] = {}
    del third["histograms"]
    text = text_of({"0": one, "1": other, "2": third}, accept)
    for name, _, _ in HISTOGRAMS:
        assert f"# TYPE {name} histogram" in text
        for bound, count in (("0.001", 3), ("0.002", 3), ("+Inf", 7)):
            assert f'{name}_bucket{{le="{bound}",worker="0"}} {count}.0' in text
        assert f'{name}_count{{worker="0"}} 7.0' in text
        assert f'{name}_sum{{worker="0"}} 1.5' in text
        assert f'{name}_count{{worker="1"}}' not in text
    if shutil.which("promtool") is not None and not accept:
        assert check(text) == (0, "", "")
