"""The lines on which tables and keys of a TOML document begin, which tomllib does not report.

The scan is for documents that tomllib has accepted. It looks at structure alone and checks nothing.
"""

import re

__all__ = ["lines_of"]

_BLANK = re.compile(r"(?:[ \t\n]+|#[^\n]*)*")  # before a statement, and between parts of an array
_SPACE = re.compile(r"[ \t]*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
# Up to the next bracket, comma, quote or comment of a value.
_PLAIN = re.compile(r"""[^\[\]{},"'#\n]*""")
_STRINGS = (
    # The longer delimiters first. Up to two quotes may precede those that end a long string.
    re.compile(r'"""(?:[^"\\]|\\.|"{1,2}(?!"))*"{3,5}', re.DOTALL),
    re.compile(r"'''(?:[^']|'{1,2}(?!'))*'{3,5}"),
    re.compile(r'"(?:[^"\\\n]|\\.)*"'),
    re.compile(r"'[^'\n]*'"),
)
_DEPTH = 2  # a table and its key; what is below belongs to the value of the key

Path = tuple[str, ...]


def lines_of(text: str) -> dict[Path, int]:
    """Return the line, from 1, on which each table and each key of a table is first named.

    Paths have one or two parts: ("serve",), ("serve", "port"). `text` is what tomllib accepts; of
    another text some lines are missing or wrong, but no error is raised.
    """
    scan = _Scan(text.replace("\r\n", "\n"))
    try:
        scan.document()
    except _Lost:
        pass
    return scan.lines


class _Lost(Exception):
    """The text is not what tomllib accepts."""


class _Scan:
    """One pass over a document."""

    def __init__(self, text: str) -> None:
        self.lines: dict[Path, int] = {}
        self._text = text
        self._at = 0
        self._counted_to = 0
        self._lines_before = 0

    def document(self) -> None:
        """Scan statements to the end: headers of tables, and keys with values."""
        header: Path = ()
        while True:
            self._skip(_BLANK)
            if self._at == len(self._text):
                return
            if self._takes("["):
                self._takes("[")
                header = self._key(())
                self._takes("]")
                self._takes("]")
            else:
                self._assignment(header)

    def _assignment(self, prefix: Path) -> None:
        path = self._key(prefix)
        self._expect("=")
        self._skip(_SPACE)
        if len(path) < _DEPTH and self._takes("{"):
            self._inline_table(path)
        else:
            self._value()

    def _inline_table(self, prefix: Path) -> None:
        """Scan the rest of an inline table whose keys count."""
        while True:
            self._skip(_BLANK)
            if self._takes("}"):
                return
            self._assignment(prefix)
            self._skip(_BLANK)
            self._takes(",")

    def _value(self) -> None:
        """Skip a value, up to the line's end, or the comma or bracket of what it is in."""
        depth = 0
        while self._at < len(self._text):
            self._skip(_BLANK if depth else _PLAIN)
            rest = self._text[self._at : self._at + 1]
            if rest and rest in "[{":
                depth += 1
                self._at += 1
            elif not depth and rest in ("", "\n", "#", ",", "]", "}"):
                return
            elif rest in ("]", "}"):
                depth -= 1
                self._at += 1
            elif rest == ",":
                self._at += 1
            elif not self._string() and not self._skip(_PLAIN):
                raise _Lost

    def _key(self, prefix: Path) -> Path:
        """Scan a key with its dots; note the line of each part that has none yet."""
        path = prefix
        while True:
            self._skip(_SPACE)
            line = self._line()
            path = (*path, self._part())
            if len(path) <= _DEPTH:
                self.lines.setdefault(path, line)
            self._skip(_SPACE)
            if not self._takes("."):
                return path

    def _line(self) -> int:
        self._lines_before += self._text.count("\n", self._counted_to, self._at)
        self._counted_to = self._at
        return self._lines_before + 1

    def _part(self) -> str:
        start = self._at
        if self._skip(_BARE_KEY):
            return self._text[start : self._at]
        if not self._string():
            raise _Lost
        import tomllib  # which knows all escapes

        try:
            part: str = tomllib.loads(f"x = {self._text[start : self._at]}")["x"]
        except ValueError:
            raise _Lost from None
        return part

    def _string(self) -> bool:
        """Skip a string, if one is here."""
        return any(self._skip(pattern) for pattern in _STRINGS)

    def _skip(self, pattern: re.Pattern[str]) -> bool:
        """Skip what matches here; return whether that was anything."""
        match = pattern.match(self._text, self._at)
        if match is None or not match[0]:
            return False
        self._at = match.end()
        return True

    def _takes(self, character: str) -> bool:
        found = self._text.startswith(character, self._at)
        self._at += found
        return found

    def _expect(self, character: str) -> None:
        if not self._takes(character):
            raise _Lost
