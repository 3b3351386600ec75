"""The health checks of the API, the keeper and the workers tell well from not well."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from sqlalchemy import Engine, text

from softreg_jobs import health, workers
from softreg_jobs.keeper import LEADER_LOCK
from softreg_jobs.settings import Settings


@pytest.fixture
def settings_of_process(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The test's settings as those that a process would load."""
    monkeypatch.setattr(health, "load_settings", lambda: settings)
    return settings


def test_a_keeper_is_well_while_one_leads(settings_of_process: Settings, engine: Engine) -> None:
    assert health.main("keeper") == 1
    with engine.connect() as leader:
        leader.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": LEADER_LOCK})
        assert health.main("keeper") == 0
        leader.execute(text("SELECT pg_advisory_unlock(:lock)"), {"lock": LEADER_LOCK})
    assert health.main("keeper") == 1


def test_a_leader_in_another_database_does_not_count(settings_of_process: Settings, postgres_url: str) -> None:
    from sqlalchemy import create_engine, make_url

    other = create_engine(make_url(postgres_url).set(database="postgres"))
    with other.connect() as leader:
        leader.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": LEADER_LOCK})
        assert health.main("keeper") == 1
    other.dispose()


def test_a_worker_is_well_while_it_beats(settings_of_process: Settings, engine: Engine) -> None:
    assert health.main("worker") == 1
    with engine.begin() as connection:
        workers.announce(connection, "wrk_here", ["cpu"])
    assert health.main("worker") == 0
    with engine.begin() as connection:
        connection.execute(text("UPDATE workers SET beat_at = beat_at - interval '16 seconds'"))
    assert settings_of_process.silent_seconds == 15.0
    assert health.main("worker") == 1


@pytest.mark.parametrize(("state", "exit_status"), [("draining", 0), ("sick", 1)])
def test_a_worker_that_gives_its_job_back_is_well_and_one_without_a_runner_is_not(
    settings_of_process: Settings, engine: Engine, state: str, exit_status: int
) -> None:
    with engine.begin() as connection:
        workers.announce(connection, "wrk_here", ["cpu"], state=state)
    assert health.main("worker") == exit_status


def test_a_worker_of_another_container_does_not_count(
    settings_of_process: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with engine.begin() as connection:
        workers.announce(connection, "wrk_there", ["cpu"])
    monkeypatch.setattr(socket, "gethostname", lambda: "another")
    assert health.main("worker") == 1


@pytest.mark.parametrize("name", ["keeper", "worker"])
def test_without_a_database_nobody_is_well(settings: Settings, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = settings.model_validate({**settings.model_dump(), "database_url": "postgresql://127.0.0.1:1/none"})
    monkeypatch.setattr(health, "load_settings", lambda: nowhere)
    assert health.main(name) == 1


@pytest.fixture
def answering() -> Iterator[tuple[int, list[int]]]:
    """A server whose `/readyz` answers the status in the list, and its port."""
    statuses = [200]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(statuses[0] if self.path == "/readyz" else 404)
            self.end_headers()

        def log_message(self, *arguments: Any) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port, statuses
        server.shutdown()
        thread.join()


def test_the_api_is_well_when_it_is_ready(compose: dict[str, Any], answering: tuple[int, list[int]]) -> None:
    port, statuses = answering
    _, python, option, code = compose["services"]["api"]["healthcheck"]["test"]
    assert (python, option) == ("python", "-c")

    def status() -> int:
        return subprocess.run([sys.executable, option, code.replace("8000", str(port))], check=False).returncode

    assert status() == 0
    statuses[0] = 503
    assert status() == 1
