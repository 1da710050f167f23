"""config_document: a file is read as TOML, or one line says why not."""

import os
import pathlib

import pytest

from asyncrev.command.config_document import MOST_BYTES, parse_document, read_document
from asyncrev.errors import SettingsError


def refusal(path: pathlib.Path, content: bytes) -> str:
    """Return why a file with this content is refused."""
    path.write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        read_document(str(path))
    return str(caught.value)


def test_file_is_read_with_the_lines_of_its_keys(tmp_path: pathlib.Path) -> None:
    """A byte order mark at its start does no harm."""
    path = tmp_path / "a.toml"
    for mark in (b"", b"\xef\xbb\xbf"):
        path.write_bytes(mark + b"# first\r\n[serve]\r\nport = 1\r\n")
        document = read_document(str(path))
        assert document.data == {"serve": {"port": 1}}
        assert document.place("serve", "port") == f"{path}:3"
        assert document.place("serve") == f"{path}:2"
        assert document.place("serve", "host") == str(path)


def test_file_that_cannot_be_read_is_refused_by_name(tmp_path: pathlib.Path) -> None:
    """With the reason that the system gives."""
    for path, reason in (
        (tmp_path / "missing", "No such file or directory"),
        (tmp_path, "Is a directory"),
        (pathlib.Path("a\0b"), "embedded null byte"),
    ):
        with pytest.raises(SettingsError) as caught:
            read_document(str(path))
        assert str(caught.value) == f"--config {path}: {reason}"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_file_without_permission_is_refused(tmp_path: pathlib.Path) -> None:
    """As one that is missing."""
    path = tmp_path / "a.toml"
    path.touch(mode=0)
    with pytest.raises(SettingsError, match="Permission denied"):
        read_document(str(path))


def test_file_that_is_too_long_is_refused(tmp_path: pathlib.Path) -> None:
    """It would fill the memory."""
    said = refusal(tmp_path / "a.toml", b"#" * (MOST_BYTES + 1))
    assert f"more than {MOST_BYTES} bytes" in said


def test_what_is_no_regular_file_is_refused_at_once(tmp_path: pathlib.Path) -> None:
    """A FIFO would be waited for, and a device may have no end."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path in (fifo, "/dev/zero", "/dev/null"):
        with pytest.raises(SettingsError, match=f"^--config {path}: it is no regular file"):
            read_document(str(path))


def test_bytes_that_are_not_utf_8_are_refused_with_their_line(tmp_path: pathlib.Path) -> None:
    """As of an editor that writes Latin-1."""
    said = refusal(tmp_path / "a.toml", b"[serve]\n# caf\xe9\n")
    assert said.startswith(f"{tmp_path}/a.toml:2: byte 0xe9 is not UTF-8; ")


@pytest.mark.parametrize(
    ("text", "line", "part"),
    [
        ("[serve]\nport = \n", 2, "Invalid value"),
        ("[limits]\nslot_bytes = 64K\n", 2, 'with a unit need quotes, as "line" or "64K"'),
        ("[serve]\nframing = line\n", 2, "need quotes"),
        ("[serve]\nport = 1\nport = 2\n", 3, "the key is given twice"),
        ("[serve]\n\n[serve]\n", 3, "Cannot declare ('serve',) twice"),
        ('[serve]\nhost = "\n\n', 2, "Illegal character '\\n'"),
        ("[serve]\r\n\r\nport == 1\r\n", 3, "Invalid value"),
        ("[serve]\nssl_certfile = [\n", 2, "Invalid value"),
    ],
)
def test_what_is_not_toml_is_refused_with_its_line(
    tmp_path: pathlib.Path, text: str, line: int, part: str
) -> None:
    """The hint says what is most often wrong there."""
    said = refusal(tmp_path / "a.toml", text.encode())
    assert said.startswith(f"{tmp_path}/a.toml:{line}: it is not TOML: ")
    assert part in said
    assert "\n" not in said


@pytest.mark.parametrize(
    "text",
    [
        "[serve]\nport = " + "9" * 5000,  # Python converts no decimal number of that length
        "[serve]\nx = " + "[" * 100_000,
        "[serve]\nx = 2026-02-30",
    ],
)
def test_what_python_refuses_is_refused_as_text_is(text: str) -> None:
    """Not with a traceback."""
    with pytest.raises(SettingsError, match=r"^a\.toml:?\d*: "):
        parse_document("a.toml", text)
