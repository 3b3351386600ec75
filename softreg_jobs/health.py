"""Whether the keeper or a worker does its work, for a container's health check.

    python -m softreg_jobs.health keeper|worker

Neither listens on a port; what they do shows in the database. Exit status: 0 well, 1 not.
"""

from __future__ import annotations

import socket
import sys

from sqlalchemy import Connection, text

from softreg_jobs import workers
from softreg_jobs.database import UNAVAILABLE, engine_of
from softreg_jobs.settings import load_settings

__all__ = ["is_keeper_leading", "main"]


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


def main(name: str) -> int:
    """The exit status for the process called `name`; a database that does not answer counts as not well."""
    settings = load_settings()
    engine = engine_of(settings, pool_size=1)
    try:
        with engine.connect() as connection:
            if name == "keeper":
                is_well = is_keeper_leading(connection)
            elif name == "worker":
                # In a container the host is the container.
                is_well = workers.lives_on(connection, socket.gethostname(), alive_seconds=settings.silent_seconds)
            else:
                raise SystemExit(f"no such process: {name}")
            return 0 if is_well else 1
    except UNAVAILABLE:
        return 1
    finally:
        engine.dispose()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
