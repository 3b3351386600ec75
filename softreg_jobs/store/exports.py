"""Files of a model that are built after its job has succeeded: each is a small job with a lease of its own.

`building` (wanted, or in a worker's hands) becomes `ready` or `failed`, and neither changes again. A worker claims
one, which raises its fence; when it falls silent the lease runs out and another claims it, a few times at most. Every
write of a worker is guarded by the fence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.dialects.postgresql import insert as insert_or_skip

from softreg_jobs.blobs import Blob
from softreg_jobs.errors import FencedError
from softreg_jobs.store.files import ModelFile, add_files
from softreg_jobs.tables import blobs, exports, jobs, model_files, models, now, outbox

__all__ = [
    "MAX_TRIES",
    "ExportClaim",
    "claim_export",
    "fail_export",
    "finish_export",
    "give_export_back",
    "renew_export",
    "want_export",
]

MAX_TRIES = 3
"""Workers that may die over one file before it is given up."""


@dataclass(frozen=True, slots=True)
class ExportClaim:
    """A file that is mine to build until the lease runs out; `fence` proves it."""

    model_id: str
    job_id: str
    name: str
    fence: int
    sources: Mapping[str, Blob]
    """The model's files that are there, by name."""


def want_export(connection: Connection, model_id: str, name: str) -> None:
    """Have a file built, and ring for it. Asking again changes nothing, whatever has become of it."""
    statement = insert_or_skip(exports).values(model_id=model_id, name=name, state="building")
    added = connection.execute(statement.on_conflict_do_nothing().returning(exports.c.name)).first()
    if added is not None:
        connection.execute(insert(outbox).values(topic="doorbell", key="auto"))


def claim_export(connection: Connection, worker_id: str, *, lease_seconds: float) -> ExportClaim | None:
    """Take the file that has waited longest. None when none is to be had.

    SKIP LOCKED: of two workers that ask at once each takes another one. What has killed its workers again and again
    is given up here, by the one that would have been the next.
    """
    is_unheld = exports.c.lease_until.is_(None) | (exports.c.lease_until < now())
    first = (
        select(exports)
        .where(exports.c.state == "building", is_unheld)
        .order_by(exports.c.created_at, exports.c.model_id, exports.c.name)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    while (row := connection.execute(first).first()) is not None:
        if row.tries >= MAX_TRIES:
            _fail(connection, row.model_id, row.name, f"{row.tries} tries ended without an answer: the runner died")
            continue
        until = now() + timedelta(seconds=lease_seconds)
        values = {"tries": row.tries + 1, "worker_id": worker_id, "lease_until": until, "updated_at": now()}
        this = (exports.c.model_id == row.model_id, exports.c.name == row.name)
        connection.execute(update(exports).where(*this).values(fence=row.fence + 1, **values))
        job_id = connection.execute(select(models.c.job_id).where(models.c.id == row.model_id)).scalar_one()
        return ExportClaim(row.model_id, job_id, row.name, row.fence + 1, _sources(connection, row.model_id))
    return None


def _sources(connection: Connection, model_id: str) -> dict[str, Blob]:
    rows = connection.execute(
        select(model_files.c.name, blobs.c.id, blobs.c.sha256, blobs.c.size)
        .join(blobs, blobs.c.id == model_files.c.blob_id)
        .where(model_files.c.model_id == model_id)
    )
    return {name: Blob(*facts) for name, *facts in rows}


def renew_export(connection: Connection, mine: ExportClaim, *, lease_seconds: float) -> None:
    """Keep a claim.

    Raises:
        FencedError: it is past: another worker's, or the model is gone.
    """
    _update_mine(connection, mine, lease_until=now() + timedelta(seconds=lease_seconds))


def finish_export(connection: Connection, mine: ExportClaim, file: ModelFile, facts: dict[str, Any]) -> None:
    """The file is there, and so it is the model's.

    Safe to call again after a commit whose answer was lost.

    Raises:
        FencedError: the claim is past.
    """
    if _state_under_fence(connection, mine) == "ready":
        return
    _update_mine(connection, mine, state="ready", facts=facts, lease_until=None)
    add_files(connection, mine.model_id, [file])


def fail_export(connection: Connection, mine: ExportClaim, reason: str) -> None:
    """It cannot be built. The job has succeeded all the same; if it asked for this format, it now carries a warning.

    Raises:
        FencedError: the claim is past.
    """
    if _state_under_fence(connection, mine) == "failed":
        return
    _update_mine(connection, mine, lease_until=None)
    _fail(connection, mine.model_id, mine.name, reason)


def give_export_back(connection: Connection, mine: ExportClaim, *, counts: bool) -> None:
    """Let another try at once; `counts`: this one died of it, and was not merely told to stop.

    Raises:
        FencedError: the claim is past.
    """
    tries = exports.c.tries if counts else exports.c.tries - 1
    _update_mine(connection, mine, lease_until=None, tries=tries)
    connection.execute(insert(outbox).values(topic="doorbell", key="auto"))


def _update_mine(connection: Connection, mine: ExportClaim, **values: Any) -> None:
    done = connection.execute(
        update(exports)
        .where(exports.c.model_id == mine.model_id, exports.c.name == mine.name)
        .where(exports.c.fence == mine.fence, exports.c.state == "building")
        .values(updated_at=now(), **values)
    )
    if done.rowcount != 1:
        raise FencedError(f"{mine.name} of model {mine.model_id}: fence {mine.fence} is past")


def _state_under_fence(connection: Connection, mine: ExportClaim) -> str | None:
    state: str | None = connection.execute(
        select(exports.c.state)
        .where(exports.c.model_id == mine.model_id, exports.c.name == mine.name, exports.c.fence == mine.fence)
        .with_for_update()
    ).scalar()
    return state


def _fail(connection: Connection, model_id: str, name: str, reason: str) -> None:
    connection.execute(
        update(exports)
        .where(exports.c.model_id == model_id, exports.c.name == name)
        .values(state="failed", reason=reason, updated_at=now())
    )
    warning = {"code": "export_failed", "pointer": "/export", "message": f"{name}: {reason}"}
    was_wanted = jobs.c.spec["export"].contains([name.rpartition(".")[2]])
    connection.execute(
        update(jobs)
        .where(jobs.c.model_id == model_id, was_wanted)
        .values(warnings=jobs.c.warnings.concat([warning]), updated_at=now())
    )
