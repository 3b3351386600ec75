"""`softreg up`, `status` and `down` with real servers and a real supervisor, around services that cost nothing."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from typer.testing import CliRunner

from softreg import detach
from softreg.cli import app
from softreg.errors import LocalError
from softreg.home import Home
from softreg.logs import LOG_LIMIT_BYTES
from softreg.masks import masked

STUB = Path(__file__).with_name("stub_service.py")
Eventually = Callable[..., None]


@contextmanager
def up(home: Path, *options: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """The stub service and the words of its announcement; whatever a test leaves running is stopped."""
    with subprocess.Popen(
        [sys.executable, str(STUB), str(home), *(options or ("0",))],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    ) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().split()
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(60)


def softreg(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, arguments)
    return result.exit_code, result.output


def status(home: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(softreg("status", "--home", str(home), "--format", "json")[1])
    return found


def pids(home: Path) -> dict[str, int]:
    return {process["name"]: process["pid"] for process in status(home)["processes"]}


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_status_says_what_runs(place: Path) -> None:
    home = place / "home"
    with up(home, "0", "2") as (_, announced):
        assert announced[0] == "ready"
        found = status(home)
        assert set(found) == {"state", "base_url", "api_key_file", "database_url", "redis_url", "processes"}
        assert found["state"] == "running"
        assert found["base_url"] == announced[1]
        assert found["api_key_file"] == str(home / "api_key")
        assert found["database_url"] == f"postgresql+psycopg://postgres@/softreg?host={home}/postgres/socket"
        assert found["redis_url"] == f"unix://{home}/valkey/socket/valkey.sock"
        assert {process["name"] for process in found["processes"]} == {
            "postgres", "valkey", "api", "keeper", "worker", "worker-2",
        }  # fmt: skip
        assert all(
            set(process) == {"name", "pid"} and psutil.pid_exists(process["pid"]) for process in found["processes"]
        )
        assert softreg("status", "--home", str(home))[0] == 0
        for private in (home, home / "logs", home / "spool", home / "postgres", home / "valkey"):
            assert mode(private) == 0o700
        for secret in (home / "state.json", home / "lock", *(home / "logs").iterdir()):
            assert mode(secret) == 0o600


def test_status_of_an_empty_place_is_stopped_and_makes_nothing(place: Path) -> None:
    home = place / "home"
    nothing = dict.fromkeys(("base_url", "api_key_file", "database_url", "redis_url"))
    assert status(home) == {"state": "stopped", **nothing, "processes": []}
    assert softreg("status", "--home", str(home))[0] == 3
    assert not home.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_everything_and_the_key_is_told_once(place: Path, number: int) -> None:
    home = place / "home"
    for key in ("sk_first", "None"):
        with up(home) as (supervisor, announced):
            assert announced[2] == key
            family = psutil.Process(supervisor.pid).children(recursive=True)
            assert len(family) >= 5
            supervisor.send_signal(number)
            assert supervisor.wait(60) == 0
        assert not psutil.wait_procs(family, timeout=10)[1]
        assert status(home)["state"] == "stopped"


def test_down_stops_everything(place: Path) -> None:
    home = place / "home"
    with up(home) as (supervisor, _):
        family = psutil.Process(supervisor.pid).children(recursive=True)
        assert softreg("down", "--home", str(home)) == (0, "Stopped.\n")
        assert not psutil.wait_procs(family, timeout=10)[1]
    assert softreg("down", "--home", str(home)) == (0, "Nothing runs in this home.\n")


def test_whatever_is_killed_comes_back_alone(place: Path, eventually: Eventually) -> None:
    home = place / "home"
    with up(home):
        for name in ("postgres", "valkey", "api", "keeper", "worker"):
            before = pids(home)
            os.kill(before[name], signal.SIGKILL)
            eventually(lambda name=name, before=before: pids(home).get(name) not in (None, before[name]))
            eventually(lambda: status(home)["state"] == "running")
            after = pids(home)
            assert {other for other in before if before[other] != after[other]} == {name}


def test_a_service_without_its_api_is_degraded(place: Path, eventually: Eventually) -> None:
    home = place / "home"
    with up(home):
        os.kill(pids(home)["api"], signal.SIGTERM)
        eventually(lambda: status(home)["state"] == "degraded")
        eventually(lambda: status(home)["state"] == "running")


def test_a_killed_supervisor_takes_its_children_along(place: Path) -> None:
    home = place / "home"
    with up(home) as (supervisor, _):
        family = psutil.Process(supervisor.pid).children(recursive=True)
        supervisor.kill()
        assert not psutil.wait_procs(family, timeout=30)[1]
    assert status(home)["state"] == "stopped"
    with up(home):
        assert status(home)["state"] == "running"


def test_a_start_right_after_a_kill_waits_for_the_old_servers(place: Path) -> None:
    home = place / "home"
    for _ in range(3):
        with up(home) as (supervisor, announced):
            assert announced[0] == "ready"
            supervisor.kill()
    with up(home) as (_, announced):
        assert announced[0] == "ready"


def test_a_full_disk_does_not_end_a_running_service(place: Path, eventually: Eventually) -> None:
    home = place / "home"
    with up(home) as (supervisor, _):
        (home / "state.draft").mkdir()  # nothing can be written down any more, as on a full disk
        family = psutil.Process(supervisor.pid).children(recursive=True)
        lost = pids(home)["keeper"]
        os.kill(lost, signal.SIGKILL)
        eventually(lambda: not psutil.pid_exists(lost))
        eventually(lambda: len(psutil.Process(supervisor.pid).children()) == 5)
        assert lost not in {child.pid for child in psutil.Process(supervisor.pid).children()}
        (home / "state.draft").rmdir()
        supervisor.send_signal(signal.SIGCHLD)  # as if half a minute had passed
        eventually(lambda: status(home)["state"] == "running")
        assert pids(home)["keeper"] != lost

        (home / "state.draft").mkdir()
        family += psutil.Process(supervisor.pid).children(recursive=True)
        supervisor.send_signal(signal.SIGTERM)
        assert supervisor.wait(60) == 0
        assert not psutil.wait_procs(family, timeout=10)[1]
        assert not (home / "state.json").exists()


def test_a_home_that_cannot_be_written_ends_the_start(place: Path) -> None:
    home = place / "home"
    Home(home).prepare()
    (home / "state.draft").mkdir()
    with up(home) as (process, _):
        assert process.stderr is not None
        assert process.stderr.read().splitlines()[-1] == f"{home} cannot be written: Is a directory."
        assert process.wait(30) == 1


def test_logs_are_kept_small_while_the_service_runs(place: Path, eventually: Eventually) -> None:
    home = place / "home"
    with up(home) as (supervisor, _):
        with (home / "logs" / "keeper.log").open("ab") as log:
            log.write(b"x" * (LOG_LIMIT_BYTES + 1))
        supervisor.send_signal(signal.SIGCHLD)  # as if half a minute had passed
        eventually(lambda: (home / "logs" / "keeper.log").stat().st_size == 0)
        assert (home / "logs" / "keeper.log.1").stat().st_size == LOG_LIMIT_BYTES


def test_a_detached_start_has_an_end(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detach, "_START_TIMEOUT_SECONDS", 0.0)
    home = Home(place / "home")
    home.prepare()
    with pytest.raises(LocalError, match="Not ready after 0 seconds"):
        detach.start_background(home, 0, 1, os.environ, dies_with_caller=True)
    assert home.running() is None


def test_a_second_start_of_one_home_does_not_fight(place: Path) -> None:
    home = place / "home"
    with up(home):
        before = pids(home)
        for options, exit_code in ((("--detach",), 0), ((), 1)):
            code, printed = softreg("up", "--home", str(home), *options)
            assert code == exit_code
            assert "already runs" in printed
            assert "state      running" in printed
        assert pids(home) == before


def test_a_taken_port_is_told_before_anything_starts(place: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with up(place / "home", str(port)) as (process, _):
            assert process.stderr is not None
            assert f"Port {port} on 127.0.0.1 cannot be used (address already in use)" in process.stderr.read()
            assert process.wait(30) == 1
    assert not (place / "home" / "postgres").exists()


@pytest.mark.parametrize("options", [(), ("--detach",)])
def test_a_taken_port_leaves_no_trace(place: Path, options: tuple[str, ...]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, printed = softreg("up", "--home", str(place / "home"), "--port", port, *options)
    assert code == 1
    assert f"Port {port} on 127.0.0.1 cannot be used" in printed
    assert not (place / "home").exists()


def test_a_server_named_by_the_environment_is_not_embedded(place: Path) -> None:
    home = place / "home"
    own = {"SOFTREG_REDIS_URL": "redis://:secret@elsewhere:6379/0", "SOFTREG_DATABASE_URL": "postgresql://u:pw@h/d"}
    with up(home, **own):
        found = status(home)
        assert {process["name"] for process in found["processes"]} == {"api", "keeper", "worker"}
        assert found["redis_url"] == "redis://:***@elsewhere:6379/0"
        assert found["database_url"] == "postgresql://u:***@h/d"
        for pid in pids(home).values():
            assert own.items() <= psutil.Process(pid).environ().items()
        code, printed = softreg("keys", "create", "--home", str(home))
        assert code == 1
        assert "set SOFTREG_DATABASE_URL" in printed


def test_a_setting_without_sense_is_told_before_anything_starts(place: Path) -> None:
    with up(place / "home", SOFTREG_LEASE_SECONDS="1") as (process, _):
        assert process.stderr is not None
        assert process.stderr.read().startswith("SOFTREG_LEASE_SECONDS (1) should be at least 3 times")
        assert process.wait(30) == 1
    assert not (place / "home" / "postgres").exists()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql+psycopg://postgres@/softreg?host=/run/x", "postgresql+psycopg://postgres@/softreg?host=/run/x"),
        ("unix:///run/valkey.sock", "unix:///run/valkey.sock"),
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
        ("postgresql://me:a/b:c@host/db", "postgresql://me:***@host/db"),
        ("postgresql://host/db?user=me&password=x&sslmode=require", "postgresql://host/db?user=me&password=***&sslmode=require"),
    ],
)  # fmt: skip
def test_passwords_are_not_written_down(url: str, shown: str) -> None:
    assert masked(url) == shown
