"""What the command line does with the database: make it usable, and see whether a worker has come."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from psycopg.errors import UndefinedTable
from sqlalchemy import Connection, select
from sqlalchemy.exc import OperationalError, ProgrammingError

from softreg.errors import LocalError
from softreg.home import Home
from softreg.services import Endpoints, own_database_url, own_redis_url
from softreg_jobs import workers
from softreg_jobs.bootstrap import ensure_first_key, migrate
from softreg_jobs.database import UNAVAILABLE, engine_of
from softreg_jobs.health import is_keeper_leading
from softreg_jobs.settings import Settings, SettingsError, settings_with
from softreg_jobs.tables import now

__all__ = ["Database", "PostgresDatabase", "check_environment", "known_settings", "open_database", "reachable"]


class Database(Protocol):
    """The database, as far as a start needs it."""

    def prepare(self, key_file: Path) -> str | None:
        """Bring the schema up to date; a key, if this minted the first one."""

    def has_keeper(self) -> bool:
        """Whether a keeper does its work."""

    def has_worker(self) -> bool:
        """Whether a worker has registered since `prepare`."""

    def close(self) -> None:
        """Give up the connection."""


class PostgresDatabase:
    """The real one."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._engine = engine_of(settings, pool_size=1)

    def prepare(self, key_file: Path) -> str | None:
        """Run the migrations and mint the first key.

        Raises:
            LocalError: The database cannot be reached.
        """
        with reachable():
            migrate(self._settings)
            key = ensure_first_key(self._settings, key_file)
            with self._engine.connect() as connection:
                self._since = connection.execute(select(now())).scalar_one()
        return key

    def has_worker(self) -> bool:
        """Whether a worker has registered since `prepare`; rows of earlier starts do not count."""
        return self._shows(lambda connection: workers.has_started_since(connection, self._since))

    def has_keeper(self) -> bool:
        """Whether a keeper leads: this start's, or, with a database of the user's, another's."""
        return self._shows(is_keeper_leading)

    def _shows(self, look: Callable[[Connection], bool]) -> bool:
        """What `look` sees; nothing while the server is being restarted."""
        try:
            with self._engine.connect() as connection:
                return look(connection)
        except UNAVAILABLE:
            return False

    def close(self) -> None:
        """Close the pool."""
        self._engine.dispose()


def open_database(home: Home, endpoints: Endpoints) -> Database:
    """The database of a service that is about to start."""
    return PostgresDatabase(
        known_settings(
            database_url=endpoints.database_url,
            redis_url=endpoints.redis_url,
            host=endpoints.host,
            port=endpoints.port,
            spool_dir=home.spool,
        )
    )


def check_environment() -> None:
    """Look at every setting before anything is started with them.

    Raises:
        LocalError: One makes no sense.
    """
    embedded = {}
    if own_database_url() is None:
        embedded["database_url"] = "postgresql:///softreg"
    if own_redis_url() is None:
        embedded["redis_url"] = "unix:///valkey.sock"
    known_settings(**embedded)


def known_settings(**known: object) -> Settings:
    """The settings of the environment, with those that are known here over them.

    Raises:
        LocalError: One makes no sense.
    """
    try:
        return settings_with(**known)
    except SettingsError as error:
        raise LocalError(str(error)) from error


@contextmanager
def reachable() -> Iterator[None]:
    """What the database has against the block, in its own words.

    Raises:
        LocalError: It cannot be reached, lets nobody in, or forbids what is asked of it.
    """
    try:
        yield
    except (OperationalError, ProgrammingError) as error:
        if isinstance(error.orig, UndefinedTable):
            raise LocalError("The database has no tables of softreg: make them with `softreg migrate`.") from error
        raise LocalError(f"The database cannot be used: {error.orig}") from error
