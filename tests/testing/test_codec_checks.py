"""codec_checks: codecs that agree with the framing pass, and those that disagree are found."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import strategies as st

from asyncrev.errors import SettingsError
from asyncrev.testing.codec_checks import check_framing
from asyncrev.testing.strategies import wire_frame


class LineDecoder:
    """A decoder of lines that is right."""

    def __init__(self) -> None:
        self.rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Return whole lines."""
        *lines, self.rest = (self.rest + data).split(b"\n")
        return [line.removesuffix(b"\r") for line in lines]


class PrefixDecoder:
    """A decoder of frames with a length of 4 bytes that is right."""

    def __init__(self) -> None:
        self.rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Return whole frames."""
        self.rest += data
        found = []
        while len(self.rest) >= 4:
            end_off = 4 + int.from_bytes(self.rest[:4], "big")
            if len(self.rest) < end_off:
                break
            found.append(self.rest[4:end_off])
            self.rest = self.rest[end_off:]
        return found


class Forgetful:
    """A decoder that takes every receive for whole lines."""

    def feed(self, data: bytes) -> list[bytes]:
        """Return lines, whole or not."""
        return data.splitlines()


class Failing:
    """A decoder that cannot take one byte alone."""

    def feed(self, data: bytes) -> list[bytes]:
        """Raise."""
        raise IndexError(len(data))


def line(payload: bytes) -> bytes:
    """Encode a line."""
    return payload + b"\r\n"


def ascii_line(payload: bytes) -> bytes:
    """Encode a line, if it is ASCII."""
    return line(payload.decode("ascii").encode())


def test_codecs_that_agree_with_the_framing_are_good() -> None:
    """Lines with either end, and frames with a length."""
    check_framing("line", encode=line, decode=LineDecoder, max_examples=60)
    check_framing("line", encode=lambda payload: payload + b"\n", decode=LineDecoder)
    check_framing("len32", encode=lambda p: len(p).to_bytes(4, "big") + p, decode=PrefixDecoder)


@pytest.mark.parametrize(
    ("encode", "decode", "says"),
    [
        (lambda payload: payload, LineDecoder, r"encode\(\) made is not what line framing reads"),
        (lambda payload: line(payload[:-1]), LineDecoder, "expected"),
        (ascii_line, LineDecoder, r"encode\(.*raised UnicodeDecode"),
        (lambda payload: 3, LineDecoder, r"encode\(.*raised TypeError"),
        (line, Forgetful, "decoder does not read replies of line framing"),
        (line, Failing, r"feed\(.*raised IndexError"),
        (line, lambda: 1 // 0, r"decode\(\) raised ZeroDivisionError"),
    ],
    ids=[
        "no-end",
        "shortens",
        "encode-raises",
        "no-bytes",
        "forgets",
        "feed-raises",
        "decode-raises",
    ],
)
def test_codec_that_disagrees_is_found(
    encode: Callable[[bytes], Any], decode: Callable[[], Any], says: str
) -> None:
    """What it made of which payload, in which pieces."""
    with pytest.raises(AssertionError, match=says):
        check_framing("line", encode=encode, decode=decode)


def test_codec_is_asked_for_the_payloads_that_are_given() -> None:
    """A codec for short payloads is checked with such."""

    def encode(payload: bytes) -> bytes:
        assert len(payload) == 1
        return wire_frame("len32", payload)

    check_framing(
        "len32",
        encode=encode,
        decode=PrefixDecoder,
        payloads=st.binary(min_size=1, max_size=1),
        max_examples=30,
    )
    with pytest.raises(SettingsError, match="raw"):
        check_framing("raw", encode=bytes, decode=LineDecoder)
