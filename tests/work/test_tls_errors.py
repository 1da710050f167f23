"""tls_work: what a peer does wrong ends its lane in words, behind the replies to what was right."""

import gc
import re
import ssl
import weakref
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncrev.connection_info import ConnectionInfo
from asyncrev.errors import FrameTooLarge, TlsCertificateRefused, TlsError, TlsHandshakeFailed
from asyncrev.ring.ring import CLOSE, DATA, EOF, RESUME
from asyncrev.work.client_hello import ClientHello
from asyncrev.work.make_work import make_work
from asyncrev.work.tls_parameters import TlsParameters
from tests.lane_bench import Recorder
from tests.tls_forger import forging
from tests.tls_pair import (
    ALERT,
    APPLICATION_DATA,
    CHANGE_CIPHER_SPEC,
    HANDSHAKE,
    HEARTBEAT,
    VERSIONS,
    Bench,
    Peer,
    authority,
    client_context,
    record,
    records,
    server_context,
)

versions = pytest.mark.parametrize("version", sorted(VERSIONS))
sides = pytest.mark.parametrize("client", [False, True], ids=["server", "client"])

CLOSE_NOTIFY, HANDSHAKE_FAILURE, USER_CANCELED = b"\x01\x00", b"\x02\x28", b"\x01\x5a"
HELLO_REQUEST = b"\x00\x00\x00\x00"
KEY_UPDATE = b"\x18\x00\x00\x01"


def says(error: BaseException | None, text: str) -> bool:
    """Return whether `error` says `text`; of records OpenSSL 3.2 and later say the same of all."""
    return str(error).endswith((f": {text}", ": record layer failure"))


def is_readable(error: BaseException | None) -> bool:
    """Return whether what is said is for people: no names of OpenSSL's, no file of CPython's."""
    text = str(error)
    return bool(text) and "_" not in text and ".c:" not in text and "None" not in text


# -- records ---------------------------------------------------------------------------------------


@given(
    st.sampled_from(sorted(VERSIONS)),
    st.booleans(),
    st.lists(st.binary(min_size=1, max_size=40), max_size=6),
    st.data(),
)
def test_replies_before_a_bad_record_come_and_then_the_alert(
    version: str, client: bool, good: list[bytes], data: st.DataObject
) -> None:
    """All in one chunk. OpenSSL cannot encrypt them once it has seen the bad one."""
    bench = Bench(Recorder, version=version, client=client).shake_hands()
    wire = b"".join(map(bench.peer.write, good))
    bad = bytearray(bench.peer.write(b"bad"))
    off = data.draw(st.integers(5, len(bad) - 1))
    bad[off] ^= 1 << data.draw(st.integers(0, 7))
    entry = bench.do(DATA, wire + bytes(bad) + bench.peer.write(b"behind it"))
    assert type(entry.error) is TlsError
    assert says(entry.error, "decryption failed or bad record mac")
    assert is_readable(entry.error)
    assert (entry.ended, bench.in_flight_bytes) == (False, 0)
    bench.tell()
    assert bench.peer.received == b"".join(good)
    assert "bad record mac" in str(bench.peer.error)
    assert not bench.peer.ended


UNEXPECTED = {
    "heartbeat": (HEARTBEAT, b"\x01\x00\x01x"),
    "unknown type": (99, b"x"),
    "late change of the cipher": (CHANGE_CIPHER_SPEC, b"\x01"),
    "half an alert": (ALERT, b"\x01"),
    "unknown handshake message": (HANDSHAKE, b"\xf0\x00\x00\x00"),
}


@versions
@sides
@pytest.mark.parametrize("name", UNEXPECTED)
def test_record_that_nobody_expects_ends_the_lane(version: str, client: bool, name: str) -> None:
    """After the reply to the record before it."""
    forger = forging(Recorder, version, client=client)
    wire = forger.record(APPLICATION_DATA, b"good") + forger.record(*UNEXPECTED[name])
    entry = forger.bench.do(DATA, wire + forger.record(APPLICATION_DATA, b"behind it"))
    assert type(entry.error) is TlsError
    assert is_readable(entry.error)
    forger.bench.tell()
    assert forger.bench.peer.received == b"good"
    assert "alert" in str(forger.bench.peer.error)


