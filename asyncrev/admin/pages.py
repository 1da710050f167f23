"""What the admin endpoint answers, path by path."""

import asyncio
import json
import logging
import urllib.parse
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from asyncrev.admin.answers import MOST_LISTED
from asyncrev.admin.gathering import Answer, Gathering
from asyncrev.admin.guard import refusal
from asyncrev.admin.message import Request, Response, plain
from asyncrev.admin.metrics import encoder_for, exposition
from asyncrev.admin.page_files import FILES, PageFiles
from asyncrev.admin.shared import Shared
from asyncrev.admin.stream import EVENT_STREAM, MOST_STREAMS, Live
from asyncrev.admin.supervision import NOT_SUPERVISED, Supervision
from asyncrev.version import __version__

__all__ = ["PATHS", "Config", "Pages", "not_ready"]

logger = logging.getLogger("asyncrev")

# Or a function that returns it, which a reload may change.
Config = Mapping[str, Any] | Callable[[], Mapping[str, Any]]

PART = 64  # of a list of connections, encoded at once: 0.2 ms

READ = ("GET", "HEAD")
WRITE = ("POST",)

# The methods of each path, and what the page at / says of it.
PATHS: Mapping[str, tuple[tuple[str, ...], str]] = {
    "/": (READ, "the live page for a browser; these lines for others"),
    "/live": (READ, "what that page shows, as server-sent events"),
    "/live.json": (READ, "the same once; ?after= a time of a sample in ms: what is newer"),
    "/metrics": (READ, "metrics, for Prometheus"),
    "/livez": (READ, "200 while loop and worker threads move, those of one worker, else 503"),
    "/readyz": (READ, "200 while a new connection is accepted, else 503"),
    "/stats.json": (READ, "statistics of each worker process"),
    "/connections.json": (
        READ,
        "connections; ?sort=bytes|received|replied|in_flight|age&limit=100",
    ),
    "/config": (READ, "options with their values and where these come from"),
    "/drain": (WRITE, "stop, as SIGTERM does; over a UNIX socket only"),
    "/reload": (WRITE, "reload, as SIGHUP does; with --workers, over a UNIX socket only"),
}


class Pages:
    """The pages of one endpoint. All methods: its thread, with its loop."""

    def __init__(
        self,
        gathering: Gathering,
        *,
        config: Config,
        drain: Callable[[], object],
        own_names: frozenset[str] = frozenset(),
        supervision: Supervision = NOT_SUPERVISED,
    ) -> None:
        """Make pages of what `gathering` gets.

        Args:
            gathering: asks the workers.
            config: what /config shows, in plain JSON types, or a function that returns it.
            drain: asks for a drain. It is called on this thread, and must not wait.
            own_names: see `guard.refusal`.
            supervision: what a supervisor says of itself and does, or `NOT_SUPERVISED`.
        """
        self._gathering = gathering
        self._config = config
        self._supervision = supervision
        self._drain = drain
        self._own_names = own_names
        self._shared = Shared()
        self._files = PageFiles()
        self.live = Live(gathering)
        self._pages: dict[str, Callable[[Request, str], Awaitable[Response]]] = {
            "/": self._index,
            "/live": self._live_stream,
            "/live.json": self._live_json,
            "/metrics": self._metrics,
            "/livez": self._livez,
            "/readyz": self._readyz,
            "/stats.json": self._statistics,
            "/connections.json": self._connections,
            "/config": self._show_config,
            "/drain": self._begin_drain,
            "/reload": self._reload,
        }

    async def respond(self, request: Request) -> Response:
        """Return the response to `request`; a defect is a line in the log, and 500."""
        try:
            return await self._respond(request)
        except ValueError as error:
            return plain(400, str(error))
        except Exception as error:
            logger.error("admin endpoint: %s failed: %r", request.method, error)
            return plain(500, "this is a defect of asyncrev; its log says more")

    async def close(self) -> None:
        """Make nothing any more."""
        await self._shared.close()

    async def _respond(self, request: Request) -> Response:
        refused = refusal(request, self._own_names)
        if refused is not None:
            return refused
        path, query = _parts(request.target)
        is_file = path in FILES
        if not is_file and path not in PATHS:
            return plain(404, "there is nothing at this path; / lists those that there are")
        methods, _ = PATHS.get(path, (READ, ""))
        if request.method not in methods:
            allowed = ", ".join(methods)
            return plain(405, f"{path} takes {allowed}", ("Allow", allowed))
        if methods is WRITE and not request.is_unix:
            return plain(403, f"{path} is answered over a UNIX socket only (--admin unix:PATH)")
        if is_file and (path != "/" or "text/html" in request.headers.get("accept", "")):
            return self._files.respond(request, path)
        return await self._pages[path](request, query)

    # -- pages -------------------------------------------------------------------------------

    async def _index(self, request: Request, query: str) -> Response:
        rows = [
            f"{'POST' if methods is WRITE else 'GET':5}{path:18} {text}"
            for path, (methods, text) in PATHS.items()
        ]
        lines = [f"asyncrev {__version__}, admin endpoint", "", *rows]
        return plain(200, "\n".join(lines), ("Vary", "Accept"))

    async def _live_stream(self, request: Request, query: str) -> Response:
        # A page elsewhere could not read it, but it could hold all streams.
        if request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return plain(403, "other sites get no stream")
        after_ms = _after_ms(query, request.headers.get("last-event-id", ""))
        if request.method == "HEAD":
            return Response(200, b"", EVENT_STREAM)
        stream = self.live.open(after_ms)
        if stream is None:
            return plain(503, f"{MOST_STREAMS} streams are open, and no more may be; /live.json")
        return Response(200, b"", EVENT_STREAM, pieces=stream)

    async def _live_json(self, request: Request, query: str) -> Response:
        text = await self.live.poll(_after_ms(query))
        return Response(200, f"{text}\n".encode(), "application/json")

    async def _metrics(self, request: Request, query: str) -> Response:
        encode, content_type = encoder_for(request.headers.get("accept", ""))

        async def make() -> bytes:
            answers = await self._gathering.ask("statistics")
            said = {answer.worker: answer.said for answer in answers}
            return exposition(said, encode, self._supervision.facts())

        return Response(200, await self._shared.get(content_type, make), content_type)

    async def _livez(self, request: Request, query: str) -> Response:
        answers = await self._gathering.ask("health")
        stuck = self._gathering.stuck()
        workers = [
            {
                "worker": answer.worker,
                "answers": not answer.why,
                "stuck": stuck.get(answer.worker, []),  # it may have gone since it was asked
            }
            for answer in answers
        ]
        live = self._supervision.is_live(answers, stuck)
        return _json({"live": live, "workers": workers}, 200 if live else 503)

    async def _readyz(self, request: Request, query: str) -> Response:
        answers = await self._gathering.ask("health")
        workers = [{"worker": answer.worker, "reasons": not_ready(answer)} for answer in answers]
        ready = any(not worker["reasons"] for worker in workers)
        return _json({"ready": ready, "workers": workers}, 200 if ready else 503)

    async def _statistics(self, request: Request, query: str) -> Response:
        answers = await self._gathering.ask("statistics")
        facts = self._supervision.facts()
        supervisor = {} if facts is None else {"supervisor": facts}
        return _json({"workers": [_of_worker(answer) for answer in answers], **supervisor})

    async def _connections(self, request: Request, query: str) -> Response:
        asked = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
        unknown = sorted(asked.keys() - {"sort", "limit"})
        if unknown:
            raise ValueError(f"{unknown[0]!r} is no parameter; sort and limit are")
        limit = asked.get("limit", "100")
        if not (limit.isascii() and limit.isdigit() and len(limit) <= 6):
            raise ValueError(f"limit is {limit!r}; it must be a number up to {MOST_LISTED}")
        answers = await self._gathering.ask(
            "connections", sort=asked.get("sort", "bytes"), limit=int(limit)
        )
        return await _json_in_parts({"workers": [_of_worker(answer) for answer in answers]})

    async def _show_config(self, request: Request, query: str) -> Response:
        return _json(self._config() if callable(self._config) else self._config)

    async def _begin_drain(self, request: Request, query: str) -> Response:
        logger.info("the admin endpoint was asked for a drain")
        self._drain()
        return _json({"draining": True}, 202)

    async def _reload(self, request: Request, query: str) -> Response:
        if self._supervision.reload is None:
            return plain(
                501,
                "a single process cannot reload; restart it, or serve with --workers 2 or more, "
                "whose workers are replaced one after the other",
            )
        logger.info("the admin endpoint was asked for a reload")
        self._supervision.reload()
        return _json({"reloading": True}, 202)


