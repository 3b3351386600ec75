"""Whether the keeper or a worker does its work, for a container's health check.

    python -m softreg_jobs.health keeper|worker

Neither listens on a port; what they do shows in the database. Exit status: 0 well, 1 not.
"""

from __future__ import annotations

import socket
import sys
from datetime import timedelta

from sqlalchemy import Connection, func, select, text

from softreg_jobs.database import UNAVAILABLE, engine_of
from softreg_jobs.settings import load_settings
from softreg_jobs.tables import now, workers

__all__ = ["is_keeper_leading", "is_worker_beating", "main"]

_MISSED_BEATS = 3


def is_keeper_leading(connection: Connection) -> bool:
    """Whether some keeper of this database leads: one that waits is well as long as another leads."""
    from softreg_jobs.keeper import LEADER_LOCK

    # PostgreSQL shows a 64-bit advisory lock as its two halves.
    statement = text(
        "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        " AND (classid::bigint << 32) | objid::bigint = :lock)"
    )
    return bool(connection.execute(statement, {"lock": LEADER_LOCK}).scalar_one())


def is_worker_beating(connection: Connection, beat_seconds: float) -> bool:
    """Whether a worker of this host has beaten lately; in a container the host is the container."""
    oldest = now() - timedelta(seconds=_MISSED_BEATS * beat_seconds)
    statement = select(func.count()).where(workers.c.host == socket.gethostname(), workers.c.beat_at > oldest)
    return connection.execute(statement).scalar_one() > 0


def main(name: str) -> int:
    """The exit status for the process called `name`; a database that does not answer counts as not well."""
    settings = load_settings()
    engine = engine_of(settings, pool_size=1)
    try:
        with engine.connect() as connection:
            if name == "keeper":
                is_well = is_keeper_leading(connection)
            elif name == "worker":
                is_well = is_worker_beating(connection, settings.beat_seconds)
            else:
                raise SystemExit(f"no such process: {name}")
            return 0 if is_well else 1
    except UNAVAILABLE:
        return 1
    finally:
        engine.dispose()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
