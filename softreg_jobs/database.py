"""The way to PostgreSQL: one engine per process, and sessions that hold a lock or listen (their owner reopens them)."""

from __future__ import annotations

import select
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from sqlalchemy import Engine, create_engine, event, make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import InterfaceError, InternalError, InvalidatePoolError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from softreg_jobs.settings import Settings

__all__ = ["UNAVAILABLE", "engine_of", "listen", "session"]

UNAVAILABLE = (
    OperationalError,
    InterfaceError,
    InternalError,
    PoolTimeoutError,
    psycopg.OperationalError,
    psycopg.InternalError,
)
"""What a lost, restarting, read-only or overloaded database looks like; the same call may succeed later."""
_RESTED_SECONDS = 5.0


def _url(settings: Settings) -> URL:
    return make_url(settings.database_url.get_secret_value()).set(drivername="postgresql+psycopg")


def engine_of(settings: Settings, *, pool_size: int = 10) -> Engine:
    """An engine with a small pool; connections that died while resting are replaced unseen."""
    engine = create_engine(
        _url(settings),
        pool_size=pool_size,
        max_overflow=5,
        pool_timeout=10,
        connect_args=_connect_arguments(settings),
    )
    event.listen(engine, "checkin", _note_rest)
    event.listen(engine, "checkout", _refuse_dead)
    return engine


def _note_rest(_: Any, record: Any) -> None:
    record.info["rests_since"] = time.monotonic()


def _refuse_dead(connection: psycopg.Connection, record: Any, _: Any) -> None:
    """Let nobody have a connection that died while it rested; the pool then makes a new one.

    A server that ends a session says so: its socket has something to read. Asking for a word back is a trip to the
    server, as long as a short query, and left for those that rested long: their peer may have gone without a word.

    Raises:
        InvalidatePoolError: it is dead, and so are those that rest beside it.
    """
    since = record.info.get("rests_since")
    if since is None or (time.monotonic() - since < _RESTED_SECONDS and not _has_news(connection)):
        return
    was_autocommit = connection.autocommit
    try:
        connection.autocommit = True  # a ping begins no transaction
        connection.execute("")
        connection.autocommit = was_autocommit
    except psycopg.Error:
        raise InvalidatePoolError from None


def _has_news(connection: psycopg.Connection) -> bool:
    poll = select.poll()
    try:
        poll.register(connection.fileno(), select.POLLIN)
    except psycopg.Error:
        return True  # closed at this end
    return bool(poll.poll(0))


def _connect_arguments(settings: Settings) -> dict[str, Any]:
    """A peer that vanished without a word is noticed within half a minute, at both ends.

    A process that is stopped in the middle of a transaction loses it, and with it the locks that others wait for.
    """
    idle_ms = int(1000 * settings.lease_seconds)
    return {
        "application_name": "softreg",
        "connect_timeout": 5,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 15_000,
        "options": f"-c idle_in_transaction_session_timeout={idle_ms} -c tcp_keepalives_idle=10"
        " -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3",
    }


@contextmanager
def session(settings: Settings) -> Iterator[psycopg.Connection]:
    """An autocommit connection of its own, for locks and notifications that belong to a session."""
    url = _url(settings)
    # As SQLAlchemy reads the URL: libpq would read a space or a percent sign in it differently.
    _, arguments = url.get_dialect()().create_connect_args(url)
    with psycopg.connect(autocommit=True, **{**arguments, **_connect_arguments(settings)}) as connection:
        yield connection


def listen(connection: psycopg.Connection, channel: str) -> None:
    """Hear `channel` from now on; read it with `.notifies(timeout=..., stop_after=1)`."""
    connection.execute(psycopg.sql.SQL("LISTEN {}").format(psycopg.sql.Identifier(channel)))
