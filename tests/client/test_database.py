"""The database of `softreg up`: made usable, asked for workers; and keys made in one that is the user's own."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from typer.testing import CliRunner

from softreg.cli import app
from softreg.database import PostgresDatabase
from softreg_jobs import keys, workers
from softreg_jobs.settings import Settings


def softreg(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, arguments)
    return result.exit_code, result.output


def test_only_a_worker_of_this_start_counts(settings: Settings, engine: Engine, place: Path) -> None:
    with engine.begin() as connection:
        workers.announce(connection, "wrk_of_an_earlier_start", ["cpu"])
    database = PostgresDatabase(settings)
    database.prepare(place / "key")
    assert not database.has_worker()
    with engine.begin() as connection:
        workers.announce(connection, "wrk_new", ["cpu"])
    assert database.has_worker()
    database.close()


def test_the_first_key_is_made_once_and_lets_its_holder_in(settings: Settings, engine: Engine, place: Path) -> None:
    database = PostgresDatabase(settings)
    key = database.prepare(place / "key")
    assert key == (place / "key").read_text().strip()
    assert database.prepare(place / "key") is None
    database.close()
    with engine.connect() as connection:
        assert keys.authenticate(connection, key) is not None


def test_a_key_is_made_in_a_database_of_ones_own(
    settings: Settings, engine: Engine, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOFTREG_DATABASE_URL", settings.database_url.get_secret_value())
    monkeypatch.delenv("SOFTREG_REDIS_URL", raising=False)
    code, printed = softreg("keys", "create", "--home", str(place / "home"))
    assert code == 0
    with engine.connect() as connection:
        assert keys.authenticate(connection, printed.strip()) is not None


@pytest.mark.parametrize("name", ["", "x" * 256, "two\nlines"])
def test_a_key_with_a_name_that_cannot_be_kept_is_refused(
    settings: Settings, engine: Engine, place: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("SOFTREG_DATABASE_URL", settings.database_url.get_secret_value())
    command = ("keys", "create", "--home", str(place / "home"), "--name")
    assert softreg(*command, name) == (1, "Error: No key was made: a key's name has 1 to 255 printable characters.\n")
    with engine.connect() as connection:
        assert not keys.any_key(connection)
    assert softreg(*command, "x" * 255)[0] == 0


@pytest.mark.parametrize("command", [("keys", "create", "--home", "/nowhere"), ("migrate",)])
def test_a_database_that_does_not_answer_is_told_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.setenv("SOFTREG_DATABASE_URL", "postgresql://127.0.0.1:1/none")
    monkeypatch.setenv("SOFTREG_REDIS_URL", "redis://127.0.0.1:1")
    code, printed = softreg(*command)
    assert code == 1
    assert printed.startswith("Error: The database cannot be used")
    assert "refused" in printed


def test_a_key_for_a_database_without_tables_says_what_to_do(
    settings: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE api_keys CASCADE"))
    monkeypatch.setenv("SOFTREG_DATABASE_URL", settings.database_url.get_secret_value())
    assert softreg("keys", "create", "--home", "/nowhere") == (
        1,
        "Error: The database has no tables of softreg: make them with `softreg migrate`.\n",
    )


def test_a_key_without_a_database_says_what_to_do(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOFTREG_DATABASE_URL", raising=False)
    code, printed = softreg("keys", "create", "--home", str(place / "home"))
    assert code == 1
    assert "softreg up" in printed
