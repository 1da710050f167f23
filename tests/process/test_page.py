"""The live page in headless Chromium, beside a verified load, and beside peers that mean harm."""

import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("h11")
pytest.importorskip("prometheus_client")

from tests.admin.talking import get
from tests.chromium import PROGRAM, Tab, chromium
from tests.process.processors import FLIP, HERE
from tests.process.test_admin import TCP, address_of, loaded
from tests.support import DEADLINE_S, send_until_stuck, serving, wait_until

pytestmark = pytest.mark.process

TICKS = "Number(document.documentElement.dataset.ticks || 0)"
LINK = "document.getElementById('link').textContent"
TILES = (
    "Object.fromEntries([...document.querySelectorAll('#tiles > div')].map("
    "(one) => [one.querySelector('dt').textContent, one.querySelector('b').textContent]))"
)


@pytest.fixture
def tab() -> Iterator[Tab]:
    if PROGRAM is None:
        pytest.skip("chromium is not installed")
    with chromium() as made:
        yield made


def url(where: tuple[str, int]) -> str:
    return f"http://127.0.0.1:{where[1]}/"


def see(tab: Tab, where: tuple[str, int], ticks: int = 2) -> None:
    tab.go(url(where))
    tab.until(f"{TICKS} >= {ticks}")


# A plot has drawn something if its canvas has pixels that are not transparent.
INKED = """[...document.querySelectorAll('canvas')].map((canvas) => {
  const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  let inked = 0;
  for (let at = 3; at < data.length; at += 4) inked += data[at] > 0;
  return inked;
})"""


def test_page_shows_the_load_and_why_reading_is_paused(tab: Tab) -> None:
    """With no complaint, and no request to anywhere else; numbers as /stats.json has them."""
    with loaded() as (server, where, _), server.connect(4096) as stuck:
        send_until_stuck(stuck, bytes(65536))
        see(tab, where, 3)
        assert tab.evaluate(LINK) == "live"
        tiles = tab.evaluate(TILES)
        assert tiles["Connections"] == "9"
        assert tiles["Reading paused"] == "1"
        assert tiles["Received"].endswith("B/s")
        assert tab.evaluate("document.getElementById('state').textContent") == "serving"
        rows = "document.querySelectorAll('#workers tbody tr')"
        assert tab.evaluate(f"{rows}.length") == 1
        assert "write 1" in tab.evaluate(f"{rows}[0].textContent")
        assert tab.evaluate("document.querySelectorAll('figure canvas').length") == 6
        assert tab.evaluate("document.querySelectorAll('figure table tbody tr').length") == 15
        assert min(tab.evaluate(INKED)) > 1000
        assert tab.complaints == []
        assert {one.startswith(url(where)) for one in tab.requested} == {True}
        tab.go(f"{url(where)}?again")
        assert tab.statuses[f"{url(where)}assets/uplot.js"][0] == 200


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 768, 1280])
def test_page_fits_every_width_in_both_schemes(tab: Tab, width: int, scheme: str) -> None:
    """Nothing has to be scrolled sideways but wide tables, within themselves."""
    with serving(*TCP, *FLIP, **HERE) as server:
        where = address_of(server)
        tab.scheme(scheme)
        tab.size(width, 740, is_phone=width < 500)
        see(tab, where)
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        wide = (
            "[...document.querySelectorAll('figure, section, #tiles > div')].filter((one) => "
            f"one.getBoundingClientRect().right > {width}).length"
        )
        assert tab.evaluate(wide) == 0
        over = (
            "[...document.querySelectorAll('figure table')].filter((one) => "
            "one.scrollWidth > one.parentElement.clientWidth).length"
        )
        assert tab.evaluate(over) == 0
        back = tab.evaluate("getComputedStyle(document.body).backgroundColor")
        assert back == {"light": "rgb(244, 246, 248)", "dark": "rgb(15, 20, 24)"}[scheme]
        assert tab.complaints == []


def test_change_of_the_scheme_draws_the_plots_again(tab: Tab) -> None:
    """Their colours are theirs, not the style sheet's."""
    with serving(*TCP, *FLIP, **HERE) as server:
        see(tab, address_of(server))
        before = tab.evaluate("document.querySelector('canvas').toDataURL().length > 100")
        tab.evaluate("window.before = document.querySelector('canvas')")
        tab.scheme("dark")
        tab.until("document.querySelector('canvas') !== window.before")
        assert before
        assert tab.evaluate("document.querySelectorAll('canvas').length") == 6


def test_keyboard_picks_a_moment_in_all_tables(tab: Tab) -> None:
    """And a screen reader hears what it is."""
    with serving(*TCP, *FLIP, **HERE) as server, server.connect():
        see(tab, address_of(server), 4)
        heads = (
            "[...document.querySelectorAll('figure thead th:nth-child(2)')]"
            ".map((one) => one.textContent)"
        )
        assert tab.evaluate(heads) == ["now"] * 6
        tab.evaluate("document.querySelector('.plot').focus()")
        tab.key("ArrowLeft")
        (picked,) = set(tab.until(f"{heads}.every((one) => one !== 'now') && {heads}"))
        label = tab.evaluate("document.querySelector('.plot').getAttribute('aria-label')")
        assert picked in label
        assert "open" in label
        tab.key("Home")
        tab.until(f"{heads}[3] !== {picked!r}")
        tab.evaluate(f"window.was = {TICKS}")
        tab.until(f"{TICKS} > window.was")
        assert tab.evaluate(heads) != ["now"] * 6  # figures that come do not move it
        tab.key("Escape")
        tab.until(f"{heads}.every((one) => one === 'now')")
        focusable = tab.evaluate(
            "[...document.querySelectorAll('[tabindex=\"0\"]')].every("
            "(one) => one.getAttribute('role') && (one.ariaLabel || one.ariaLabelledByElements))"
        )
        assert focusable


