"""Types of options of the command line, each with the forms that it takes in its messages."""

import re
from typing import TYPE_CHECKING, Any

import click

__all__ = ["FILE_MODE"]

if TYPE_CHECKING:
    WholeNumberType = click.ParamType[int]
else:  # click before 8.4 has no such generic
    WholeNumberType = click.ParamType


class _FileMode(WholeNumberType):
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


FILE_MODE = _FileMode()