def _after_ms(query: str, last_event: str = "") -> int:
    """Return `last_event`, which a browser sends when it opens a stream again, or `?after=`.

    Raises:
        ValueError: that is no time in milliseconds, or there is another parameter.
    """
    asked = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
    after = asked.pop("after", "0")
    if asked:
        raise ValueError(f"{next(iter(asked))!r} is no parameter; after is")
    after = last_event or after
    if not (after.isascii() and after.isdigit() and len(after) <= 15):
        raise ValueError(f"after is {after!r}; it must be a time in ms since the epoch")
    return int(after)


def not_ready(answer: Answer) -> list[str]:
    """Return why a worker takes no new connections, in words; nothing if it does."""
    said = answer.said
    if said is None:
        return [answer.why]
    reasons = []
    if said["stopping"]:
        reasons.append("draining")
    elif said["connections"] >= said["max_connections"]:
        reasons.append(f"max_connections, which is {said['max_connections']}, is reached")
    elif not said["accepting"]:
        reasons.append("not accepting")
    return reasons


def _of_worker(answer: Answer) -> dict[str, Any]:
    up = answer.said is not None
    return {"worker": answer.worker, "up": up, **(answer.said or {"why": answer.why})}


def _json(value: Any, status: int = 200) -> Response:
    return Response(status, f"{_dumps(value)}\n".encode(), "application/json")


async def _json_in_parts(value: Any) -> Response:
    """Return what `_json` returns. Between parts other threads get the GIL at once.

    A thousand connections take 3 ms, in which the server's loop would stand still.
    """
    parts: list[str] = []
    for worker in value["workers"]:
        listed = []
        for one in worker.pop("connections", ()):
            listed.append(_dumps(one))
            if len(listed) % PART == 0:
                await asyncio.sleep(0)
        parts.append(f'{_dumps(worker)[:-1]},"connections":[{",".join(listed)}]}}')
    return Response(200, f'{{"workers":[{",".join(parts)}]}}\n'.encode(), "application/json")


def _dumps(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def _parts(target: str) -> tuple[str, str]:
    """Return path and query of a request's target, of which nothing is decoded."""
    scheme, separator, rest = target.partition("://")
    if separator and scheme.lower() == "http":
        target = "/" + rest.partition("/")[2]
    path, _, query = target.partition("?")
    return path, query
