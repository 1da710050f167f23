"""Types of options, with error messages that give the accepted forms."""

import os
import re
from typing import TYPE_CHECKING, Any

import click

from asyncrev.command.units import format_bytes, format_seconds, parse_bytes, parse_seconds
from asyncrev.limits import MOST_C_INT

__all__ = [
    "ALPN",
    "BYTES",
    "CONFIG_PATH",
    "DESCRIPTOR",
    "FILE_MODE",
    "NETWORKS",
    "NOT_NEGATIVE_BYTES",
    "PATHS",
    "SECONDS",
    "WORKERS",
    "IntegerRange",
    "converted",
    "refusal_of_number",
    "takes_booleans",
    "takes_lists",
    "written",
]

MOST_WORKERS = 512

if TYPE_CHECKING:
    _AnyType = click.ParamType[int | str]
    _IntType = click.ParamType[int]
    _FloatType = click.ParamType[float]
    _StrType = click.ParamType[str]
    _TupleType = click.ParamType[tuple[str, ...]]
else:  # not generic before click 8.4
    _AnyType = _IntType = _FloatType = _StrType = _TupleType = click.ParamType


# What Kubernetes puts into ASYNCREV_PORT beside a Service named asyncrev, instead of a port
# (https://kubernetes.io/docs/concepts/services-networking/service/).
_SERVICE_LINK = re.compile("(tcp|udp|sctp)://")
_SERVICE_HINT = (
    "; Kubernetes sets it for a Service of that name: put enableServiceLinks: false into the "
    "pod's spec, or give the option on the command line"
)


class IntegerRange(click.IntRange):
    """A whole number in a range. click's own calls other texts "not a valid integer range"."""

    name = "integer"

    def convert(
        self, value: Any, param: click.Parameter | None, context: click.Context | None
    ) -> int:
        try:
            int(value)
        except ValueError:
            allowed = f"{self.min} or more" if self.max is None else f"{self.min} to {self.max}"
            hint = _SERVICE_HINT if _SERVICE_LINK.match(str(value)) else ""
            self.fail(f"{value!r} is not a whole number; give {allowed}{hint}", param, context)
        return super().convert(value, param, context)


class _Bytes(_IntType):
    """A number of bytes, with or without a unit."""

    name = "bytes"

    def convert(
        self, value: Any, param: click.Parameter | None, context: click.Context | None
    ) -> int:
        if isinstance(value, int):
            return value
        try:
            return parse_bytes(value)
        except ValueError as error:
            self.fail(str(error), param, context)


class _NotNegativeBytes(_Bytes):
    """A number of bytes whose range starts at 0."""

    def convert(
        self, value: Any, param: click.Parameter | None, context: click.Context | None
    ) -> int:
        nbytes = super().convert(value, param, context)
        if nbytes < 0:
            self.fail(f"{value!r} is negative; give 0 or more bytes", param, context)
        return nbytes


class _Seconds(_FloatType):
    """A time, with or without a unit."""

    name = "seconds"

    def convert(
        self, value: Any, param: click.Parameter | None, context: click.Context | None
    ) -> float:
        if isinstance(value, float):
            return value
        try:
            return parse_seconds(value)
        except ValueError as error:
            self.fail(str(error), param, context)


class _FileMode(_IntType):
    """The mode of a file, in octal as chmod(1) takes it."""

    name = "mode"

    def convert(
        self, value: Any, param: click.Parameter | None, context: click.Context | None
    ) -> int:
        if isinstance(value, int):
            return value
        text = value.strip()
        if not re.fullmatch(r"(0o?)?[0-7]{1,3}", text):
            self.fail(
                f"{value!r} is not the mode of a file; give it in octal, as 0600", param, context
            )
        return int(text.removeprefix("0o"), 8)


class _Descriptor(_AnyType):
    """A descriptor, by its number or by the name that systemd gives it."""

    name = "descriptor"

    def convert(
        self, value: Any, param: click.Parameter | None, context: click.Context | None
    ) -> int | str:
        text = str(value).strip()
        if re.fullmatch(r"[-+]?\d+", text):
            return IntegerRange(0, MOST_C_INT).convert(text, param, context)
        # systemd.socket(5): FileDescriptorName= is ASCII without control characters and colons.
        if not re.fullmatch(r"[ -9;-~]{1,255}", text):
            self.fail(
                f"{value!r} is neither the number nor the name of a descriptor; give a number of 0 "
                "or more, or the FileDescriptorName= of a socket unit",
                param,
                context,
            )
        return text


