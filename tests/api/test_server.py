"""The application as uvicorn serves it: over a socket, against slow and careless clients."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text

from api import body
from api.main import create_app, uvicorn_options
from softreg_jobs.settings import Settings

SERVE = """
import uvicorn
from api.main import uvicorn_options
from softreg_jobs.settings import load_settings
uvicorn.run("api.main:app", **uvicorn_options(load_settings()))
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def served(settings: Settings, log: Path, **variables: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    port = free_port()
    environment = {
        "PATH": os.environ["PATH"],
        "SOFTREG_DATABASE_URL": settings.database_url.get_secret_value(),
        "SOFTREG_REDIS_URL": settings.redis_url.get_secret_value(),
        "SOFTREG_SPOOL_DIR": str(settings.spool_dir),
        "SOFTREG_PORT": str(port),
        **variables,
    }
    with log.open("wb") as output:
        process = subprocess.Popen([sys.executable, "-c", SERVE], env=environment, stderr=output, stdout=output)
    try:
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 30
        while process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(httpx.TransportError):
                httpx.get(f"{url}/healthz", timeout=5)
                break
            time.sleep(0.05)
        yield process, url
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def log(tmp_path):
    return tmp_path / "api.log"


def test_over_a_socket(settings, log, new_key, worker, dataset, engine):
    """One server for the whole of it: starting one costs a second."""
    key = new_key()
    data = random.Random(0).randbytes(9 * 2**20)
    limits = {"SOFTREG_MAX_BODY_BYTES": "1000", "SOFTREG_MAX_UPLOAD_BYTES": str(2**20)}
    with (
        served(settings, log, **limits) as (process, url),
        httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=20) as client,
    ):
        job = client.post("/v1/jobs", json={"dataset": "sample:digits"})
        assert job.status_code == 201, job.text
        assert "server" not in job.headers
        too_large_without_a_length(client)
        model_id = worker.succeed(worker.claim(), {"model.safetensors": data})
        a_download_in_many_stretches(client, f"/v1/models/{model_id}/files/model.safetensors", data)
        damage_further_on_breaks_the_transfer_off(client, engine, f"/v1/models/{model_id}/files/model.safetensors")
        assert client.get("/healthz").status_code == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) in (0, -signal.SIGTERM)
    the_log_is_json_without_secrets(log, key)


def too_large_without_a_length(client: httpx.Client) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while sent < 64 * 2**20:
            sent += 2**16
            yield b" " * 2**16

    for path in ("/v1/jobs", "/v1/datasets?format=csv"):
        sent = 0
        # The server answers and hangs up; which of the two the client notices first is up to the network.
        with contextlib.suppress(httpx.TransportError):
            response = client.post(path, content=endless(), headers={"Content-Type": "application/json"})
            assert (response.status_code, response.json()["code"]) == (413, "too_large")
        assert sent < 64 * 2**20


def a_download_in_many_stretches(client: httpx.Client, path: str, data: bytes) -> None:
    assert client.get(path).content == data
    part = client.get(path, headers={"Range": "bytes=100-5000000"})
    assert (part.status_code, part.content) == (206, data[100:5_000_001])
    head = client.head(path)
    assert (head.status_code, head.headers["content-length"]) == (200, str(len(data)))


def damage_further_on_breaks_the_transfer_off(client: httpx.Client, engine, path: str) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE blob_chunks SET data = set_byte(data, 7, get_byte(data, 7) # 1) WHERE idx = 8"))
    with pytest.raises(httpx.RemoteProtocolError, match="without sending complete"):
        client.get(path)


def the_log_is_json_without_secrets(log: Path, key: str) -> None:
    written = log.read_text()
    events = [json.loads(line) for line in written.splitlines()]
    assert any(event["event"] == "request" and event["path"] == "/v1/jobs" for event in events)
    assert any(event["event"] == "unforeseen" and event["error"] == "IntegrityError" for event in events)
    assert key not in written
    assert "Traceback" not in written


def test_a_body_that_stops_arriving_is_408(client, monkeypatch):
    monkeypatch.setattr(body, "IDLE_SECONDS", 0.01)

    async def stalled():
        yield b"{"
        await asyncio.Event().wait()

    response = client.post("/v1/jobs", content=stalled(), headers={"Content-Type": "application/json"})
    assert (response.status_code, response.json()["code"]) == (408, "request_timeout")
    assert response.headers["connection"] == "close"


def test_it_refuses_to_listen_to_a_network_without_a_key(settings, log, new_key):
    with served(settings, log, SOFTREG_HOST="0.0.0.0") as (process, _):  # noqa: S104
        assert process.wait(timeout=30) == 1
    assert "refusing to listen on 0.0.0.0 without an API key" in log.read_text()
    assert "Traceback" not in log.read_text()
    new_key()
    with served(settings, log, SOFTREG_HOST="0.0.0.0") as (process, url):  # noqa: S104
        assert httpx.get(f"{url}/healthz").status_code == 200


def test_on_loopback_it_starts_without_a_key_and_lets_nobody_in(settings, new_client):
    app = create_app(settings)
    assert new_client(app=app).get("/v1/jobs").status_code == 401
    app.state.runtime.close()


def test_uvicorn_gets_no_banner_no_proxy_and_limits(settings):
    options = uvicorn_options(settings)
    assert (options["host"], options["port"], options["factory"]) == (settings.host, settings.port, True)
    assert options["server_header"] is options["proxy_headers"] is options["access_log"] is False
    assert options["limit_concurrency"] > 0
