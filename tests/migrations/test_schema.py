"""The migrations make what the code expects, once, from an empty database."""

from __future__ import annotations

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, text

from softreg_jobs.bootstrap import ensure_first_key, migrate
from softreg_jobs.keys import authenticate
from softreg_jobs.settings import Settings
from softreg_jobs.tables import metadata


def test_the_schema_is_what_the_tables_say(engine: Engine) -> None:
    options = {"compare_type": True, "compare_server_default": True}
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection, opts=options), metadata) == []


def test_migrating_again_changes_nothing(settings: Settings, engine: Engine) -> None:
    with engine.connect() as connection:
        before = connection.execute(text("SELECT cursor_key FROM instance")).scalar_one()
    migrate(settings)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT cursor_key FROM instance")).scalar_one() == before


def test_the_first_key_is_minted_once_and_kept_private(settings: Settings, engine: Engine, tmp_path) -> None:
    path = tmp_path / "api_key"
    key = ensure_first_key(settings, path)
    assert key is not None
    assert path.read_text().strip() == key
    assert path.stat().st_mode & 0o777 == 0o600
    assert ensure_first_key(settings, path) is None
    with engine.connect() as connection:
        caller = authenticate(connection, key)
        assert caller is not None
        assert caller.scopes == {"read", "write", "admin"}
        assert authenticate(connection, key[:-1] + ("a" if key[-1] != "a" else "b")) is None


def test_a_configured_first_key_is_installed_when_there_is_none(settings: Settings, engine: Engine) -> None:
    key = "sk_" + "0" * 16 + "_" + "A" * 43
    migrate(Settings.model_validate({**settings.model_dump(), "first_key": key}))
    migrate(Settings.model_validate({**settings.model_dump(), "first_key": key.replace("A", "B")}))
    with engine.connect() as connection:
        assert authenticate(connection, key) is not None
        assert authenticate(connection, key.replace("A", "B")) is None


def test_no_key_is_stored_in_the_clear(settings: Settings, engine: Engine, tmp_path) -> None:
    key = ensure_first_key(settings, tmp_path / "key")
    assert key is not None
    with engine.connect() as connection:
        row = str(connection.execute(text("SELECT * FROM api_keys")).all())
    assert key.rpartition("_")[2] not in row
