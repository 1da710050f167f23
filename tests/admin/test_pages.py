"""pages: what each path answers, to whom."""

import json
from typing import Any

import pytest

pytest.importorskip("h11")
pytest.importorskip("prometheus_client")

from asyncrev.admin.gathering import Answer, Gathering
from asyncrev.admin.message import Request, Response
from asyncrev.admin.page_files import FILES
from asyncrev.admin.pages import PART, PATHS, Pages, not_ready
from asyncrev.admin.stream import MOST_STREAMS
from asyncrev.admin.supervision import NOT_SUPERVISED, Supervision
from tests.admin.talking import HEALTH, STATISTICS, FakeSource, watching

pytestmark = pytest.mark.asyncio(loop_factories=["asyncio"])


class Site:
    """Pages over sources, with all that they were told to do."""

    def __init__(
        self, *sources: FakeSource, supervision: Supervision = NOT_SUPERVISED, **gathering: Any
    ) -> None:
        self.drains = 0
        self.pages = Pages(
            Gathering(sources or [FakeSource()], **gathering),
            config={"options": {"port": {"value": 1, "origin": "--port"}}},
            drain=self._drain,
            supervision=supervision,
        )

    async def ask(self, target: str, method: str = "GET", **more: Any) -> Response:
        headers = more.pop("headers", {})
        return await self.pages.respond(
            Request(method=method, target=target, headers=headers, **more)
        )

    def _drain(self) -> None:
        self.drains += 1


@pytest.mark.parametrize("path", PATHS)
async def test_wrong_method_is_said_with_the_right_one(path: str) -> None:
    """Whoever asks."""
    methods, _ = PATHS[path]
    for method in {"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE"}:
        if method not in methods:
            response = await Site().ask(path, method)
            assert response.status == 405
            assert response.headers == (("Allow", ", ".join(methods)),)


@pytest.mark.parametrize(
    "target", ["/nothing", "//metrics", "/metrics/", "/%6detrics", "*", "/../metrics", ""]
)
async def test_other_paths_are_not_found(target: str) -> None:
    """Nothing is decoded or made shorter."""
    assert (await Site().ask(target)).status == 404


async def test_first_page_lists_all_paths() -> None:
    """In plain text, for all but browsers; also by an absolute target."""
    for target in ("/", "http://localhost", "http://localhost/?x"):
        response = await Site().ask(target)
        assert response.status == 200
        assert all(path in response.body.decode() for path in PATHS)


async def test_browser_gets_the_page() -> None:
    """With its policy; caches must know that others do not."""
    response = await Site().ask("/", headers={"accept": "text/html,*/*;q=0.8"})
    assert response.content_type == "text/html; charset=utf-8"
    assert "Content-Security-Policy" in dict(response.headers)
    assert dict((await Site().ask("/")).headers)["Vary"] == "Accept"
    assert dict(response.headers)["Vary"] == "Accept"


@pytest.mark.parametrize("path", [path for path in FILES if path != "/"])
async def test_files_of_the_page_are_read_only(path: str) -> None:
    """And guarded as all else."""
    assert (await Site().ask(path)).status == 200
    assert (await Site().ask(path, "POST")).status == 405
    rebound = {"to_loopback": True, "headers": {"host": "evil.example"}}
    assert (await Site().ask(path, **rebound)).status == 421


async def test_live_json_has_what_is_newer() -> None:
    """Whoever asks again waits for the next sample."""
    site = Site(FakeSource(statistics=STATISTICS))
    async with watching(site.pages.live):
        first = json.loads((await site.ask("/live.json")).body)
        newest = first["samples"][-1][0]
        then = json.loads((await site.ask(f"/live.json?after={newest}")).body)
    assert first["workers"][0]["connections"] == 3
    assert [sample[0] > newest for sample in then["samples"]] == [True]


@pytest.mark.parametrize("path", ["/live", "/live.json"])
@pytest.mark.parametrize("query", ["after=x", "after=-1", "after=", "after=1e3", "sort=age"])
async def test_bad_time_is_refused_in_words(path: str, query: str) -> None:
    """Whatever the browser adds."""
    response = await Site().ask(f"{path}?{query}")
    assert (response.status, b"after" in response.body) == (400, True)


