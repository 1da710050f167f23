"""Record the moving picture of the landing page: `make picture`, or `python -m docs.record`.

It is the live page of the admin endpoint in headless Chromium, while `asyncrev bench` loads the
server and verifies the replies:

1. Forty connections send at a fixed rate.
2. Five clients more send, and read no replies. They are not read any more, and the others are
   answered as before.
3. Forty connections more, at the same rate as the first.
4. The five have gone.

A frame per second of the load, four of them per second of the picture. Two of the six plots,
rows that stay at zero, and the end of the page are hidden, so that the rest can be read in a narrow
column.
The last frame is the still picture, for those who prefer reduced motion.

Needs Chromium, Pillow, and the extras `bench` and `ops`.
"""

import argparse
import base64
import contextlib
import io
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from tests.chromium import PROGRAM, Tab, chromium
from tests.support import ServerProcess, send_until_stuck, serving

OUTPUT = Path(__file__).parent / "_static"
NAMES = ("live-page-moving.webp", "live-page-still.png")

WIDTH_PX = 1150  # the narrowest that has all tiles in a row
COLOURS = 64  # of all frames; smooth edges of text need most of them
MOST_BYTES = 700_000
FRAME_MS = 250
LAST_FRAME_MS = 2500

RATE = 4000  # messages per second of each load
MESSAGE_BYTES = 512
STALLED = 5
BEFORE_S = 48  # until the first frame, so that no plot is empty
PHASES = ("load", "stalled", "more", "recovered")
PHASE_S = 11

SHORTER = """
  figure:nth-of-type(4), figure:nth-of-type(5), figure:nth-of-type(6) tbody tr:nth-child(n + 3),
  .hint, main > section:not(:has(#tiles)), footer { display: none; }
  #tiles > div { min-height: 7.3rem; } #plots { margin-top: 0.6rem; }
"""
TICKS = "Number(document.documentElement.dataset.ticks || 0)"
HEIGHT = "Math.ceil(document.body.getBoundingClientRect().height)"


@contextlib.contextmanager
def load(port: int) -> Iterator[None]:
    """Send from a process of its own, until the end; every reply is verified."""
    command = [sys.executable, "-m", "asyncrev", "bench", f"127.0.0.1:{port}", "-c", "40"]
    command += ["--rate", str(RATE), "--size", str(MESSAGE_BYTES), "-z", "600s"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        try:
            yield
        finally:
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=30)
    if process.returncode != 128 + signal.SIGINT:
        raise SystemExit(f"asyncrev bench ended with code {process.returncode}: {said.decode()}")


@contextlib.contextmanager
def stalled_clients(port: int) -> Iterator[None]:
    """Connect clients that send, and read nothing."""
    with contextlib.ExitStack() as stack:
        for _ in range(STALLED):
            client = stack.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(("127.0.0.1", port))
            send_until_stuck(client, bytes(65536))
        yield


def admin_url(server: ServerProcess) -> str:
    """Return where the live page is, from the log."""
    assert server.process.stderr is not None
    line = server.process.stderr.readline().decode()
    found = re.search(r"admin endpoint on (\S+:\d+)$", line.rstrip())
    if found is None:
        raise SystemExit(f"asyncrev serve named no admin endpoint: {line}")
    return f"http://{found[1]}/"


def shown(tab: Tab, height_px: int) -> Image.Image:
    """Return what the page shows after its next sample."""
    ticks = tab.evaluate(TICKS)
    tab.until(f"{TICKS} > {ticks}")
    if (now_px := tab.evaluate(HEIGHT)) > height_px:
        raise SystemExit(f"the page has grown from {height_px} to {now_px} pixels")
    clip = {"x": 0, "y": 0, "width": WIDTH_PX, "height": height_px, "scale": 1}
    shot = tab.call("Page.captureScreenshot", clip=clip)
    return Image.open(io.BytesIO(base64.b64decode(shot["data"]))).convert("RGB")


def record(port: int, tab: Tab) -> list[Image.Image]:
    """Return the frames, all phases after each other."""
    frames: list[Image.Image] = []
    height_px = tab.evaluate(HEIGHT)
    tab.size(WIDTH_PX, height_px)
    with contextlib.ExitStack() as loads:
        loads.enter_context(load(port))
        end_s = time.monotonic() + BEFORE_S
        while time.monotonic() < end_s:
            shown(tab, height_px)
        stalled = contextlib.ExitStack()
        for phase in PHASES:
            if phase == "stalled":
                stalled.enter_context(stalled_clients(port))
            elif phase == "more":
                loads.enter_context(load(port))
            elif phase == "recovered":
                stalled.close()
            frames += [shown(tab, height_px) for _ in range(PHASE_S)]
            print(f"{phase}: {len(frames)} frames", file=sys.stderr)
    return frames


def write(frames: list[Image.Image], folder: Path) -> None:
    """Write the moving picture and the still one, with one palette for all frames."""
    width, height = frames[0].size
    sheet = Image.new("RGB", (width, height * 3))
    for row, frame in enumerate((frames[0], frames[len(frames) // 2], frames[-1])):
        sheet.paste(frame, (0, row * height))
    palette = sheet.quantize(COLOURS)
    few = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    moving, still = (folder / name for name in NAMES)
    few[0].convert("RGB").save(
        moving,
        save_all=True,
        append_images=[frame.convert("RGB") for frame in few[1:]],
        duration=[FRAME_MS] * (len(few) - 1) + [LAST_FRAME_MS],
        loop=0,
        lossless=True,
        quality=75,
        method=4,  # 6 takes minutes, for a few percent
    )
    few[-1].save(still, optimize=True)
    for path in (moving, still):
        nbytes = path.stat().st_size
        print(f"{path}: {width} x {height}, {nbytes:,} bytes", file=sys.stderr)
        if nbytes > MOST_BYTES:
            raise SystemExit(f"{path.name} has {nbytes:,} bytes; at most {MOST_BYTES:,} are wanted")


def main() -> None:
    """Record, and write both pictures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--output", type=Path, default=OUTPUT, metavar="FOLDER")
    parser.add_argument("--frames", type=Path, metavar="FOLDER", help="keep each frame, as PNG")
    args = parser.parse_args()
    if PROGRAM is None:
        raise SystemExit("chromium was not found; on Debian: apt-get install chromium")
    with serving("--admin", "127.0.0.1:0") as server, chromium() as tab:
        tab.call("Emulation.setScrollbarsHidden", hidden=True)  # one would take width
        tab.size(WIDTH_PX, 2000)
        tab.scheme("light")
        tab.go(admin_url(server))
        tab.until(f"{TICKS} >= 1")
        tab.evaluate(
            "const shorter = new CSSStyleSheet(); "
            f"shorter.replaceSync(`{SHORTER}`); document.adoptedStyleSheets.push(shorter)"
        )
        frames = record(server.port, tab)
        if tab.complaints:
            raise SystemExit(f"the page complained: {tab.complaints}")
    if args.frames is not None:
        args.frames.mkdir(parents=True, exist_ok=True)
        for number, frame in enumerate(frames):
            frame.save(args.frames / f"{number:03}.png")
    write(frames, args.output)


if __name__ == "__main__":
    main()
