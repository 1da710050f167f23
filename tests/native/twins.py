"""A plane in Python and a native one, driven by the same calls over twin connections.

`Twins.do` makes a call on both and compares what can be seen of it; see `test_plane`. Descriptors
have numbers of their own for each twin, so that a number which is used again is so on both.

The kernel treats both alike: the connections are socket pairs with the same, least buffers, and one
thread does everything, so that even short writes are equal. Connections over TCP have room for all.
"""

import fcntl
import os
import select
import socket
import struct
import termios
from types import SimpleNamespace
from typing import Any

from asyncrev.processors import FunctionProcessor
from asyncrev.ring.entry import Kind
from asyncrev.ring.plane import CREDIT, END, OTHER, OVER_QUOTA, RESERVE, SENT
from asyncrev.ring.row import Kernel
from asyncrev.work.tls_parameters import StartTls
from tests.planes import PYTHON_PLANE, PythonReverse, plain_work_class
from tests.support import wait_until

__all__ = ["DESCRIPTORS", "FUNCTION", "MASKS", "Twin", "Twins"]

DESCRIPTORS = 6  # numbers of connections
FUNCTION = 5  # beside the numbers of kernels: a function of bytes
_FIRST_FD = 900  # above those that are given by themselves
IN, OUT, HUP, ERR, RDHUP = 1, 4, 16, 8, 8192
MASKS = (IN, IN, IN, IN, OUT, IN | OUT, HUP, IN | HUP, ERR, RDHUP, IN | RDHUP, 0)
LITTLE_BYTES = 24
_RESET = struct.pack("ii", 1, 0)
_COUNTS = ("in_flight_entries", "in_flight_bytes", "partial_frame_bytes", "read_bytes")
_COUNTS += ("reserved_bytes", "frame_seq", "received_bytes", "replied_bytes", "small_reads")
_COUNTS += ("look_at_s",)
_FLAGS = ("abandoned", "waits_for_credit", "waits_for_slot", "is_framed", "reads", "sends")


def readable_bytes(sock: Any) -> int:
    """Return how many bytes wait in a socket."""
    answer = fcntl.ioctl(sock, termios.FIONREAD, bytes(4))
    return int(struct.unpack("i", answer)[0])


class ByContent:
    """Answers in a way that depends on the first byte, so that one lane has all of them."""

    def process(self, chunk: memoryview) -> Any:
        """Answer, or fail."""
        text = bytes(chunk)
        way = text[0] % 16 if text else 16
        if way == 0:
            raise ZeroDivisionError("of the processor")
        if way == 1:
            return StartTls(None)  # type: ignore[arg-type]
        answers: dict[int, Any] = {
            2: "text",
            3: text * 2,
            4: None,
            5: b"",
            6: chunk[:1],
            7: chunk[1:],
            8: chunk[::-1],
            9: memoryview(text),
            10: bytearray(text),
            11: chunk[:0],
            12: Kind.DATA,
        }
        return answers.get(way, text.upper())


def by_content(data: bytes) -> Any:
    """Answer as `ByContent` does, as a function of bytes."""
    return ByContent().process(memoryview(bytearray(data)))


class Frames:
    """Reverses the payloads of whole frames; anything else is answered with its length."""

    def __init__(self, kernel: Kernel, most_bytes: int) -> None:
        self.kernel = kernel
        self.most_bytes = most_bytes

    def process(self, chunk: memoryview) -> bytes:
        """Answer as a kernel does, byte after byte; or otherwise, where a kernel does not."""
        text = bytes(chunk)
        done = self._lines(text) if self.kernel is Kernel.LINES else self._prefixed(text)
        return str(len(text)).encode()[: len(text)] if done is None else done

    def _lines(self, text: bytes) -> bytes | None:
        if not text.endswith(b"\n") and text:
            return None
        done = b""
        for line in text.split(b"\n")[:-1]:
            end = b"\r\n" if line.endswith(b"\r") else b"\n"
            payload = line.removesuffix(b"\r")
            if len(payload) > self.most_bytes:
                return None
            done += payload[::-1] + end
        return done

    def _prefixed(self, text: bytes) -> bytes | None:
        prefix_bytes = 4 if self.kernel is Kernel.LEN32 else 8
        done = b""
        while text:
            prefix, text = text[:prefix_bytes], text[prefix_bytes:]
            nbytes = int.from_bytes(prefix, "big")
            if len(prefix) < prefix_bytes or nbytes > min(len(text), self.most_bytes):
                return None
            done += prefix + text[:nbytes][::-1]
            text = text[nbytes:]
        return done