class _Workers(_AnyType):
    """A number of processes, or auto."""

    name = "workers"

    def convert(
        self, value: Any, param: click.Parameter | None, context: click.Context | None
    ) -> int | str:
        text = str(value).strip()
        if text == "auto":
            return text
        if not re.fullmatch(r"[-+]?\d+", text):
            self.fail(f"{value!r} is no number of workers; give 1 or more, or auto", param, context)
        return IntegerRange(1, MOST_WORKERS).convert(text, param, context)


class _Paths(_StrType):
    """The path of a file, for options that can be repeated. A variable has several as PATH has."""

    name = "path"
    envvar_list_splitter = os.pathsep

    def convert(
        self, value: Any, param: click.Parameter | None, context: click.Context | None
    ) -> str:
        return str(value)


class _ConfigPath(_StrType):
    """The path of the configuration file: absolute, as a processor may change the directory."""

    name = "path"

    def convert(
        self, value: Any, param: click.Parameter | None, context: click.Context | None
    ) -> str:
        try:
            return os.path.abspath(str(value))
        except FileNotFoundError:  # the current directory was removed
            return str(value)


class _Networks(_Paths):
    """Addresses and networks, checked where they are used; several have commas between them."""

    name = "networks"
    envvar_list_splitter = ","


_MOST_ALPN_BYTES = 255  # of one name; their length is one byte (RFC 7301, 3.1)
_MOST_ALPN_LIST_BYTES = 65535  # of all of them, each with its length; that is two bytes there


class _Alpn(_TupleType):
    """Names of protocols in the order of preference."""

    name = "protocols"

    def convert(
        self, value: Any, param: click.Parameter | None, context: click.Context | None
    ) -> tuple[str, ...]:
        if isinstance(value, tuple):
            return value
        names = tuple(name.strip() for name in value.split(","))
        for name in names:
            nbytes = len(os.fsencode(name))
            if not name.isascii() or not 1 <= nbytes <= _MOST_ALPN_BYTES:
                self.fail(
                    f"{name!r} ({nbytes} bytes) is not the name of a protocol; give names of 1 to "
                    f"{_MOST_ALPN_BYTES} ASCII characters with commas between them, as h2,http/1.1",
                    param,
                    context,
                )
        nbytes = sum(1 + len(name) for name in names)
        if nbytes > _MOST_ALPN_LIST_BYTES:
            self.fail(
                f"{len(names)} names take {nbytes} bytes; at most {_MOST_ALPN_LIST_BYTES} can be "
                "given",
                param,
                context,
            )
        return names


BYTES = _Bytes()
NOT_NEGATIVE_BYTES = _NotNegativeBytes()
SECONDS = _Seconds()
FILE_MODE = _FileMode()
DESCRIPTOR = _Descriptor()
NETWORKS = _Networks()
PATHS = _Paths()
CONFIG_PATH = _ConfigPath()
ALPN = _Alpn()
WORKERS = _Workers()


# -- values of a configuration file ----------------------------------------------------------------


def converted(kind: "click.ParamType[Any]", text: str) -> Any:
    """Return the value that `text` stands for, with the checks that a flag's text gets.

    Raises:
        ValueError: it stands for none; the message has the accepted forms.
    """
    try:
        return kind.convert(text, None, None)
    except click.BadParameter as error:
        raise ValueError(error.message) from None


def written(kind: "click.ParamType[Any]", value: Any) -> str:
    """Return a short text for which `converted` gives `value`: 256KiB, 5m, 0600."""
    if isinstance(kind, _Bytes):
        return format_bytes(value)
    if isinstance(kind, _Seconds):
        return format_seconds(value)
    if isinstance(kind, _FileMode):
        return f"{value:04o}"
    return ",".join(value) if isinstance(kind, _Alpn) else str(value)


def takes_booleans(kind: "click.ParamType[Any]") -> bool:
    """Return whether true and false are values of that type."""
    return isinstance(kind, type(click.BOOL))


def takes_lists(kind: "click.ParamType[Any]") -> bool:
    """Return whether a value of that type is a list, as a text with commas."""
    return isinstance(kind, _Alpn)


def refusal_of_number(kind: "click.ParamType[Any]") -> str:
    """Return why a number cannot stand for a value of that type, or "" if it can."""
    if isinstance(kind, _FileMode):  # 600 and 0o600 would be the same to whoever reads them
        return 'a mode is octal; give it as text, as "0600"'
    return ""