@versions
@sides
def test_plain_text_within_tls_ends_the_lane(version: str, client: bool) -> None:
    """However long it is, and whatever its header would say."""
    for text in (b"GET / HTTP/1.1\r\n\r\n", b"\x17\x03\x03\xff\xff" + bytes(100_000), bytes(5)):
        bench = Bench(Recorder, version=version, client=client).shake_hands()
        entry = bench.do(DATA, bench.peer.write(b"good") + text)
        assert type(entry.error) is TlsError
        assert is_readable(entry.error)
        bench.tell()
        assert bench.peer.received == b"good"


@versions
@sides
def test_warning_is_passed_over_and_a_fatal_alert_is_not(version: str, client: bool) -> None:
    """A peer that says it is fatal has not asked for an answer."""
    forger = forging(Recorder, version, client=client)
    bench = forger.bench
    wire = forger.record(ALERT, USER_CANCELED) + forger.record(APPLICATION_DATA, b"a")
    assert bench.do(DATA, wire).error is None
    bench.tell()
    assert bench.peer.received == b"a"
    entry = bench.do(DATA, forger.record(ALERT, HANDSHAKE_FAILURE))
    assert type(entry.error) is TlsError
    assert str(entry.error) == "TLS: sslv3 alert handshake failure"


@versions
@sides
def test_warnings_without_end_are_an_error(version: str, client: bool) -> None:
    """Five running are OpenSSL's limit; they cost the peer little."""
    forger = forging(Recorder, version, client=client)
    wire = b"".join(forger.record(ALERT, USER_CANCELED) for _ in range(6))
    entry = forger.bench.do(DATA, wire)
    assert type(entry.error) is TlsError
    assert is_readable(entry.error)


@versions
@sides
def test_close_notify_by_hand_is_the_end(version: str, client: bool) -> None:
    """The forger's records are what OpenSSL takes them for."""
    forger = forging(Recorder, version, client=client)
    entry = forger.bench.do(DATA, forger.record(ALERT, CLOSE_NOTIFY))
    assert (entry.kind, entry.ended, entry.error) == (EOF, True, None)


@sides
@pytest.mark.parametrize("asks", [b"\x00", b"\x01"])
def test_key_update_is_answered_if_asked_for_and_data_goes_on(client: bool, asks: bytes) -> None:
    """RFC 8446, 4.6.3; OpenSSL answers before its next data."""
    forger = forging(Recorder, "1.3", client=client)
    bench = forger.bench
    assert bench.do(DATA, forger.record(HANDSHAKE, KEY_UPDATE + asks)).error is None
    forger.update_key()
    bench.do(DATA, forger.record(APPLICATION_DATA, b"new key"))
    assert len(records(bench.wire)) == 1 + (asks == b"\x01")
    bench.tell()
    assert bench.peer.received == b"new key"
    assert bench.peer.error is None


@sides
def test_key_updates_are_answered_with_no_more_than_they_cost(client: bool) -> None:
    """So the loop's pause of reading bounds what a peer that never reads can make us keep."""
    forger = forging(Recorder, "1.3", client=client)
    before_bytes = forger.bench.published_bytes
    for _ in range(100):
        entry = forger.bench.do(DATA, forger.record(HANDSHAKE, KEY_UPDATE + b"\x01"))
        forger.update_key()
        assert entry.error is None
    assert len(forger.bench.wire) <= forger.bench.published_bytes - before_bytes


def test_renegotiation_that_a_client_asks_for_is_refused() -> None:
    """With a warning; the connection goes on (RFC 5746, 4.5)."""
    recorder = Recorder()
    forger = forging(lambda: recorder, "1.2")
    hello = Peer(client_context("1.2")).take()[5:]
    for _ in range(3):
        assert forger.bench.do(DATA, forger.record(HANDSHAKE, hello)).error is None
    forger.bench.do(DATA, forger.record(APPLICATION_DATA, b"a"))
    wire = records(forger.bench.wire)
    assert [one[0] for one in wire] == [ALERT] * 3 + [APPLICATION_DATA]
    assert recorder.calls == [b"a"]


def test_renegotiation_that_a_server_begins_ends_the_lane_in_words() -> None:
    """OpenSSL begins, and could write nothing before it is complete."""
    forger = forging(Recorder, "1.2", client=True)
    forger.bench.do(DATA, forger.record(HANDSHAKE, HELLO_REQUEST))
    entry = forger.bench.do(DATA, forger.record(APPLICATION_DATA, b"a"))
    assert type(entry.error) is TlsError
    assert str(entry.error) == "TLS: the peer began a renegotiation, which is not supported"