def test_fresh_page_has_the_minutes_before_it(tab: Tab) -> None:
    """From the endpoint's memory."""
    with serving(*TCP, *FLIP, **HERE) as server:
        where = address_of(server)

        def samples() -> int:
            return len(json.loads(get(where, "/live.json")[1])["samples"])

        wait_until(lambda: samples() >= 3, "there is a history")
        see(tab, where, 1)
        spans = "document.querySelectorAll('figure thead').length"
        assert tab.evaluate(spans) == 6
        first = json.loads(get(where, "/live.json")[1])["samples"][0][0]
        tab.evaluate("document.querySelector('.plot').focus()")
        tab.key("Home")
        head = "document.querySelector('figure thead th:nth-child(2)').textContent"
        expected = tab.evaluate(f"new Date({first}).toLocaleTimeString('en-GB')")
        assert tab.until(f"{head} !== 'now' && {head}") == expected


def test_page_polls_while_it_gets_no_stream(tab: Tab) -> None:
    """As when others hold all of them."""
    with serving(*TCP, *FLIP, **HERE) as server:
        where = address_of(server)
        held = [stream(where) for _ in range(16)]
        try:
            see(tab, where, 4)
            assert tab.evaluate(LINK) == "live, by polling"
            assert 503 in tab.statuses[f"{url(where)}live?after=0"]
        finally:
            for sock in held:
                sock.close()


def test_page_tells_of_a_server_that_goes_and_finds_one_that_comes(tab: Tab) -> None:
    """By itself, in its place."""
    with serving(*TCP, *FLIP, **HERE) as server:
        where = address_of(server)
        see(tab, where)
        server.terminate()
        tab.until(f"{LINK}.startsWith('no answer since')")
    again = ("--admin", f"127.0.0.1:{where[1]}")
    with serving(*again, *FLIP, **HERE):
        before = tab.evaluate(TICKS)
        tab.until(f"{LINK}.startsWith('live') && {TICKS} > {before} + 1", 2 * DEADLINE_S)


def test_hidden_page_holds_no_stream(tab: Tab) -> None:
    """Browsers allow six connections to one server, and this is one of them."""
    with serving(*TCP, *FLIP, **HERE) as server:
        where = address_of(server)
        see(tab, where)
        descriptors = server.descriptors()
        tab.evaluate(
            "Object.defineProperty(document, 'hidden',"
            " {get: () => window.away, configurable: true}),"
            "window.away = true, document.dispatchEvent(new Event('visibilitychange'))"
        )
        wait_until(lambda: server.descriptors() < descriptors, "the stream is closed")
        before = tab.evaluate(TICKS)
        tab.evaluate("window.away = false, document.dispatchEvent(new Event('visibilitychange'))")
        tab.until(f"{TICKS} > {before}")


# -- peers that mean harm ------------------------------------------------------------------------


def stream(where: tuple[str, int], receive_buffer_bytes: int = 0) -> socket.socket:
    """Return a connection that has asked for a stream, after the head of the answer."""
    sock = socket.socket()
    sock.settimeout(DEADLINE_S)
    if receive_buffer_bytes:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
    try:
        sock.connect(where)
        sock.sendall(b"GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        data = b""
        while b"\r\n\r\n" not in data:
            part = sock.recv(1)
            assert part
            data += part
        assert b" 200 " in data.split(b"\r\n")[0]
    except BaseException:
        sock.close()
        raise
    return sock


def test_stream_is_server_sent_events() -> None:
    """One per second, with what curl would show."""
    with loaded() as (_, where, _), stream(where) as sock, sock.makefile("rb") as lines:
        told: list[dict[str, Any]] = []
        begun_s = time.monotonic()
        while len(told) < 3:
            line = lines.readline()
            assert line
            if line.startswith(b"data: "):
                told.append(json.loads(line.removeprefix(b"data: ")))
        assert time.monotonic() - begun_s > 1.0
    assert all(one["workers"][0]["connections"] == 8 for one in told[1:])


def test_readers_that_read_nothing_lose_their_streams() -> None:
    """And the load goes on; further ones are told so meanwhile."""
    with loaded() as (_, where, load):
        held = [stream(where, 4096) for _ in range(16)]
        assert get(where, "/live")[0] == 503
        assert get(where, "/stats.json")[0] == 200
        for sock in held:
            # What is sent on a stream is not read, and ends with it.
            sock.setblocking(False)
            sock.send(b"GET / HTTP/1.1\r\n\r\n" * 100)
        before = load.verified
        wait_until(lambda: load.verified > before + 200, "the load goes on")
        for sock in held:
            sock.close()

        def is_free() -> bool:
            try:
                stream(where).close()
            except AssertionError:
                return False
            return True

        wait_until(is_free, "a stream is free again")