async def test_bad_event_id_is_refused_in_words() -> None:
    """It is a time, too, and counts more than the query's."""
    site = Site()
    headers = {"last-event-id": "x"}
    assert (await site.ask("/live?after=1", headers=headers)).status == 400
    response = await site.ask("/live?after=x", headers={"last-event-id": "1"})
    assert response.pieces is not None
    response.pieces.close()


async def test_streams_are_few_and_for_this_site() -> None:
    """A HEAD takes none, and a page elsewhere gets none."""
    site = Site()
    head = await site.ask("/live", "HEAD")
    assert (head.status, head.pieces) == (200, None)
    for where in ("cross-site", "same-site"):
        assert (await site.ask("/live", headers={"sec-fetch-site": where})).status == 403
    taken = [
        await site.ask("/live", headers={"sec-fetch-site": "same-origin"})
        for _ in range(MOST_STREAMS)
    ]
    assert {response.content_type for response in taken} == {"text/event-stream"}
    assert (await site.ask("/live")).status == 503
    assert taken[0].pieces is not None
    taken[0].pieces.close()
    taken[0].pieces.close()  # idempotent
    again = [await site.ask("/live") for _ in range(2)]
    assert [response.status for response in again] == [200, 503]


async def test_livez_is_503_only_for_what_is_stuck() -> None:
    """A loop that is late by a moment is not."""
    late = await Site(FakeSource(health=None)).ask("/livez")
    stuck = await Site(FakeSource(health=None), stuck_after_s=0.0).ask("/livez")
    assert (late.status, stuck.status) == (200, 503)
    assert json.loads(late.body)["workers"] == [{"worker": "0", "answers": False, "stuck": []}]
    found = json.loads(stuck.body)
    assert found["live"] is False
    assert "event loop" in found["workers"][0]["stuck"][0]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"stopping": True}, "draining"),
        ({"accepting": False}, "not accepting"),
        (
            {"connections": 5, "accepting": False},
            "max_connections, which is 5, is reached",
        ),
    ],
)
async def test_readyz_says_why_not(changes: dict[str, Any], reason: str | None) -> None:
    """As JSON."""
    response = await Site(FakeSource(health=HEALTH | changes)).ask("/readyz")
    reasons = [] if reason is None else [reason]
    assert response.status == (503 if reasons else 200)
    assert json.loads(response.body) == {
        "ready": not reasons,
        "workers": [{"worker": "0", "reasons": reasons}],
    }


async def test_one_ready_worker_is_enough() -> None:
    """The other one is on its way up, or down."""
    response = await Site(FakeSource(health=None), FakeSource("1")).ask("/readyz")
    assert response.status == 200
    assert not_ready(Answer("0", None, "why")) == ["why"]


async def test_statistics_and_connections_are_by_worker() -> None:
    """One that does not answer says so."""
    many = [{"peer": str(number)} for number in range(3 * PART)]
    source = FakeSource("0", statistics={"x": 1}, connections={"open": 3, "connections": many})
    site = Site(source, FakeSource("1"))
    why = "the event loop does not answer"
    found = json.loads((await site.ask("/stats.json")).body)
    assert found["workers"] == [
        {"worker": "0", "up": True, "x": 1},
        {"worker": "1", "up": False, "why": why},
    ]
    response = await site.ask("/connections.json?sort=age&limit=7")
    assert json.loads(response.body)["workers"] == [
        {"worker": "0", "up": True, "open": 3, "connections": many},
        {"worker": "1", "up": False, "why": why, "connections": []},
    ]
    assert source.asked[-1] == ("connections", {"sort": "age", "limit": 7})


@pytest.mark.parametrize("query", ["limit=x", "limit=-1", "limit=", "limit=٣", "x=1", "limit=1e3"])
async def test_bad_parameters_are_refused_in_words(query: str) -> None:
    """Before anybody is asked."""
    source = FakeSource()
    response = await Site(source).ask(f"/connections.json?{query}")
    assert response.status == 400
    assert b"limit" in response.body
    assert source.asked == []


async def test_config_is_what_was_given() -> None:
    """Unchanged."""
    found = json.loads((await Site().ask("/config")).body)
    assert found == {"options": {"port": {"value": 1, "origin": "--port"}}}


