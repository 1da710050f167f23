"""guard: which requests a browser may have been made to send."""

import socket

import pytest

from asyncrev.admin.guard import own_names, refusal
from asyncrev.admin.message import Request

NAMES = frozenset({"box"})


def request(method: str = "GET", target: str = "/", *, loopback: bool = True, **headers: str):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request(method=method, target=target, headers=named, to_loopback=loopback)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:9190",
        "127.0.0.1",
        "[::1]:9190",
        "[::1]",
        "localhost:9190",
        "LOCALHOST",
        "10.1.2.3",
        "box:9190",
        "Box",
        "box.",
        "a.localhost:1",
        "[fe80::1%eth0]:9190",
        "",
    ],
)
def test_own_host_is_answered(host: str) -> None:
    """An address cannot be rebound."""
    assert refusal(request(host=host), NAMES) is None


@pytest.mark.parametrize(
    "host",
    ["evil.example:9190", "evil.example", "box.evil.example", "localhost.evil.example", "1.2"],
)
def test_other_host_at_a_loopback_address_is_refused(host: str) -> None:
    """Its owner has had the name point here."""
    response = refusal(request(host=host), NAMES)
    assert response is not None
    assert response.status == 421
    assert refusal(request(host=host, loopback=False), NAMES) is None


def test_host_of_the_target_counts_more() -> None:
    """In its absolute form (RFC 9112, 3.2.2)."""
    bad = request(target="http://evil.example/metrics", host="localhost")
    good = request(target="http://localhost:1/metrics", host="evil.example")
    assert refusal(bad, NAMES) is not None
    assert refusal(good, NAMES) is None


def test_web_pages_change_nothing() -> None:
    """Whatever they say they are; reading is left to the browser, which has no CORS headers."""
    for headers in (
        {"origin": "null"},
        {"origin": "http://localhost"},
        {"sec_fetch_site": "cross-site"},
    ):
        response = refusal(request("POST", "/drain", **headers), NAMES)
        assert response is not None
        assert response.status == 403
    assert refusal(request("POST", "/drain"), NAMES) is None
    assert refusal(request("GET", origin="http://x"), NAMES) is None


def test_own_names_are_those_of_the_machine_and_further_ones() -> None:
    """In lower case; an empty one is none."""
    assert own_names("Rev.Example", "") == {socket.gethostname().lower(), "rev.example"}