# -- handshakes ------------------------------------------------------------------------------------


NO_TLS = {
    "http": (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "http request"),
    "ssh": (b"SSH-2.0-OpenSSH_9.2\r\n", "wrong version number"),
    "zeros": (bytes(300_000), "wrong version number"),
    "letters": (b"hello", "wrong version number"),
    "an SSLv2 hello": (b"\x80\x2e\x01\x03\x01" + bytes(60), "record length mismatch"),
    "nonsense in a record": (record(HANDSHAKE, bytes(50)), "unexpected message"),
    "data": (record(APPLICATION_DATA, bytes(50)), "unexpected message"),
    "a heartbeat": (record(HEARTBEAT, b"\x01\x00\x01x"), "unexpected message"),
    "an alert": (record(ALERT, HANDSHAKE_FAILURE), "unexpected message"),
    "a record too long": (record(HANDSHAKE, bytes(20_000)), "packet length too long"),
}


@versions
@pytest.mark.parametrize("name", NO_TLS)
def test_what_is_no_tls_is_a_failed_handshake_in_words(version: str, name: str) -> None:
    """Byte by byte too, and never more than one failure; an alert where OpenSSL has one."""
    wire, said = NO_TLS[name]
    for chunks in ([wire], [wire[:3], wire[3:]], [bytes([byte]) for byte in wire[:400]]):
        bench = Bench(Recorder, version=version)
        bench.feed(chunks)
        assert type(bench.error) is TlsHandshakeFailed
        assert is_readable(bench.error)
        if len(chunks) == 1:
            assert says(bench.error, said)
        assert not bench.wire or records(bench.wire)[0][0] == ALERT
        assert bench.in_flight_bytes == 0
        assert not bench.ends


def failed_handshake(bench: Bench) -> Bench:
    """Go on with the handshake of `bench` until one side has failed, or nothing more is said."""
    wire = bench.start()
    while wire and bench.error is None:
        bench.do(DATA, wire)
        wire = bench.tell()
    return bench


