"""Types of options, with error messages that give the accepted forms."""

import re
from typing import TYPE_CHECKING, Any

import click

from asyncrev.command.units import parse_bytes, parse_seconds

__all__ = ["BYTES", "FILE_MODE", "NOT_NEGATIVE_BYTES", "SECONDS"]

if TYPE_CHECKING:
    _IntType = click.ParamType[int]
    _FloatType = click.ParamType[float]
else:  # not generic before click 8.4
    _IntType = _FloatType = click.ParamType


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


BYTES = _Bytes()
NOT_NEGATIVE_BYTES = _NotNegativeBytes()
SECONDS = _Seconds()
FILE_MODE = _FileMode()
