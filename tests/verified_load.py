"""A load that verifies every byte, and keeps an account of each connection: what came of it.

It needs no more of its server than that it answers each byte with its complement (`Flip`), so it is
the same behind a load balancer and for several workers. Clients of two kinds:

- lasting: one connection, message after message; if it ends, a new one;
- visiting: a connection for a few messages, ended by the client, then the next.

`with VerifiedLoad(address, lasting=10, visiting=2) as load: ...; load.ended("finished")`.
"""

import asyncio
import dataclasses
import threading

from tests.support import DEADLINE_S, flipped, pattern, wait_until

__all__ = ["Conversation", "VerifiedLoad"]


@dataclasses.dataclass(eq=False)
class Conversation:
    """One connection of a client. The load's thread writes it, others read.

    Attributes:
        own: the client's address.
        kind: "lasting" or "visiting".
        sent_bytes: what was given to the socket.
        verified_bytes: replies, each byte of which was right.
        end: "" while it lasts; "finished": the client ended it, and had all replies; "closed": the
            server ended the stream behind a whole reply; "cut": it did so within one, or a reset;
            "refused": it ended without a byte; "wrong": a byte was not the right one; "hung": no
            reply came in time.
    """

    own: tuple[str, int]
    kind: str
    sent_bytes: int = 0
    verified_bytes: int = 0
    end: str = ""


class VerifiedLoad:
    """Clients on a thread and a loop of their own, from `__enter__` to `__exit__`.

    At the exit each client finishes the message that it has begun, and ends its connection.
    `addresses`: the clients take them in turn.
    """

    def __init__(
        self,
        *addresses: tuple[str, int],
        lasting: int = 0,
        visiting: int = 0,
        messages_per_visit: int = 5,
        most_bytes: int = 2000,
    ) -> None:
        self.conversations: list[Conversation] = []
        self.unconnected: list[str] = []
        self._addresses = addresses
        self._kinds = ["lasting"] * lasting + ["visiting"] * visiting
        self._messages_per_visit = messages_per_visit
        self._most_bytes = most_bytes
        self._stopping = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "VerifiedLoad":
        self._thread.start()
        try:
            wait_until(self._has_begun, "each client has had a reply")
        except BaseException:
            self._stopping.set()
            self._thread.join()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()
        if self._error is not None:
            raise self._error

    @property
    def verified_bytes(self) -> int:
        """All replies so far."""
        return sum(conversation.verified_bytes for conversation in list(self.conversations))

    def ended(self, *ends: str, kind: str = "") -> list[Conversation]:
        """Return the conversations that have come to one of `ends`, of one kind or of both."""
        return [
            conversation
            for conversation in list(self.conversations)
            if conversation.end in ends and kind in ("", conversation.kind)
        ]

    def go_on(self, nbytes: int = 100_000) -> None:
        """Wait until so many further bytes are verified, and a further connection is finished."""
        before, visits = self.verified_bytes, len(self.ended("finished"))
        wait_until(
            lambda: self._error or self.verified_bytes >= before + nbytes, "the load goes on"
        )
        if "visiting" in self._kinds:
            wait_until(lambda: self._error or len(self.ended("finished")) > visits, "visits go on")

    def _has_begun(self) -> bool:
        if self._error is not None:
            raise self._error
        talking = [each for each in list(self.conversations) if each.verified_bytes]
        return len(talking) >= len(self._kinds)

    def _run(self) -> None:
        try:
            asyncio.run(self._all())
        except BaseException as error:
            self._error = error

    async def _all(self) -> None:
        async with asyncio.TaskGroup() as group:
            for number, kind in enumerate(self._kinds):
                group.create_task(self._client(number, kind))

    async def _client(self, number: int, kind: str) -> None:
        address = self._addresses[number % len(self._addresses)]
        messages = None if kind == "lasting" else self._messages_per_visit
        while not self._stopping.is_set():
            try:
                reader, writer = await asyncio.open_connection(*address)
            except OSError as error:
                self.unconnected.append(str(error))
                await asyncio.sleep(0.05)
                continue
            conversation = Conversation(writer.get_extra_info("sockname")[:2], kind)
            self.conversations.append(conversation)
            try:
                await self._talk(conversation, reader, writer, number, messages)
            except TimeoutError:
                conversation.end = "hung"
            except OSError:
                conversation.end = "cut"
            finally:
                if conversation.end == "finished":
                    writer.close()
                else:
                    writer.transport.abort()
            if not conversation.verified_bytes and conversation.end in ("closed", "cut"):
                conversation.end = "refused"

    async def _talk(
        self,
        conversation: Conversation,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        client: int,
        messages: int | None,
    ) -> None:
        number = 0
        while number != messages and not self._stopping.is_set():
            number += 1
            length = 1 + (number * 7919 + client * 104729) % self._most_bytes
            message = pattern(length, client + number)
            writer.write(message)
            conversation.sent_bytes += length
            try:
                async with asyncio.timeout(DEADLINE_S):
                    reply = await reader.readexactly(length)
            except asyncio.IncompleteReadError as error:
                reply = error.partial
            if reply != flipped(message)[: len(reply)]:
                conversation.end = "wrong"
                return
            conversation.verified_bytes += len(reply)
            if len(reply) < length:
                conversation.end = "cut" if reply else "closed"
                return
            if messages is None:
                await asyncio.sleep(0.002)  # many clients share a core with what they test
        writer.write_eof()
        async with asyncio.timeout(DEADLINE_S):
            conversation.end = "finished" if await reader.read() == b"" else "wrong"
