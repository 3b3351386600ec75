"""What the supervisor does with the database: make it usable, and see whether a worker has come."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from softreg.errors import LocalError
from softreg.home import Home
from softreg.services import Endpoints
from softreg_jobs.bootstrap import ensure_first_key, migrate
from softreg_jobs.database import engine_of
from softreg_jobs.settings import Settings

__all__ = ["Ledger", "PostgresLedger", "open_ledger"]


class Ledger(Protocol):
    """The database, as far as a start needs it."""

    def prepare(self, key_file: Path) -> str | None:
        """Bring the schema up to date; a key, if this minted the first one."""

    def has_worker(self) -> bool:
        """Whether a worker has registered since `prepare`."""

    def close(self) -> None:
        """Give up the connection."""


class PostgresLedger:
    """The real one."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._engine = engine_of(settings, pool_size=1)

    def prepare(self, key_file: Path) -> str | None:
        """Run the migrations and mint the first key.

        Raises:
            LocalError: The database cannot be reached.
        """
        try:
            migrate(self._settings)
            key = ensure_first_key(self._settings, key_file)
            with self._engine.connect() as connection:
                self._since = connection.execute(text("SELECT softreg_now()")).scalar_one()
        except OperationalError as error:
            raise LocalError(f"The database cannot be used: {error.orig}") from error
        return key

    def has_worker(self) -> bool:
        """Whether a worker has registered since `prepare`; rows of earlier starts do not count."""
        query = text("SELECT EXISTS (SELECT FROM workers WHERE started_at >= :since)")
        with self._engine.connect() as connection:
            return bool(connection.execute(query, {"since": self._since}).scalar_one())

    def close(self) -> None:
        """Close the pool."""
        self._engine.dispose()


def open_ledger(home: Home, endpoints: Endpoints) -> Ledger:
    """The ledger of a service that is about to start."""
    settings = Settings(
        database_url=endpoints.database_url,
        redis_url=endpoints.redis_url,
        host=endpoints.host,
        port=endpoints.port,
        spool_dir=home.spool,
    )
    return PostgresLedger(settings)