CASES: dict[str, tuple[dict[str, Any], str, str]] = {
    "an older version": (
        {"version": "1.3", "peer_context": lambda: client_context("1.2")},
        "unsupported protocol",
        "alert protocol version",
    ),
    "a newer version": (
        {"version": "1.2", "peer_context": lambda: client_context("1.3")},
        "unsupported protocol",
        "alert protocol version",
    ),
    "no common cipher": (
        {
            "version": "1.2",
            "peer_context": lambda: client_context("1.2", ciphers="ECDHE-RSA-AES128-GCM-SHA256"),
        },
        "no shared cipher",
        "alert handshake failure",
    ),
    "no certificate": (
        {"context": lambda: server_context(asks_for="clients")},
        "peer did not return a certificate",
        "alert certificate required",
    ),
    "no certificate in TLS 1.2": (
        {"version": "1.2", "context": lambda: server_context("1.2", asks_for="clients")},
        "peer did not return a certificate",
        "alert handshake failure",
    ),
    "a certificate of another authority": (
        {
            "context": lambda: server_context(asks_for="clients"),
            "peer_context": lambda: client_context(has_of="others"),
        },
        "unable to get local issuer certificate",
        "alert unknown ca",
    ),
    "an expired certificate": (
        {
            "context": lambda: server_context(asks_for="clients"),
            "peer_context": lambda: client_context(has_of="clients", expired=True),
        },
        "certificate has expired",
        "alert certificate expired",
    ),
    "a server of another authority": (
        {"client": True, "context": lambda: client_context(trusts="others")},
        "unable to get local issuer certificate",
        "alert unknown ca",
    ),
    "a server that is older": (
        {"client": True, "version": "1.3", "peer_context": lambda: server_context("1.2")},
        "tlsv1 alert protocol version",
        "",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_handshake_that_cannot_be_done_fails_in_words_on_both_sides(name: str) -> None:
    """The peer gets the alert that says why."""
    options, said, alert = CASES[name]
    made = {key: value() if callable(value) else value for key, value in options.items()}
    bench = failed_handshake(Bench(Recorder, **made))
    of_certificate = "certificate" in name or name == "a server of another authority"
    assert type(bench.error) is (TlsCertificateRefused if of_certificate else TlsHandshakeFailed)
    assert str(bench.error) == f"TLS handshake failed: {said}"
    assert alert in str(bench.peer.error).replace("_", " ")
    assert bench.in_flight_bytes == 0
    assert not bench.work.is_established
    assert not bench.ends


def test_client_with_the_certificate_asked_for_is_let_in() -> None:
    """So what the cases above lack is the certificate."""
    bench = Bench(
        Recorder,
        context=server_context(asks_for="clients"),
        peer_context=client_context(has_of="clients"),
    ).shake_hands()
    assert bench.exchange(b"abc") == b"abc"


def test_name_that_a_server_refuses_is_a_failed_handshake() -> None:
    """Its callback runs on the worker, and answers with an alert."""
    context = server_context.__wrapped__()
    names: list[str] = []

    def refuse(session: Any, name: str, _: ssl.SSLContext) -> int:
        names.append(name)
        return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME

    context.sni_callback = refuse
    bench = failed_handshake(Bench(Recorder, context=context))
    assert names == ["localhost"]
    assert type(bench.error) is TlsHandshakeFailed
    assert is_readable(bench.error)
    assert "unrecognized name" in str(bench.peer.error)


def test_wrong_name_is_said_as_it_is_written() -> None:
    """Lower case, or blanks for underscores, would be another name."""
    bench = Bench(Recorder, client=True)
    bench.work = make_work(  # type: ignore[assignment]
        Recorder, views_allowed=True, tls=TlsParameters(client_context(), "Other_Host")
    )
    failed_handshake(bench)
    assert type(bench.error) is TlsCertificateRefused
    assert "'Other_Host'" in str(bench.error)


@versions
def test_alert_within_the_handshake_is_said(version: str) -> None:
    """Also close_notify, which is no error to OpenSSL."""
    for alert, said in (
        (HANDSHAKE_FAILURE, "sslv3 alert handshake failure"),
        (CLOSE_NOTIFY, "the peer ended its stream within it"),
    ):
        bench = Bench(Recorder, version=version, client=True)
        bench.start()
        entry = bench.do(DATA, record(ALERT, alert))
        assert type(entry.error) is TlsHandshakeFailed
        assert str(entry.error) == f"TLS handshake failed: {said}"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_client_that_has_nothing_to_offer_fails_at_its_start_and_keeps_nothing() -> None:
    """It is found out when OpenSSL writes the hello."""
    context = client_context.__wrapped__("1.2")
    context.options |= ssl.OP_NO_TLSv1_2
    bench = Bench(Recorder, client=True, context=context)
    entry = bench.do(RESUME)
    assert type(entry.error) is TlsHandshakeFailed
    assert is_readable(entry.error)
    assert bench.work.broken
    assert bench.work._session is None


# -- the processor ---------------------------------------------------------------------------------


@versions
@sides
@pytest.mark.parametrize("name", ["raw", "len32"])
def test_replies_before_a_processors_error_come_and_then_close_notify(
    version: str, client: bool, name: str
) -> None:
    """In one chunk, in records of their own; the next is not looked at."""

    class Failing(Recorder):
        def process(self, chunk: memoryview) -> memoryview:
            if bytes(chunk) == b"bad":
                raise ValueError(bytes(chunk))
            return super().process(chunk)

    recorder = Failing()
    bench = Bench(lambda: recorder, framing=name, version=version, client=client).shake_hands()

    def wrapped(text: bytes) -> bytes:
        return text if name == "raw" else len(text).to_bytes(4, "big") + text

    texts = [b"one", b"two", b"bad", b"three"]
    wire = b"".join(bench.peer.write(wrapped(text)) for text in texts)
    entry = bench.do(DATA, wire)
    assert type(entry.error) is ValueError
    assert (entry.ended, bench.in_flight_bytes) == (False, 0)
    bench.tell()
    assert bench.peer.received == wrapped(b"one") + wrapped(b"two")
    assert bench.peer.ended
    assert recorder.calls == [b"one", b"two"]
    bench.do(CLOSE)
    assert recorder.calls[-1] == "close"


@sides
@pytest.mark.parametrize("name", ["raw", "len32"])
def test_failed_lane_over_tls_keeps_no_error(client: bool, name: str) -> None:
    """Nor OpenSSL, once its entry is released; see the test of the same for framed lanes."""

    class Refusal(Exception):
        """What the processor raises."""

    class Refusing(Recorder):
        def process(self, chunk: memoryview) -> memoryview:
            raise Refusal(bytes(chunk))

    bench = Bench(Refusing, framing=name, client=client).shake_hands()
    assert bench.work._session is not None
    session = weakref.ref(bench.work._session._ssl)
    gc.disable()
    try:
        entry = bench.do(DATA, bench.peer.write(b"\0\0\0\1a"))
        assert type(entry.error) is Refusal
        error = weakref.ref(entry.error)
        entry.error = bench.error = None
        assert error() is None
        assert session() is None
    finally:
        gc.enable()


@versions
@sides
def test_replies_before_a_frame_too_large_come_and_then_close_notify(
    version: str, client: bool
) -> None:
    """Also those to frames of the same record."""
    bench = Bench(Recorder, framing="line", version=version, client=client, max_frame_bytes=5)
    bench.shake_hands()
    wire = (
        bench.peer.write(b"one\n") + bench.peer.write(b"two\n123456") + bench.peer.write(b"\nx\n")
    )
    entry = bench.do(DATA, wire)
    assert type(entry.error) is FrameTooLarge
    assert entry.partial_frame_bytes == 0
    bench.tell()
    assert bench.peer.received == b"one\ntwo\n"
    assert bench.peer.ended


@versions
def test_error_at_the_end_of_input_comes_with_close_notify(version: str) -> None:
    """A frame that is not whole, say."""
    bench = Bench(Recorder, framing="len32", version=version).shake_hands()
    bench.do(DATA, bench.peer.write(b"\0\0\0\5ab"))
    entry = bench.do(DATA, bench.peer.close())
    assert re.search("Incomplete", type(entry.error).__name__)
    assert (entry.kind, entry.ended) == (EOF, False)
    bench.tell()
    assert bench.peer.ended


def test_lane_that_failed_drops_what_comes_and_credits_it() -> None:
    """The loop may have read more before it hears of the error."""
    bench = Bench(Recorder).shake_hands()
    bench.do(DATA, record(APPLICATION_DATA, bytes(40)))
    assert bench.error is not None
    bench.sent()
    for kind, data in ((DATA, b"more"), (RESUME, b""), (EOF, b"")):
        entry = bench.do(kind, data)
        assert (entry.result, entry.error, entry.nbytes) == (None, None, len(data))


def test_abandoned_lane_does_nothing_more() -> None:
    """Nobody wants its replies."""
    recorder = Recorder()
    bench = Bench(lambda: recorder).shake_hands()
    bench.work.abandoned = True
    wire = bench.peer.write(b"a")
    entry = bench.do(DATA, wire)
    assert (entry.result, entry.error, entry.nbytes) == (None, None, len(wire))
    assert not recorder.calls


@pytest.mark.parametrize(("method", "texts"), [("read", [b"a", b"b"]), ("read_record", [b"a"])])
def test_defect_within_the_layer_ends_its_lane_and_keeps_no_session(
    monkeypatch: pytest.MonkeyPatch, method: str, texts: list[bytes]
) -> None:
    """No memory, say; the worker goes on."""

    def fail(*_: Any) -> int:
        raise MemoryError

    bench = Bench(Recorder).shake_hands()
    monkeypatch.setattr(type(bench.work._session), method, fail)
    entry = bench.do(DATA, b"".join(bench.peer.write(text) for text in texts))
    assert type(entry.error) is MemoryError
    assert bench.work._session is None
    assert entry.partial_frame_bytes == 0


@pytest.mark.parametrize("has_callback", [True, False])
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_host_name_that_a_callback_cannot_get_fails_the_handshake_in_words(
    version: str, has_callback: bool
) -> None:
    """CPython would print a traceback of it; without a callback OpenSSL does not mind."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority("own").issue_cert("localhost").configure_cert(context)
    told: list[str | None] = []
    if has_callback:
        context.sni_callback = lambda session, name, of: told.append(name)
    bench = Bench(Recorder, version=version, context=context)
    # As the loop's protocol makes it; its name is read then.
    bench.work.info = ConnectionInfo()
    bench.work._hello = ClientHello()
    hello = bench.start().replace(b"localhost", b"l\xf6calhost")
    bench.do(DATA, hello)
    if has_callback:
        assert isinstance(bench.error, TlsHandshakeFailed)
        assert "not ASCII" in str(bench.error)
        bench.tell()
        assert "UNRECOGNIZED_NAME" in str(bench.peer.error)
        assert told == []
    else:
        assert bench.error is None
        assert bench.wire
