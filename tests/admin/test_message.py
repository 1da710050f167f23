"""message: a request's defaults, and a response of one line."""

from asyncrev.admin.message import Request, plain


def test_plain_is_one_line_of_text() -> None:
    """With its headers."""
    response = plain(405, "no", ("Allow", "GET"))
    assert (response.status, response.body) == (405, b"no\n")
    assert response.content_type == "text/plain; charset=utf-8"
    assert response.headers == (("Allow", "GET"),)


def test_request_is_by_default_of_nobody_who_is_trusted() -> None:
    """Only a UNIX socket may change something."""
    request = Request(method="GET", target="/", headers={})
    assert not request.is_unix
