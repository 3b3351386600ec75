"""The documented shell snippet makes exactly the files that docker-compose.yml mounts, and they work."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, make_url

from softreg_jobs import keys
from softreg_jobs.settings import Settings

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl, which the snippet needs")


@pytest.fixture(scope="module")
def snippet(root: Path) -> str:
    """The first shell block of the page."""
    text = (root / "docs/operations/compose.md").read_text()
    match = re.search(r"```sh\n(.*?)```", text, re.DOTALL)
    assert match is not None
    return match[1]


@pytest.fixture(scope="module")
def secrets(snippet: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory that the snippet makes."""
    place = tmp_path_factory.mktemp("compose")
    subprocess.run(["sh", "-c", snippet], cwd=place, check=True)
    return place / "secrets"


def test_every_secret_has_its_file_and_every_file_its_secret(secrets: Path, compose: dict[str, Any]) -> None:
    assert {f"./secrets/{path.name}" for path in secrets.iterdir()} == {
        secret["file"] for secret in compose["secrets"].values()
    }


def test_containers_can_read_the_files_and_other_users_cannot_reach_them(secrets: Path) -> None:
    assert secrets.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in secrets.iterdir()} == {0o444}


def test_a_second_run_keeps_the_secrets(secrets: Path, snippet: str) -> None:
    before = {path.name: path.read_text() for path in secrets.iterdir()}
    outcome = subprocess.run(["sh", "-c", snippet], cwd=secrets.parent, capture_output=True, check=False)
    assert outcome.returncode != 0
    assert {path.name: path.read_text() for path in secrets.iterdir()} == before


def test_no_two_runs_make_the_same_secret(secrets: Path, snippet: str, tmp_path: Path) -> None:
    subprocess.run(["sh", "-c", snippet], cwd=tmp_path, check=True)
    for path in secrets.iterdir():
        assert path.read_text() != (tmp_path / "secrets" / path.name).read_text()


def test_the_files_are_settings_that_name_the_services_and_their_passwords(
    secrets: Path, compose: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SOFTREG_DATABASE_URL", raising=False)
    monkeypatch.delenv("SOFTREG_REDIS_URL", raising=False)
    settings = Settings(_secrets_dir=secrets)  # type: ignore[call-arg]
    postgres = compose["services"]["postgres"]["environment"]
    database = make_url(settings.database_url.get_secret_value())
    redis = make_url(settings.redis_url.get_secret_value())
    assert (database.host, database.username, database.database) == (
        "postgres",
        postgres["POSTGRES_USER"],
        postgres["POSTGRES_DB"],
    )
    assert redis.host == "valkey"
    assert {database.host, redis.host} <= set(compose["services"])
    assert database.password == (secrets / "database_password").read_text().strip()
    assert redis.password == (secrets / "redis_password").read_text().strip()


def test_the_first_key_lets_its_holder_in(secrets: Path, engine: Engine) -> None:
    key = (secrets / "softreg_first_key").read_text().strip()
    with engine.begin() as connection:
        keys.install(connection, key, name="first")
        assert keys.authenticate(connection, key) is not None
