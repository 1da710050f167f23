"""The image of packaging/container, built by buildah, and the server in it: `make container`.

Registries of images are not needed: this machine's own /usr and Python stand in for the base
images, mounted while the image is built and while it runs. So everything that the Containerfile
says is done, but nothing is known of the base images that it names. With `--isolation=chroot` a
container has a file system and a user of its own, and the machine's network and process ids.

Each test skips itself where there is no buildah, or none may be run.
"""

import contextlib
import json
import os
import select
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.admin.talking import get
from tests.support import DEADLINE_S, ROOT, ask, receive_all, wait_until

pytestmark = [
    pytest.mark.process,
    pytest.mark.slow,
    pytest.mark.timeout(200),
    pytest.mark.skipif(shutil.which("buildah") is None, reason="there is no buildah here"),
    pytest.mark.skipif(os.geteuid() != 0, reason="chroot isolation needs root here"),
]

CONTAINERFILE = ROOT / "packaging" / "container" / "Containerfile"
BASE = "localhost/base"
IMAGE = "localhost/asyncrev"
PROCESSOR = "def shout(data):\n    return data.upper()\n"


class Images:
    """Buildah with a store of its own, below a directory of the test."""

    def __init__(self, directory: Path) -> None:
        store = ("--root", f"{directory}/store", "--runroot", f"{directory}/run")
        self._buildah = ["buildah", "--storage-driver", "vfs", *store]
        authorities = os.environ.get("PIP_CERT") or ssl.get_default_verify_paths().cafile
        assert authorities is not None
        self.authorities = os.path.realpath(authorities)
        mounted = ("/usr", sys.base_prefix, self.authorities)
        self.volumes = [word for path in mounted for word in ("--volume", f"{path}:{path}:ro")]

    def command(self, *args: str) -> list[str]:
        """Return the words of a command."""
        return [*self._buildah, *args]

    def do(self, *args: str) -> str:
        """Run one to its end; return what it prints."""
        done = subprocess.run(
            self.command(*args), capture_output=True, text=True, check=False, timeout=300
        )
        assert done.returncode == 0, f"buildah {' '.join(args)}\n{done.stdout}{done.stderr}"
        return done.stdout.strip()

    def make_base(self, root: Path) -> None:
        """Make an image that has what is not in /usr."""
        for name in ("bin", "lib", "lib64", "sbin"):
            if os.path.islink(f"/{name}"):
                (root / name).symlink_to(os.readlink(f"/{name}"))
        (root / "tmp").mkdir()
        (root / "tmp").chmod(0o1777)
        probe = subprocess.run(
            self.command("from", "scratch"), capture_output=True, text=True, check=False
        )
        if probe.returncode:
            pytest.skip(f"buildah cannot be used here: {probe.stderr.strip()}")
        container = probe.stdout.strip()
        self.do("add", container, str(root), "/")
        path = f"PATH={sys.base_prefix}/bin:/usr/bin:/bin"
        pip = [f"{name}={value}" for name, value in os.environ.items() if name.startswith("PIP_")]
        settings = [path, *pip, f"PIP_CERT={self.authorities}"]
        self.do("config", *(f"--env={setting}" for setting in settings), container)
        self.do("commit", container, BASE)
        self.do("rm", container)

    def build(self) -> None:
        """Build the image from this checkout; what it takes of it is in .dockerignore."""
        arguments = [f"--build-arg={name}={BASE}" for name in ("BUILD_IMAGE", "BASE_IMAGE")]
        self.do(
            *("build", "--isolation=chroot", "--format=docker", "--file", str(CONTAINERFILE)),
            *(*arguments, *self.volumes, "--tag", IMAGE, str(ROOT)),
        )


