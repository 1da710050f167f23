"""The files of the live page, as they are installed, with ETags and a Content-Security-Policy."""

import hashlib
from pathlib import Path

from asyncrev.admin.message import Request, Response

__all__ = ["CONTENT_SECURITY_POLICY", "FILES", "PageFiles"]

_FOLDER = Path(__file__).with_name("assets")

# uPlot is as its authors published it; docs/decisions/0025 has the hashes.
FILES = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/assets/page.css": ("page.css", "text/css; charset=utf-8"),
    "/assets/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/assets/plots.js": ("plots.js", "text/javascript; charset=utf-8"),
    "/assets/text.js": ("text.js", "text/javascript; charset=utf-8"),
    "/assets/icon.svg": ("icon.svg", "image/svg+xml"),
    "/assets/uplot.css": ("uPlot.min.css", "text/css; charset=utf-8"),
    "/assets/uplot.js": ("uPlot.iife.min.js", "text/javascript; charset=utf-8"),
    "/assets/uplot.LICENSE.txt": ("uPlot.LICENSE.txt", "text/plain; charset=utf-8"),
}

# Nothing from elsewhere, nothing inline, and in nobody's frame.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'"
)


class PageFiles:
    """All files, read once: 75 kB. Thread: any."""

    def __init__(self) -> None:
        """Read them.

        Raises:
            OSError: one is missing.
        """
        self._files: dict[str, tuple[bytes, str, str]] = {}
        for path, (name, content_type) in FILES.items():
            body = (_FOLDER / name).read_bytes()
            tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
            self._files[path] = (body, content_type, tag)

    def respond(self, request: Request, path: str) -> Response:
        """Return the file at `path`, which is one of `FILES`, unless the client has it (304)."""
        body, content_type, tag = self._files[path]
        headers = (
            ("ETag", tag),
            ("Cache-Control", "no-cache"),  # that is, ask whether it has changed
            ("Vary", "Accept"),  # / is text for others
            ("Content-Security-Policy", CONTENT_SECURITY_POLICY),
            ("Referrer-Policy", "no-referrer"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
            ("Cross-Origin-Opener-Policy", "same-origin"),
        )
        if _has(request.headers.get("if-none-match", ""), tag):
            return Response(304, b"", content_type, headers)
        return Response(200, body, content_type, headers)


def _has(if_none_match: str, tag: str) -> bool:
    """Return whether a condition is fulfilled; tags are compared weakly (RFC 9110, 13.1.2)."""
    given = [one.strip().removeprefix("W/") for one in if_none_match.split(",")]
    return tag in given or given == ["*"]
