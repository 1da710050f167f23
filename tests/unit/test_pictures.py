"""The pictures of the pages: they are there, have texts, and the moving one is small and calm."""

import re
import runpy
import struct
from collections.abc import Iterator

import pytest

from tests.support import ROOT

MOVING = ROOT / "docs" / "_static" / "live-page-moving.webp"
STILL = ROOT / "docs" / "_static" / "live-page-still.png"
FIRST_PAGES = ("README.md", "docs/index.md")


def chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Return the parts of a RIFF file, which a WebP file is."""
    assert (data[:4], data[8:12]) == (b"RIFF", b"WEBP")
    at = 12
    while at < len(data):
        name, nbytes = struct.unpack_from("<4sI", data, at)
        yield name, data[at + 8 : at + 8 + nbytes]
        at += 8 + nbytes + nbytes % 2


def webp_size(data: bytes) -> tuple[int, int]:
    header = dict(chunks(data))[b"VP8X"]
    width, height = (int.from_bytes(header[at : at + 3], "little") + 1 for at in (4, 7))
    return width, height


def test_moving_picture_is_small_and_lasts_some_seconds() -> None:
    """A story of 8 to 16 s, that begins again."""
    data = MOVING.read_bytes()
    assert len(data) < 700_000
    frames_ms = [
        int.from_bytes(frame[12:15], "little") for name, frame in chunks(data) if name == b"ANMF"
    ]
    assert len(frames_ms) >= 30
    assert min(frames_ms) >= 100
    assert 8000 <= sum(frames_ms) <= 16_000
    assert dict(chunks(data))[b"ANIM"][4:6] == b"\0\0"  # loops for ever


def test_still_picture_is_as_large_as_the_moving_one() -> None:
    """So nothing on the page moves when one takes the other's place."""
    png = STILL.read_bytes()
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack_from(">II", png, 16) == webp_size(MOVING.read_bytes())


@pytest.mark.parametrize("page", FIRST_PAGES)
def test_first_pages_show_it_to_those_who_do_not_mind_motion(page: str) -> None:
    """With the still picture for the others, a text, and the size, so that no text jumps."""
    text = (ROOT / page).read_text(encoding="utf-8")
    (picture,) = re.findall(r"<picture>.*?</picture>", text, re.S)
    (source,) = re.findall(r"<source (.+?)>", picture)
    (image,) = re.findall(r"<img (.+?)>", picture)
    assert 'media="(prefers-reduced-motion: reduce)"' in source
    folder = (ROOT / page).parent
    for part, file in ((source, STILL), (image, MOVING)):
        (path,) = re.findall(r'(?:src|srcset)="(.+?)"', part)
        assert (folder / path).resolve() == file
    width, height = webp_size(MOVING.read_bytes())
    # The height is for the site, whose style keeps the proportions; a code forge's does not.
    size = f'width="{width}" height="{height}"' if page != "README.md" else f'width="{width}"'
    assert f"{size} alt=" in image
    (alternative,) = re.findall(r'alt="(.+?)"', image)
    assert len(alternative) > 50


def test_readme_on_pypi_has_the_pictures_themselves() -> None:
    """Not pages about them; what is absolute is left alone."""
    text = runpy.run_path(str(ROOT / "setup.py"), run_name="setup")["readme"]()
    found = re.findall(r'(?:src|srcset)="(.+?)"', text)
    start = "https://raw.githubusercontent.com/asyncrev/asyncrev/main/docs/_static/"
    assert found == [f"{start}{STILL.name}", f"{start}{MOVING.name}"]
