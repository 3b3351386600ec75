"""The Valkey of docker-compose.yml, started by its own command: the password holds and nothing is lost."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from softreg.installed import valkey_program

_PASSWORD = "a-password-of-the-test"


@pytest.fixture(scope="module")
def socket_path(compose: dict[str, Any]) -> Iterator[Path]:
    """The service's command, with its paths in a temporary directory and a socket in place of the port."""
    place = Path(tempfile.mkdtemp(prefix="softreg-test-compose-"))
    for name in ("secrets", "tmp", "data", "bin"):
        (place / name).mkdir()
    (place / "secrets/redis_password").write_text(_PASSWORD + "\n")
    wrapper = place / "bin/valkey-server"
    program = valkey_program(place, None)
    wrapper.write_text(f'#!/bin/sh\nexec "{program}" "$@" --port 0 --unixsocket "{place}/valkey.sock"\n')
    wrapper.chmod(0o700)
    *shell, script = compose["services"]["valkey"]["command"]
    script = script.replace("$$", "$").replace("/run/secrets/", f"{place}/secrets/")
    script = script.replace("/tmp/valkey.conf", f"{place}/tmp/valkey.conf").replace(
        "--dir /data", f"--dir {place}/data"
    )
    environment = {"PATH": f"{place}/bin:{os.environ['PATH']}"}
    process = subprocess.Popen([*shell, script], env=environment, stdout=subprocess.DEVNULL)
    try:
        _await_socket(place / "valkey.sock", process)
        yield place / "valkey.sock"
    finally:
        process.terminate()
        process.wait(10)
        shutil.rmtree(place)


def _client(path: Path, password: str | None = None) -> redis.Redis:
    return redis.Redis(
        unix_socket_path=str(path), password=password, decode_responses=True, retry=Retry(NoBackoff(), 0)
    )


def _await_socket(path: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(redis.ConnectionError), _client(path) as client:
            with contextlib.suppress(redis.AuthenticationError):
                client.ping()
            return
        time.sleep(0.02)
    pytest.fail("the command of the service does not start a server")


def test_without_the_password_it_refuses(socket_path: Path) -> None:
    with _client(socket_path) as client, pytest.raises(redis.AuthenticationError):
        client.ping()


def test_it_writes_every_command_to_disk_and_never_evicts(socket_path: Path) -> None:
    with _client(socket_path, _PASSWORD) as client:
        assert client.config_get("appendonly") == {"appendonly": "yes"}
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert client.config_get("dir") == {"dir": str(socket_path.parent / "data")}


def test_the_password_is_in_no_list_of_processes(socket_path: Path) -> None:
    with _client(socket_path, _PASSWORD) as client:
        pid = client.info("server")["process_id"]
    assert _PASSWORD not in Path(f"/proc/{pid}/cmdline").read_text()
    assert (socket_path.parent / "tmp/valkey.conf").stat().st_mode & 0o777 == 0o600
