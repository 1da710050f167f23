"""Questions of the supervisor to a worker, and its answers: JSON objects, one per line.

One pair of AF_UNIX SOCK_STREAM sockets per worker. The first line to the worker is its setup. From
then on a line to it is a question, {"id": n, "ask": "health", "arguments": {}}, and a line from it
an answer, {"id": n, "answer": {}}, or {"id": n, "refused": "why"} for what nobody can answer, or
{"id": n, "failed": "how"} after a defect. The supervisor's end is `remote_source`.
"""

import asyncio
import json
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

__all__ = ["LONGEST_ANSWER_BYTES", "LONGEST_QUESTION_BYTES", "Lines", "answer_questions"]

logger = logging.getLogger("asyncrev")

LONGEST_QUESTION_BYTES = 4096
# A thousand connections with names as long as they may be take about 1 MiB.
LONGEST_ANSWER_BYTES = 4 << 20

READ_BYTES = 4096
PART = 64  # of the list in an answer, encoded at once: 0.2 ms

AnswerFunction = Callable[[str, Mapping[str, Any]], Awaitable[Mapping[str, Any]]]


class Lines:
    """Cuts a stream into lines. Thread: one at a time."""

    def __init__(self, longest_bytes: int) -> None:
        """Expect lines of at most `longest_bytes`, without their ends."""
        self._longest_bytes = longest_bytes
        self._begun = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that end in `data`, without their ends.

        Raises:
            ValueError: a line is too long; nothing can be fed any more.
        """
        *ended, rest = data.split(b"\n")
        lines = []
        for part in ended:
            self._begin(part)
            lines.append(bytes(self._begun))
            self._begun.clear()
        self._begin(rest)
        return lines

    def _begin(self, part: bytes) -> None:
        if len(self._begun) + len(part) > self._longest_bytes:
            raise ValueError(f"a line of more than {self._longest_bytes} bytes")
        self._begun += part


async def answer_questions(sock: socket.socket, answer: AnswerFunction) -> None:
    """Answer questions, one after the other, until the supervisor's end is closed.

    It may be cancelled at any time. Thread: the worker's loop's.

    Args:
        sock: non-blocking, closed at the end; the setup has been read from it, and nothing else.
        answer: see `Answers.answer`.
    """
    loop = asyncio.get_running_loop()
    lines = Lines(LONGEST_QUESTION_BYTES)
    with sock:
        try:
            while data := await loop.sock_recv(sock, READ_BYTES):
                for line in lines.feed(data):
                    told = await _answer(line, answer)
                    if told is not None:
                        await loop.sock_sendall(sock, told)
        except OSError:
            return  # the supervisor has gone, which the control channel tells, too
        except ValueError as error:
            logger.error("no more questions are answered: %s", error)


async def _answer(line: bytes, answer: AnswerFunction) -> bytes | None:
    """Return the line that answers `line`; None if that is no question."""
    try:
        question = json.loads(line)
        number, what, arguments = question["id"], question["ask"], question["arguments"]
    except (ValueError, TypeError, KeyError):
        logger.error("a question that cannot be read: %r", line[:100])
        return None
    try:
        said = await answer(what, arguments)
        encoded = await _encode(said)
        if len(encoded) > LONGEST_ANSWER_BYTES - 100:
            raise OverflowError(f"an answer of {len(encoded)} bytes")
    except ValueError as error:
        return _line(number, "refused", json.dumps(str(error)))
    except Exception as error:  # a defect, which must not end all answers
        logger.error("cannot say %s: %r", what, error)
        return _line(number, "failed", json.dumps(repr(error)[:1000]))
    return _line(number, "answer", encoded)


def _line(number: Any, kind: str, encoded: str) -> bytes:
    return f'{{"id":{json.dumps(number)},"{kind}":{encoded}}}\n'.encode()


async def _encode(said: Mapping[str, Any]) -> str:
    """Return `said` as JSON. A long list is encoded in several iterations of the loop."""
    pairs = []
    for name, value in said.items():
        if isinstance(value, list) and len(value) > PART:
            parts = []
            for begin in range(0, len(value), PART):
                parts.append(_dumps(value[begin : begin + PART])[1:-1])
                await asyncio.sleep(0)
            pairs.append(f"{_dumps(name)}:[{','.join(parts)}]")
        else:
            pairs.append(f"{_dumps(name)}:{_dumps(value)}")
    return "{" + ",".join(pairs) + "}"


def _dumps(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))