class Foreign:
    """An owner that is no row, as that of a channel."""

    sends = False
    abandoned = False

    def __init__(self, work: Any) -> None:
        self.work = work


class Connection:
    """One end is served, the other one is the peer's."""

    def __init__(self, number: int, twin: "Twin", tcp: bool, row: Any, processor: Any) -> None:
        self.number = number
        self.fd = _FIRST_FD + 2 * number + twin.number
        self.tcp = tcp
        self.row = row
        self.processor = processor
        if tcp:
            with socket.create_server(("127.0.0.1", 0)) as listener:
                self.far = socket.create_connection(listener.getsockname())
                near = listener.accept()[0]
            for sock in (near, self.far):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        else:
            near, self.far = socket.socketpair()
            for sock in (near, self.far):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        os.dup2(near.fileno(), self.fd, inheritable=False)
        near.close()
        self.near = socket.socket(fileno=self.fd)
        self.near.setblocking(False)
        self.far.setblocking(False)
        self.peer_ended = self.peer_gone = False
        self.read_bytes = 0

    def close(self) -> None:
        """Close both ends."""
        self.near.close()
        self.far.close()

    def send(self, data: bytes) -> int:
        """Have the peer send; return how much its kernel took."""
        if self.peer_ended or self.peer_gone:
            return 0
        before = readable_bytes(self.near)
        try:
            sent_bytes = self.far.send(data)
        except OSError as error:
            return -(error.errno or 0)
        wait_until(lambda: readable_bytes(self.near) == before + sent_bytes, "the bytes are there")
        return sent_bytes

    def read(self, nbytes: int) -> bytes:
        """Have the peer read what has come, up to `nbytes`."""
        if self.peer_gone:
            return b"gone"
        if self.tcp and not self.near._closed:  # type: ignore[attr-defined]
            expected = min(nbytes, self.row.replied_bytes - self.read_bytes)
            wait_until(lambda: readable_bytes(self.far) >= expected, "the reply is there")
        try:
            data = self.far.recv(nbytes)
        except OSError as error:
            return str(error.errno).encode()
        self.read_bytes += len(data)
        return data

    def end(self, how: str) -> None:
        """Have the peer shut down, close, or close with a reset."""
        if self.peer_gone:
            return
        if how == "shutdown":
            if self.peer_ended:
                return
            self.peer_ended = True
            self.far.shutdown(socket.SHUT_WR)
        else:
            self.peer_gone = True
            if how == "reset":
                self.far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.far.close()
        if self.tcp:
            poll = select.poll()
            poll.register(self.near, select.POLLRDHUP | select.POLLHUP | select.POLLERR)
            wait_until(lambda: poll.poll(0), "the end is there")


