"""Who is there to work: workers make themselves known and beat; the keeper and the API read it."""

from __future__ import annotations

import os
import socket
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    Exists,
    Text,
    any_,
    delete,
    exists,
    func,
    select,
    type_coerce,
)
from sqlalchemy.dialects.postgresql import insert

from softreg_core import __version__
from softreg_jobs.states import JobState
from softreg_jobs.tables import exports, jobs, leases, now, workers

__all__ = [
    "announce",
    "doorbells_wanted",
    "forget",
    "forget_lost",
    "has_started_since",
    "has_taker",
    "lives_on",
    "living_kinds",
    "takes",
]


def takes(device: str) -> tuple[str, ...]:
    """The device kinds of jobs that a worker on `device` (`cpu`, `cuda`, `cuda:N`) takes."""
    return ("auto", "cpu") if device == "cpu" else tuple(dict.fromkeys(("auto", "cuda", device)))


def announce(connection: Connection, worker_id: str, kinds: Sequence[str], *, state: str = "ready") -> None:
    """Say that this process is there: `ready`, `draining` before it leaves, or `sick` when its runner won't start."""
    statement = insert(workers).values(
        id=worker_id,
        host=socket.gethostname(),
        pid=os.getpid(),
        version=__version__,
        slots=1,
        devices=list(kinds),
        state=state,
    )
    connection.execute(
        statement.on_conflict_do_update(index_elements=[workers.c.id], set_={"beat_at": now(), "state": state})
    )


def forget(connection: Connection, worker_id: str) -> None:
    """A worker leaves."""
    connection.execute(delete(workers).where(workers.c.id == worker_id))


def forget_lost(connection: Connection, *, silent_seconds: float) -> None:
    """Drop workers that have been silent for long."""
    connection.execute(delete(workers).where(workers.c.beat_at < now() - timedelta(seconds=silent_seconds)))


def _beats(alive_seconds: float) -> ColumnElement[bool]:
    is_recent: ColumnElement[bool] = workers.c.beat_at > now() - timedelta(seconds=alive_seconds)
    return is_recent


def _is_alive(alive_seconds: float) -> ColumnElement[bool]:
    """It beats and takes jobs: one that drains does not."""
    return _beats(alive_seconds) & (workers.c.state == "ready")


def has_started_since(connection: Connection, moment: datetime) -> bool:
    """Whether a worker has made itself known at `moment` (by the database's clock) or later."""
    return bool(connection.execute(select(exists().where(workers.c.started_at >= moment))).scalar_one())


def lives_on(connection: Connection, host: str, *, alive_seconds: float) -> bool:
    """Whether a worker of `host` beats and is well, be it that it drains."""
    found = exists().where(workers.c.host == host, workers.c.state != "sick", _beats(alive_seconds))
    return bool(connection.execute(select(found)).scalar_one())


def living_kinds(connection: Connection, *, alive_seconds: float) -> Counter[str]:
    """For each device kind the number of living workers that take it."""
    rows = connection.execute(select(workers.c.devices).where(_is_alive(alive_seconds))).scalars()
    return Counter(kind for devices in rows for kind in devices)


def has_taker(kind: ColumnElement[str], alive_seconds: BindParameter[timedelta]) -> Exists:
    """Within a larger query: whether a living worker takes jobs of a device kind."""
    is_alive = (workers.c.beat_at > now() - alive_seconds) & (workers.c.state == "ready")
    return exists().where(is_alive, type_coerce(kind, Text) == any_(workers.c.devices))


def doorbells_wanted(connection: Connection, *, alive_seconds: float) -> dict[str, int]:
    """How many doorbells to ring anew for each device kind: one per free worker, as far as claimable work goes.

    What waits while a worker is free has lost its doorbell, or its time has just come. A model's file may be built by
    any worker, as a job for `auto` may be trained by any.
    """
    rows = connection.execute(
        select(jobs.c.device_kind, func.count().label("waiting"))
        .where(jobs.c.state == JobState.QUEUED, jobs.c.run_after <= now())
        .group_by(jobs.c.device_kind)
    ).all()
    waiting: Counter[str] = Counter()
    waiting.update({row.device_kind: row.waiting for row in rows})
    is_unheld = exports.c.lease_until.is_(None) | (exports.c.lease_until < now())
    waiting["auto"] += connection.execute(
        select(func.count()).select_from(exports).where(exports.c.state == "building", is_unheld)
    ).scalar_one()
    free = connection.execute(
        select(workers.c.devices)
        .outerjoin(leases, leases.c.worker_id == workers.c.id)
        .where(_is_alive(alive_seconds), leases.c.job_id.is_(None))
    ).scalars()
    slots = Counter(kind for devices in free for kind in devices)
    return {kind: min(count, slots[kind]) for kind, count in waiting.items() if count and slots[kind]}
