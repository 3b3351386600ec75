"""Whether the process lives, and whether the service can work."""

from __future__ import annotations

import pytest
from pydantic import SecretStr
from sqlalchemy import text

READY = {"database": "ok", "schema": "ok", "redis": "ok", "workers": "ok"}


def test_a_service_with_a_living_worker_is_ready(new_client, worker):
    client = new_client()
    assert client.get("/healthz").json() == {"status": "ok"}
    response = client.get("/readyz")
    assert (response.status_code, response.json()) == (200, {"status": "ready", "checks": READY, "workers": 1})


@pytest.fixture
def not_ready(new_app, new_client):
    def check(**overrides: object) -> dict:
        client = new_client(app=new_app(**overrides))
        assert client.get("/healthz").status_code == 200
        response = client.get("/readyz")
        assert response.status_code == 503
        assert int(response.headers["retry-after"]) > 0
        body = response.json()
        assert body["code"] == "not_ready"
        return {name for name, word in body["checks"].items() if word == "failed"}

    return check


def test_without_a_worker_it_is_not_ready(not_ready):
    assert not_ready() == {"workers"}


def test_a_worker_that_has_been_silent_for_three_beats_does_not_count(not_ready, worker, engine, settings):
    with engine.begin() as connection:
        silent = {"seconds": 3 * settings.beat_seconds + 1}
        connection.execute(text("UPDATE workers SET beat_at = beat_at - make_interval(secs => :seconds)"), silent)
    assert not_ready() == {"workers"}


def test_without_redis_it_is_not_ready(not_ready, worker, tmp_path):
    assert not_ready(redis_url=SecretStr(f"unix://{tmp_path}/none")) == {"redis"}


def test_without_a_database_it_is_not_ready(not_ready, tmp_path):
    url = SecretStr(f"postgresql:///softreg?host={tmp_path}")
    assert not_ready(database_url=url) == {"database", "schema", "workers"}


def test_without_a_schema_it_is_not_ready(not_ready, settings, engine):
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
    assert not_ready() == {"schema", "workers"}
