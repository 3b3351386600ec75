"""The way to PostgreSQL: one engine per process, and a LISTEN that survives nothing (its owner reopens it)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from sqlalchemy import Engine, create_engine, make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from softreg_jobs.settings import Settings

__all__ = ["UNAVAILABLE", "engine_of", "listening"]

UNAVAILABLE = (OperationalError, InterfaceError, PoolTimeoutError, psycopg.OperationalError)
"""What a lost, restarting or overloaded database looks like; the same call may succeed later."""


def _url(settings: Settings) -> URL:
    return make_url(settings.database_url.get_secret_value()).set(drivername="postgresql+psycopg")


def engine_of(settings: Settings, *, pool_size: int = 10) -> Engine:
    """An engine with a small pool; connections that died while resting are replaced unseen."""
    return create_engine(
        _url(settings),
        pool_size=pool_size,
        max_overflow=5,
        pool_pre_ping=True,
        pool_timeout=10,
        connect_args={"connect_timeout": 5, "application_name": "softreg"},
    )


@contextmanager
def listening(settings: Settings, channel: str) -> Iterator[psycopg.Connection]:
    """An autocommit connection that listens on `channel`; read it with `.notifies(timeout=..., stop_after=1)`."""
    url = _url(settings).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url, autocommit=True, connect_timeout=5) as connection:
        connection.execute(psycopg.sql.SQL("LISTEN {}").format(psycopg.sql.Identifier(channel)))
        yield connection
