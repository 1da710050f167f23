"""The admin endpoint of several worker processes: each is told of, dead or alive."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("h11")
pytest.importorskip("prometheus_client")

from tests.admin.talking import Http, get
from tests.process.test_workers import service
from tests.support import wait_until

pytestmark = pytest.mark.process


def json_of(path: Path, page: str) -> Any:
    _, body = get(path, page)
    return json.loads(body)


def post(path: Path, page: str) -> int:
    client = Http(path)
    with contextlib.closing(client):
        return client.ask("POST", page)[0]


def up_of(path: Path) -> dict[str, bool]:
    """Return which workers a scrape has as up."""
    rows = [row for row in metrics_of(path).splitlines() if row.startswith("asyncrev_worker_up{")]
    return {row.split('"')[1]: row.endswith(" 1.0") for row in rows}


def metrics_of(path: Path) -> str:
    return get(path, "/metrics")[1].decode()


def test_worker_that_is_killed_is_not_up_until_it_is_replaced(tmp_path: Path) -> None:
    """Ready and live are those who are left; the death is counted by its cause."""
    admin = tmp_path / "a"
    with service(tmp_path, "--admin", f"unix:{admin}", workers=2) as made:
        made.hear("admin endpoint on")
        assert up_of(admin) == {"0": True, "1": True}
        pid = made.answerers()[0][1]
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not all(up_of(admin).values()), "one is not up")
        assert get(admin, "/readyz")[0] == 200
        assert get(admin, "/livez")[0] == 200
        wait_until(lambda: up_of(admin) == {"0": True, "1": True}, "it is replaced")
        assert '\nasyncrev_worker_restarts_total{cause="SIGKILL"} 1.0\n' in metrics_of(admin)
        if shutil.which("promtool") is not None:
            check = subprocess.run(
                ["promtool", "check", "metrics"],
                input=metrics_of(admin).encode(),
                capture_output=True,
                check=False,
            )
            assert (check.returncode, check.stdout + check.stderr) == (0, b"")
        assert made.end() == 0


def test_reload_and_drain_by_the_endpoint(tmp_path: Path) -> None:
    """As by signals: all workers are new, and the service ends with code 0."""
    admin = tmp_path / "a"
    with service(tmp_path, "--admin", f"unix:{admin}", workers=2) as made:
        made.hear("admin endpoint on")
        before = {pid for _, pid in made.answerers(2)}
        supervisor = json_of(admin, "/stats.json")["supervisor"]
        assert supervisor == {
            "pid": made.server.process.pid,
            "workers": 2,
            "generation": 1,
            "restarts": {},
        }
        made.write("2")
        assert post(admin, "/reload") == 202
        made.hear("all workers are replaced")
        after = made.answerers(2)
        assert {version for version, _ in after} == {"2"}
        assert not before & {pid for _, pid in after}
        wait_until(
            lambda: json_of(admin, "/stats.json")["supervisor"]["generation"] == 2, "it is known"
        )
        assert up_of(admin) == {"0": True, "1": True}
        assert post(admin, "/drain") == 202
        assert made.server.wait(30) == 0
        assert not admin.exists()
