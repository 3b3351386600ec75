"""From an empty database to a usable one: the schema, and the first key."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from sqlalchemy import text

from softreg_jobs import keys
from softreg_jobs.database import engine_of
from softreg_jobs.settings import Settings

__all__ = ["ensure_first_key", "migrate", "mint_key"]

# Two processes may migrate at once (two `softreg migrate` of one compose file): the second waits for the first.
_MIGRATION_LOCK = 7_390_114_275_001


def migrate(settings: Settings) -> None:
    """Bring the schema up to date, and install `settings.first_key` if it is set and no key exists."""
    from alembic import command
    from alembic.config import Config

    spec = importlib.util.find_spec("migrations")
    if spec is None or spec.origin is None:
        raise RuntimeError("the package `migrations` is not installed")
    config = Config()
    config.set_main_option("script_location", str(Path(spec.origin).parent).replace("%", "%%"))
    engine = engine_of(settings, pool_size=1)
    try:
        with engine.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATION_LOCK})
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            if settings.first_key is not None and not keys.any_key(connection):
                keys.install(connection, settings.first_key.get_secret_value(), name="first")
    finally:
        engine.dispose()


def ensure_first_key(settings: Settings, path: Path) -> str | None:
    """Mint a key for the default tenant if there is none, and keep it in `path` (0600); None when one exists.

    The file is written before the key is committed: a crash between the two leaves a file without a key, which the
    next call overwrites, never a key that nobody knows.
    """
    engine = engine_of(settings, pool_size=1)
    try:
        with engine.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATION_LOCK})
            if keys.any_key(connection):
                return None
            key = keys.mint(connection, name="first")
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(key + "\n")
            return key
    finally:
        engine.dispose()


def mint_key(settings: Settings, name: str) -> str:
    """A further key of the default tenant; the returned text is the only copy of it."""
    engine = engine_of(settings, pool_size=1)
    try:
        with engine.begin() as connection:
            return keys.mint(connection, name=name)
    finally:
        engine.dispose()