async def test_drain_is_for_a_unix_socket() -> None:
    """And not for web pages."""
    site = Site()
    assert (await site.ask("/drain", "POST")).status == 403
    origin = {"origin": "http://x"}
    assert (await site.ask("/drain", "POST", is_unix=True, headers=origin)).status == 403
    assert site.drains == 0
    assert (await site.ask("/drain", "POST", is_unix=True)).status == 202
    assert site.drains == 1


async def test_reload_is_not_there_yet() -> None:
    """In words."""
    response = await Site().ask("/reload", "POST", is_unix=True)
    assert (response.status, b"cannot reload" in response.body) == (501, True)


async def test_metrics_say_that_a_worker_is_down() -> None:
    """In the format that is asked for."""
    site = Site(FakeSource())
    plain = await site.ask("/metrics")
    accept = {"accept": "application/openmetrics-text; version=1.0.0"}
    other = await site.ask("/metrics", headers=accept)
    assert b'asyncrev_worker_up{worker="0"} 0.0\n' in plain.body
    assert other.content_type.startswith("application/openmetrics-text")
    assert other.body.endswith(b"# EOF\n")


async def test_rebound_host_gets_nothing() -> None:
    """Not even the first page."""
    response = await Site().ask("/", to_loopback=True, headers={"host": "evil.example"})
    assert response.status == 421


async def test_defect_is_500_and_a_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Its answer has nothing that statistics have."""
    response = await Site(FakeSource(statistics={"nothing": 1})).ask("/metrics")
    assert response.status == 500
    assert "KeyError" in caplog.text


FACTS = {"pid": 7, "workers": 3, "generation": 2, "restarts": {"exit 1": 1, "hung": 2}}


async def test_reload_is_for_workers_only() -> None:
    """A single process says what to do instead; a supervisor is asked, over a UNIX socket."""
    alone = await Site().ask("/reload", "POST", is_unix=True)
    assert alone.status == 501
    assert b"--workers" in alone.body
    reloads: list[int] = []
    site = Site(supervision=Supervision(lambda: FACTS, lambda: reloads.append(1)))
    assert (await site.ask("/reload", "POST")).status == 403
    assert (await site.ask("/reload")).status == 405
    assert reloads == []
    response = await site.ask("/reload", "POST", is_unix=True)
    assert (response.status, json.loads(response.body)) == (202, {"reloading": True})
    assert reloads == [1]


async def test_statistics_have_the_supervisor() -> None:
    """If there is one."""
    source = FakeSource(statistics={"a": 1})
    site = Site(source, supervision=Supervision(lambda: FACTS))
    assert json.loads((await site.ask("/stats.json")).body) == {
        "workers": [{"worker": "0", "up": True, "a": 1}],
        "supervisor": FACTS,
    }
    alone = json.loads((await Site(source).ask("/stats.json")).body)
    assert set(alone) == {"workers"}


async def test_config_may_change() -> None:
    """It is the one of now."""
    config = {"a": 1}
    pages = Pages(Gathering([FakeSource()]), config=lambda: config, drain=lambda: None)
    request = Request(method="GET", target="/config", headers={})
    assert json.loads((await pages.respond(request)).body) == {"a": 1}
    config = {"a": 2}
    assert json.loads((await pages.respond(request)).body) == {"a": 2}


async def test_metrics_have_the_supervisor() -> None:
    """Also while no worker answers."""
    text = (await Site(supervision=Supervision(lambda: FACTS)).ask("/metrics")).body.decode()
    assert "\nasyncrev_workers 3.0\n" in text
    assert '\nasyncrev_worker_restarts_total{cause="hung"} 2.0\n' in text


async def test_one_worker_that_is_stuck_is_the_supervisor_s_business() -> None:
    """Liveness is for whom nobody else looks after."""
    well, silent = FakeSource("0"), FakeSource("1", health=None)
    for sources, supervision, live in (
        ((well, silent), Supervision(lambda: FACTS), True),
        ((silent,), Supervision(lambda: FACTS), False),
        ((silent,), NOT_SUPERVISED, True),  # only after a while
    ):
        response = await Site(*sources, supervision=supervision).ask("/livez")
        assert response.status == (200 if live else 503)
        assert json.loads(response.body)["live"] is live
