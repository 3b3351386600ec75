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


def failed_checks(response) -> set[str]:
    return {name for name, word in response.json()["checks"].items() if word == "failed"}


def test_without_a_worker_it_takes_jobs_and_says_so(new_client):
    response = new_client().get("/readyz")
    assert (response.status_code, response.json()["status"]) == (200, "degraded")
    assert failed_checks(response) == {"workers"}


def test_a_worker_that_has_been_silent_for_three_beats_does_not_count(new_client, worker, engine, settings):
    with engine.begin() as connection:
        silent = {"seconds": 3 * settings.beat_seconds + 1}
        connection.execute(text("UPDATE workers SET beat_at = beat_at - make_interval(secs => :seconds)"), silent)
    assert failed_checks(new_client().get("/readyz")) == {"workers"}


def test_without_redis_it_takes_jobs_and_says_so(new_app, new_client, worker, tmp_path):
    response = new_client(app=new_app(redis_url=SecretStr(f"unix://{tmp_path}/none"))).get("/readyz")
    assert (response.status_code, failed_checks(response)) == (200, {"redis"})


@pytest.fixture
def not_ready(new_app, new_client):
    def check(**overrides: object) -> set[str]:
        client = new_client(app=new_app(**overrides))
        assert client.get("/healthz").status_code == 200
        response = client.get("/readyz")
        assert response.status_code == 503
        assert int(response.headers["retry-after"]) > 0
        assert response.json()["code"] == "not_ready"
        return failed_checks(response)

    return check


def test_without_a_database_it_is_not_ready(not_ready, tmp_path):
    url = SecretStr(f"postgresql:///softreg?host={tmp_path}")
    assert not_ready(database_url=url) == {"database", "schema", "workers"}


def test_without_a_schema_it_is_not_ready(not_ready, settings, engine):
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
    assert not_ready() == {"schema", "workers"}