class Twin:
    """A ring and its plane, and everything that calls are made on. Thread: one for all."""

    def __init__(self, number: int, classes: SimpleNamespace, sizes: dict[str, int]) -> None:
        self.number = number
        self.classes = classes
        ring = {name: sizes[name] for name in ("slots", "slot_bytes", "entries")}
        self.ring = classes.Ring(**ring, small_slot_bytes=sizes["small_slot_bytes"])
        self.plane = classes.Plane(
            self.ring, sizes["most_entries"], sizes["most_bytes"], LITTLE_BYTES
        )
        self.parker = classes.Parker()
        self.posts = 0
        self.signal = classes.DeliverySignal(self._post)
        self.connections: list[Connection | None] = [None] * DESCRIPTORS
        self.rows: list[Any] = []  # all there ever were
        self.owners: list[Any] = []  # of everything published by `publish`
        self.taken_seq = 0

    def _post(self) -> None:
        self.posts += 1

    def close(self) -> None:
        """Close all descriptors, those of the parker too: this object may be in a cycle."""
        for number in range(DESCRIPTORS):
            self.do_close(number)
        del self.parker

    # -- what can be seen ------------------------------------------------------------------

    def name_of(self, owner: Any) -> Any:
        """Return what stands for an owner in a comparison."""
        for number, row in enumerate(self.rows):
            if row is owner:
                return number
        return type(owner).__name__

    def seen_entry(self, seq: int) -> tuple[Any, ...]:
        """Return what is to be seen of a processed entry."""
        owner, kind, nbytes, report = self.ring.returned(seq)
        assert owner is self.ring.owner(seq)
        result = self.ring.result(seq)
        if isinstance(result, tuple):
            reply: Any = [bytes(piece) for piece in result]
        else:
            reply = None if result is None else bytes(result)
        said: Any = None
        if report is not None:
            said = (report.partial_frame_bytes, report.frame_seq, report.calls)
            said += (report.surplus_bytes, report.ended, type(report.error), str(report.error))
            assert report.owner is owner
        return self.name_of(owner), kind, nbytes, said, reply

    def seen(self) -> dict[str, Any]:
        """Return everything that must be equal."""
        ring, plane = self.ring, self.plane
        live = range(ring.released_seq, ring.published_seq)
        unprocessed = range(ring.processed_seq, ring.published_seq)
        return {
            "cursors": (ring.released_seq, ring.processed_seq, ring.published_seq),
            "delivered": ring.delivered_seq,
            "free": (ring.free_entries, ring.free_slots, ring.free_small_slots),
            "closed": (ring.input_closed, ring.output_closed),
            "slots": [ring.slot_of[seq % ring.nentries] for seq in live],
            "processed": [self.seen_entry(seq) for seq in range(live.start, ring.processed_seq)],
            "unprocessed": [
                (self.name_of(ring.owner(s)), bytes(ring.view(s))) for s in unprocessed
            ],
            "rows": [{name: getattr(row, name) for name in _COUNTS + _FLAGS} for row in self.rows],
            "works": [
                (row.work.plain is None, row.work.broken, row.work.abandoned, row.work.done)
                for row in self.rows
            ],
            "plane": (plane.served, plane.is_closed, plane.framed_reads),
            "batches": (plane.batches, plane.largest_batch),
            "signal": (self.signal.awaited, self.signal.requests, self.posts),
        }

    # -- calls -----------------------------------------------------------------------------

    def do_connect(self, number: int, tcp: bool, framed: bool, kernel: int, views: bool) -> None:
        """Open a connection at a number, in the place of the one that is there."""
        self.do_close(number)
        processor: Any = ByContent()
        most_bytes = 5
        is_function = kernel == FUNCTION
        kernel = 0 if is_function else kernel
        if is_function:
            processor = FunctionProcessor(by_content)
        elif kernel == Kernel.REVERSE:
            processor = PythonReverse()
        elif kernel > Kernel.REVERSE:
            processor = Frames(Kernel(kernel), most_bytes)
        work = plain_work_class(self.classes.Work)(processor)
        work.views_allowed = views
        work.use_kernel(Kernel(kernel), most_bytes)
        if is_function:
            work.use_function(by_content)
        row = self.classes.Row(work, is_framed=framed)
        self.rows.append(row)
        made = self.connections[number] = Connection(number, self, tcp, row, processor)
        self.plane.open(made.fd, row, made.near.recv_into, made.near.send)
        assert self.plane.row(made.fd) is row
        row.reads = row.sends = True

    def do_close(self, number: int) -> None:
        """Close a connection: its number is free then, and its entries are still there."""
        one = self.connections[number]
        self.connections[number] = None
        fd = _FIRST_FD + 2 * number + self.number
        served = self.plane.close(fd)
        if one is not None:
            one.close()
        assert served is (None if one is None else one.row)

    def do_peer(self, number: int, what: str, amount: int, data: bytes) -> Any:
        """Have a peer do something."""
        one = self.connections[number]
        if one is None:
            return None
        if what == "send":
            return one.send(data)
        if what == "read":
            return one.read(amount + 1)
        return one.end(what)

    def do_receive(self, events: list[tuple[int, int]], start: int, pause: bool) -> list[Any]:
        """Receive, and go on behind each exception; maybe `pause` the row that made one."""
        polled = [(_FIRST_FD + 2 * number + self.number, mask) for number, mask in events]
        said: list[Any] = []
        index = start
        while True:
            index, outcome = self.plane.receive(polled, index)
            if isinstance(outcome, OSError):
                said.append((index, type(outcome), outcome.errno, str(outcome)))
            else:
                assert outcome in (0, OTHER, OVER_QUOTA, RESERVE, END)
                said.append((index, outcome))
            if outcome == END:
                return said
            row = self.plane.row(polled[index][0])
            if pause and row is not None:
                row.reads = False
            index += 1

    def do_publish(self, which: int, kind: int, small: bool, data: bytes) -> Any:
        """Publish for a row, or for an owner that is none."""
        slot = self.ring.try_claim(small=small)
        if slot is None:
            return None
        owner: Any = self.rows[which % len(self.rows)] if self.rows and which < 40 else None
        if owner is None:
            owner = Foreign(plain_work_class(self.classes.Work)(ByContent()))
            self.owners.append(owner)
        data = data[: len(slot)]
        slot[: len(data)] = data
        self.ring.publish(owner, list(Kind)[kind], slot, len(data))
        if isinstance(owner, Foreign):
            return len(data)
        owner.in_flight_entries += 1
        owner.in_flight_bytes += len(data)
        return len(data)

    def do_answer(self, share: int) -> None:
        """Have a part of what is published answered, in quarters."""
        first, end = self.ring.processed_seq, self.ring.published_seq
        self.plane.answer(first + (end - first) * share // 4, self.signal, "pool", "share")

    def do_wait(self, stays: bool) -> Any:
        """Wait in vain or not, then have everything answered that was found.

        The native plane may have answered some, and requested less often than it might.
        """
        self.taken_seq = max(self.taken_seq, self.ring.processed_seq)
        found = self.plane.wait(self.taken_seq, self.parker, self.signal, 0.0, stays)
        self.taken_seq = found[0]
        self.plane.answer(found[0], self.signal, "pool", "share")
        self.signal.request()
        return found

    def do_finish(self, attached: bool, result: int, fields: tuple[int, ...]) -> None:
        """Hand an entry back as a worker does that has looked at it by itself."""
        ring = self.ring
        seq = ring.processed_seq
        if seq == ring.published_seq:
            return
        view = ring.view(seq)
        results = (
            None,
            bytes(view),
            view,
            view[: len(view) // 2],
            b"",
            b"longer" * 9,
            (b"a", view),
        )
        entry = ring.entry(seq) if attached else None
        kind = ring.returned(seq)[1]
        if entry is None and kind is Kind.DATA and type(results[result]) is not tuple:
            ring.mark_processed(results[result])
            return
        entry = ring.entry(seq)
        partial_frame_bytes, frame_seq, calls, nbytes, error = fields
        entry.partial_frame_bytes, entry.frame_seq = partial_frame_bytes, frame_seq
        entry.calls = calls * 100
        entry.nbytes = min(entry.nbytes, nbytes)
        entry.error = KeyError(error) if error == 1 else None
        entry.surplus_bytes = int(error == 2)
        entry.result = results[result]
        ring.mark_processed()

    def do_deliver(self, share: int, settles: bool) -> list[Any]:
        """Deliver a part of what is processed; do what is left of exceptions, maybe."""
        ring = self.ring
        end = ring.delivered_seq + (ring.processed_seq - ring.delivered_seq) * share // 3
        said: list[Any] = []
        while True:
            outcome = self.plane.deliver(end)
            said.append((outcome, ring.delivered_seq))
            if outcome == END:
                return said
            assert outcome >= 0 or outcome in (OTHER, SENT, CREDIT)
            owner, _, nbytes, report = ring.returned(ring.delivered_seq - 1)
            if isinstance(owner, Foreign):
                continue
            if outcome == CREDIT:
                owner.waits_for_credit = False
            elif settles:
                owner.in_flight_entries -= 1
                owner.in_flight_bytes -= nbytes
                if report is not None:
                    owner.partial_frame_bytes = report.partial_frame_bytes

    def do_release(self, nentries: int, delivered: bool) -> None:
        """Release what is delivered, or any number, even one that cannot be."""
        ring = self.ring
        ring.release(ring.delivered_seq - ring.released_seq if delivered else nentries)

    def do_row(self, which: int, name: str, amount: int) -> None:
        """Write a field of a row."""
        if not self.rows:
            return
        row = self.rows[which % len(self.rows)]
        is_open = any(one is not None and one.row is row for one in self.connections)
        if name in _FLAGS:
            # Of a row that is not served the one in Python has no socket.
            setattr(row, name, bool(amount % 2) and (is_open or name not in ("reads", "sends")))
        else:
            setattr(row, name, max(amount, int(name == "read_bytes")))  # nobody reads nothing

    def do_resume(self) -> None:
        """Let every row that is served receive and send again."""
        for one in self.connections:
            if one is not None:
                one.row.reads = one.row.sends = True
                one.row.waits_for_slot = one.row.waits_for_credit = False
                one.row.reserved_bytes = 0

    def do_entry(self, ahead: int) -> Any:
        """Look at a delivered entry as an object, which attaches it."""
        seq = self.ring.released_seq + ahead
        if seq >= self.ring.delivered_seq:
            return None
        was_attached = self.ring.returned(seq)[3] is not None
        entry = self.ring.entry(seq)
        if not was_attached:  # what another lane has left there
            entry.partial_frame_bytes = entry.frame_seq = 0
        assert self.ring.entry(seq) is entry
        result = (
            entry.result if type(entry.result) is tuple else entry.result and bytes(entry.result)
        )
        return self.name_of(entry.owner), entry.kind, entry.nbytes, result or None

    def do_work(self, which: int, what: str) -> None:
        """Write a field of a work."""
        if not self.rows:
            return
        work = self.rows[which % len(self.rows)].work
        if what == "plain":
            work.plain = ByContent()
        elif what == "not plain":
            work.plain = None
        else:
            work.abandoned = not work.abandoned

    def do_signal(self, what: str) -> Any:
        """Call a method of the signal, or close something."""
        if what == "closed":
            self.plane.is_closed = not self.plane.is_closed
        elif what == "framed":
            self.plane.framed_reads = not self.plane.framed_reads
        elif what == "input":
            self.ring.close_input()
        else:
            return getattr(self.signal, what)()
        return None


class Twins:
    """Both, and each call on both of them."""

    def __init__(self, native: SimpleNamespace, sizes: dict[str, int]) -> None:
        self.both = (Twin(0, PYTHON_PLANE, sizes), Twin(1, native, sizes))
        self.calls: list[Any] = []

    def close(self) -> None:
        """Close all connections."""
        for twin in self.both:
            twin.close()

    def do(self, what: str, *args: Any) -> Any:
        """Make a call on both, compare, and return what was said."""
        said: list[Any] = []
        for twin in self.both:
            try:
                said.append(getattr(twin, f"do_{what}")(*args))
            except AssertionError:
                raise
            except Exception as error:
                said.append((type(error), str(error)))
        self.calls.append((what, *args, said[0]))
        first, second = (
            {"said": one, **twin.seen()} for one, twin in zip(said, self.both, strict=True)
        )
        if first != second:
            differ = [
                f"{name}: {first[name]} and {second[name]}"
                for name in first
                if first[name] != second[name]
            ]
            calls = "\n".join(map(str, self.calls))
            raise AssertionError("\n".join([calls, "in Python, and natively:", *differ]))
        return said[0]