class Container:
    """A container of the image, not running yet.

    Attributes:
        config: what the image says of its containers.
        root: the directory of its files.
    """

    def __init__(self, images: Images) -> None:
        self._images = images
        self.name = images.do("from", IMAGE)
        found = json.loads(images.do("inspect", "--type=image", IMAGE))
        self.config: dict[str, Any] = found["Docker"]["config"]
        self.root = Path(images.do("mount", self.name))

    def command(self, *args: str, processors: Path | None = None) -> list[str]:
        """Return the command that runs `args` as the image's user and with its environment."""
        where = self.config["WorkingDir"]
        more = () if processors is None else ("--volume", f"{processors}:{where}:ro")
        words = ("run", "--isolation=chroot", *self._images.volumes, *more, self.name, "--", *args)
        return self._images.command(*words)

    @contextlib.contextmanager
    def serving(self, *args: str, processors: Path | None = None) -> Iterator["Running"]:
        """Run the image's entry point with more arguments, on free ports of this machine."""
        ports = ("--host", "127.0.0.1", "--port", "0", "--admin", "127.0.0.1:0")
        process = subprocess.Popen(
            self.command(
                *self.config["Entrypoint"],
                *(*ports, "--log-format", "json", *args),
                processors=processors,
            ),
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
        try:
            yield Running(process)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # the server, too: there is no namespace
            process.wait()
            assert process.stderr is not None
            process.stderr.close()


class Running:
    """A server in a container, which has said its start line."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self.process = process
        assert process.stderr is not None
        self.start_line = self._next("addresses")
        self.pid: int = self.start_line["pid"]
        host, _, port = self.start_line["addresses"][0].rpartition(":")
        self.address = (host, int(port))
        admin = self._next("message")["message"]
        host, _, port = admin.rpartition(" ")[2].rpartition(":")
        self.admin = (host, int(port))

    def _next(self, field: str) -> dict[str, Any]:
        """Return the next line of the log that has a field."""
        assert self.process.stderr is not None
        seen = ""
        while select.select([self.process.stderr], [], [], DEADLINE_S)[0]:
            line = self.process.stderr.readline().decode()
            seen += line
            if line.startswith("{") and field in (found := json.loads(line)):
                return found
            if not line:
                break
        raise AssertionError(f"it has not said what it should; its log:\n{seen}")

    def connect(self) -> socket.socket:
        """Return a blocking connection with a deadline."""
        return socket.create_connection(self.address, DEADLINE_S)

    def stop(self) -> tuple[int, list[str]]:
        """Send SIGTERM as a runtime does, to the process itself; return code and log."""
        os.kill(self.pid, signal.SIGTERM)
        _, stderr = self.process.communicate(timeout=DEADLINE_S)
        messages = [
            json.loads(line)["message"]
            for line in stderr.decode().splitlines()
            if line.startswith("{")
        ]
        return self.process.returncode, messages


@pytest.fixture(scope="module")
def container(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    """Build the image and make a container of it."""
    directory = tmp_path_factory.mktemp("images")
    base = directory / "base"
    base.mkdir()
    images = Images(directory)
    images.make_base(base)
    images.build()
    made = Container(images)
    try:
        yield made
    finally:
        images.do("umount", made.name)
        images.do("rm", made.name)
        shutil.rmtree(directory / "store")


def test_image_runs_the_server_itself_without_a_shell_and_not_as_root(container: Container) -> None:
    """What it says is what a runtime does."""
    config = container.config
    assert config["Entrypoint"] == ["asyncrev", "serve"]
    assert not config.get("Cmd")
    user, _, group = config["User"].partition(":")
    assert int(user) > 0  # a number: Kubernetes cannot look up names, and would refuse them
    assert int(group) > 0
    assert config["StopSignal"] == "SIGTERM"
    assert set(config["ExposedPorts"]) == {"9090/tcp", "9190/tcp"}
    assert {"ASYNCREV_HOST=*", "ASYNCREV_ADMIN=*:9190"} <= set(config["Env"])


def test_image_is_small_and_has_no_source_nor_compiler(container: Container) -> None:
    """What the image adds to the one that it is built on."""
    files = [path for path in container.root.rglob("*") if path.is_file() and not path.is_symlink()]
    assert sum(path.stat().st_size for path in files) < 80 * 2**20
    names = {path.name for path in files}
    assert "_plane.abi3.so" in names
    assert not names & {"plane_core.h", "pyproject.toml", "pip", "gcc", "cc"}
    assert not (container.root / "src").exists()


def test_server_in_the_container_serves_by_native_code_and_drains_at_sigterm(
    container: Container,
) -> None:
    """The process of the entry point is the server, with the image's user."""
    with container.serving() as running:
        assert "native" in running.start_line["plane"]
        status = Path(f"/proc/{running.pid}/status").read_text(encoding="ascii")
        user = container.config["User"].partition(":")[0]
        assert f"Uid:\t{user}\t{user}\t{user}\t{user}" in status
        assert get(running.admin, "/readyz")[0] == 200
        with running.connect() as sock:
            assert ask(sock, b"hello") == b"olleh"
            code, messages = running.stop()
            assert receive_all(sock) == b""
    assert code == 0
    assert messages[-1].startswith("stopped: 1 connections, 5 bytes received, 5 replied")


def test_delay_before_the_drain_keeps_the_container_serving(container: Container) -> None:
    """As the manifests for Kubernetes ask for it."""
    with container.serving("--drain-delay-s", "2") as running:
        os.kill(running.pid, signal.SIGTERM)
        wait_until(lambda: get(running.admin, "/readyz")[0] == 503, "it is not ready")
        assert get(running.admin, "/livez")[0] == 200
        with running.connect() as sock:
            assert ask(sock, b"hello") == b"olleh"
        assert running.process.wait(DEADLINE_S) == 0


def test_processor_of_a_directory_that_is_mounted_is_found(
    container: Container, tmp_path: Path
) -> None:
    """The working directory of the image is the place for it."""
    (tmp_path / "work.py").write_text(PROCESSOR, encoding="ascii")
    tmp_path.chmod(0o755)
    with (
        container.serving("--processor", "work:shout", processors=tmp_path) as running,
        running.connect() as sock,
    ):
        assert ask(sock, b"hello") == b"HELLO"


def test_health_check_of_the_image_asks_the_server(container: Container) -> None:
    """It says yes while the server is there, and no without it."""
    with container.serving() as running:
        healthy = run_check(container, running.admin[1])
        assert running.stop()[0] == 0
    assert healthy == 0
    assert run_check(container, running.admin[1]) != 0


def run_check(container: Container, port: int) -> int:
    """Run the image's check with another port; return its exit code."""
    kind, *command = container.config["Healthcheck"]["Test"]
    assert kind == "CMD"  # no shell
    assert any(":9190/livez" in word for word in command)
    command = [word.replace(":9190", f":{port}") for word in command]
    run = subprocess.run(
        container.command(*command), capture_output=True, check=False, timeout=DEADLINE_S
    )
    return run.returncode
