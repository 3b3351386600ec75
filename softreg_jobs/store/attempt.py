"""A worker's side of a job: claim it, keep the lease, record what happens; `ending` ends the attempt.

Every write is guarded by the claim's fence. A worker that lost its lease gets FencedError and must write nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, delete, func, select, union_all, update
from sqlalchemy.dialects.postgresql import insert

from softreg_jobs.blobs import Blob, discard, publish
from softreg_jobs.errors import FencedError
from softreg_jobs.ids import new_id
from softreg_jobs.states import ACTIVE, Actor, JobState
from softreg_jobs.store.files import files_of
from softreg_jobs.store.moves import add_event, move
from softreg_jobs.tables import attempts, blobs, checkpoints, datasets, job_events, jobs, leases, metrics, now

__all__ = [
    "Claim",
    "NewCheckpoint",
    "StoredCheckpoint",
    "beat",
    "claim",
    "holds",
    "publish_checkpoint",
    "record_metrics",
    "record_warning",
]


@dataclass(frozen=True, slots=True)
class StoredCheckpoint:
    """A published checkpoint and where its bytes are."""

    id: str
    step: int
    epoch: int
    blob: Blob
    summary: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Claim:
    """A job that is mine until its lease runs out; `fence` proves it."""

    job_id: str
    fence: int
    attempt: int
    worker_id: str
    tenant_id: str
    spec: dict[str, Any]
    dataset: Blob
    resume: StoredCheckpoint | None
    best: StoredCheckpoint | None
    dataset_sha256: str = ""
    """Of the file that was uploaded; `dataset` is what was made of it."""
    teacher: Mapping[str, Blob] = field(default_factory=dict)
    """The files of the model that the job learns from, by name; empty where there is none, or it is gone."""


@dataclass(frozen=True, slots=True)
class NewCheckpoint:
    """A checkpoint whose bytes are uploaded and unpublished."""

    blob: Blob
    step: int
    epoch: int
    metrics: dict[str, float | None]
    summary: dict[str, Any]
    """Last and best of each metric so far: what an attempt that goes on from here starts with."""
    is_best: bool


def claim(
    connection: Connection, worker_id: str, kinds: Sequence[str], *, lease_seconds: float, device: str | None = None
) -> Claim | None:
    """Take the first claimable job: highest priority, then longest waiting. None when there is none.

    SKIP LOCKED lets many workers claim at once without waiting for each other or taking the same job.
    """
    job_id = next(filter(None, (_lock_first(connection, kind) for kind in _kinds_in_turn(connection, kinds))), None)
    if job_id is None:
        return None
    row = move(
        connection,
        job_id,
        JobState.RUNNING,
        Actor.WORKER,
        reason="claimed",
        raises_fence=True,
        data={"worker_id": worker_id},
        worker_id=worker_id,
        attempt=jobs.c.attempt + 1,
        started_at=func.coalesce(jobs.c.started_at, now()),
    )
    if row is None:
        return None
    resume = _stored_checkpoint(connection, row.last_checkpoint_id)
    connection.execute(
        insert(leases).values(
            job_id=row.id,
            fence=row.fence,
            worker_id=worker_id,
            beat_at=now(),
            lease_until=now() + timedelta(seconds=lease_seconds),
            step=resume.step if resume else 0,
        )
    )
    connection.execute(
        insert(attempts).values(
            job_id=row.id,
            fence=row.fence,
            number=row.attempt,
            worker_id=worker_id,
            device=device,
            from_checkpoint_id=resume.id if resume else None,
            from_step=resume.step if resume else 0,
        )
    )
    data = connection.execute(
        select(blobs.c.id, blobs.c.sha256, blobs.c.size, datasets.c.sha256.label("uploaded_sha256"))
        .join(datasets, datasets.c.blob_id == blobs.c.id)
        .where(datasets.c.id == row.dataset_id)
    ).one()
    return Claim(
        job_id=row.id,
        fence=row.fence,
        attempt=row.attempt,
        worker_id=worker_id,
        tenant_id=row.tenant_id,
        spec=row.spec,
        dataset=Blob(data.id, data.sha256, data.size),
        dataset_sha256=data.uploaded_sha256,
        resume=resume,
        best=_stored_checkpoint(connection, row.best_checkpoint_id),
        teacher=_teacher(connection, row.tenant_id, row.spec),
    )


def _teacher(connection: Connection, tenant_id: str, spec: dict[str, Any]) -> dict[str, Blob]:
    model_id = ((spec["loss"]["divergence"] or {}).get("source") or {}).get("model")
    return {} if model_id is None else files_of(connection, tenant_id, model_id)


def _kinds_in_turn(connection: Connection, kinds: Sequence[str]) -> list[str]:
    """The device kinds with something claimable, the one whose first job comes first at the front.

    One look into the index for each kind: a long queue of another kind is never walked through.
    """
    heads = [
        select(jobs.c.device_kind, jobs.c.priority, jobs.c.run_after, jobs.c.id)
        .where(jobs.c.state == JobState.QUEUED, jobs.c.device_kind == kind, jobs.c.run_after <= now())
        .order_by(jobs.c.priority.desc(), jobs.c.run_after, jobs.c.id)
        .limit(1)
        .subquery()
        for kind in kinds
    ]
    first = union_all(*(select(head) for head in heads)).subquery()
    order = (first.c.priority.desc(), first.c.run_after, first.c.id)
    return list(connection.execute(select(first.c.device_kind).order_by(*order)).scalars())


def _lock_first(connection: Connection, kind: str) -> str | None:
    """Lock the first claimable job of a kind that nobody else is at."""
    statement = (
        select(jobs.c.id)
        .where(jobs.c.state == JobState.QUEUED, jobs.c.device_kind == kind, jobs.c.run_after <= now())
        .order_by(jobs.c.priority.desc(), jobs.c.run_after, jobs.c.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    return connection.execute(statement).scalar()


def _stored_checkpoint(connection: Connection, checkpoint_id: str | None) -> StoredCheckpoint | None:
    if checkpoint_id is None:
        return None
    row = connection.execute(
        select(checkpoints, blobs.c.sha256, blobs.c.size)
        .join(blobs, blobs.c.id == checkpoints.c.blob_id)
        .where(checkpoints.c.id == checkpoint_id)
    ).one()
    return StoredCheckpoint(row.id, row.step, row.epoch, Blob(row.blob_id, row.sha256, row.size), row.summary)


def beat(connection: Connection, mine: Claim, *, lease_seconds: float, step: int, progress: dict[str, Any]) -> JobState:
    """Renew the lease and tell how far training is; returns the job's state, which may carry a wish (cancelling).

    Raises:
        FencedError: the lease is gone.
    """
    state = connection.execute(
        update(leases)
        .where(leases.c.job_id == mine.job_id, leases.c.fence == mine.fence, jobs.c.id == leases.c.job_id)
        .values(beat_at=now(), lease_until=now() + timedelta(seconds=lease_seconds), step=step, progress=progress)
        .returning(jobs.c.state)
    ).scalar()
    if state is None:
        raise FencedError(f"job {mine.job_id}: lease {mine.fence} is gone")
    return JobState(state)


def record_metrics(
    connection: Connection,
    mine: Claim,
    series: dict[str, tuple[list[int], list[float]]],
    event: dict[str, Any] | None = None,
) -> None:
    """Append a block to each series; with `event`, also a `progress` event that carries it.

    Raises:
        FencedError: the job is no longer mine.
    """
    _lock_mine(connection, mine)
    blocks = [
        {
            "job_id": mine.job_id,
            "fence": mine.fence,
            "series": name,
            "first_step": steps[0],
            "steps": steps,
            "values": values,
        }
        for name, (steps, values) in series.items()
    ]
    # A block that is there already: the commit before was made, and only its answer was lost.
    added = connection.execute(insert(metrics).values(blocks).on_conflict_do_nothing().returning(metrics.c.id)).all()
    if added and event is not None:
        add_event(connection, mine.job_id, mine.fence, "progress", event)


def record_warning(connection: Connection, mine: Claim, facts: dict[str, Any]) -> None:
    """Add a `warning` event, once for each code and attempt: a commit whose answer was lost is made again.

    Raises:
        FencedError: the job is no longer mine.
    """
    _lock_mine(connection, mine)
    told = select(job_events.c.seq).where(
        job_events.c.job_id == mine.job_id,
        job_events.c.fence == mine.fence,
        job_events.c.type == "warning",
        job_events.c.data["code"].astext == facts["code"],
    )
    if connection.execute(told).first() is None:
        add_event(connection, mine.job_id, mine.fence, "warning", facts, level="warning")


def publish_checkpoint(connection: Connection, mine: Claim, new: NewCheckpoint, *, keep_last: int) -> str:
    """Make an uploaded checkpoint the job's newest (and best, if it is), and drop those past retention.

    A second attempt may reach a step that a fenced one had saved already: the newer fence's bytes replace it.

    Raises:
        FencedError: the job is no longer mine.
    """
    _lock_mine(connection, mine)
    again = connection.execute(
        select(checkpoints.c.id).where(checkpoints.c.job_id == mine.job_id, checkpoints.c.blob_id == new.blob.id)
    ).scalar()
    if again is not None:
        return str(again)  # the commit before was made, and only its answer was lost
    publish(connection, new.blob)
    checkpoint_id = new_id("ckpt")
    same_step = (checkpoints.c.job_id == mine.job_id, checkpoints.c.step == new.step)
    replaced = connection.execute(delete(checkpoints).where(*same_step).returning(checkpoints.c.blob_id)).scalars()
    old_blobs = list(replaced)
    if new.is_best:
        connection.execute(update(checkpoints).where(checkpoints.c.job_id == mine.job_id).values(is_best=False))
    connection.execute(
        insert(checkpoints).values(
            id=checkpoint_id,
            job_id=mine.job_id,
            fence=mine.fence,
            step=new.step,
            epoch=new.epoch,
            blob_id=new.blob.id,
            metrics=new.metrics,
            summary=new.summary,
            is_best=new.is_best,
        )
    )
    discard(connection, old_blobs + _past_retention(connection, mine.job_id, keep_last))
    pointers: dict[str, Any] = {"stalls": 0, "last_checkpoint_id": _newest(mine.job_id)}
    if new.is_best:
        pointers["best_checkpoint_id"] = checkpoint_id
    connection.execute(update(jobs).where(jobs.c.id == mine.job_id).values(**pointers))
    add_event(
        connection,
        mine.job_id,
        mine.fence,
        "checkpoint",
        {"checkpoint_id": checkpoint_id, "step": new.step, "epoch": new.epoch, "is_best": new.is_best},
    )
    return checkpoint_id


def _lock_mine(connection: Connection, mine: Claim) -> None:
    """Hold the job's row, so that nobody takes the job before this transaction ends.

    Raises:
        FencedError: somebody has taken it.
    """
    if not holds(connection, mine):
        raise FencedError(f"job {mine.job_id}: fence {mine.fence} is past")


def holds(connection: Connection, mine: Claim) -> bool:
    """Whether the job is mine; if so, it stays mine until this transaction ends."""
    statement = select(jobs.c.id).where(jobs.c.id == mine.job_id, jobs.c.fence == mine.fence, jobs.c.state.in_(ACTIVE))
    return connection.execute(statement.with_for_update()).first() is not None


def _newest(job_id: str) -> Any:
    return (
        select(checkpoints.c.id)
        .where(checkpoints.c.job_id == job_id)
        .order_by(checkpoints.c.step.desc())
        .limit(1)
        .scalar_subquery()
    )


def _past_retention(connection: Connection, job_id: str, keep_last: int) -> list[str]:
    """Delete all but the last, the best and the pinned checkpoints; returns the blobs that nobody holds now."""
    kept = (
        select(checkpoints.c.id)
        .where(checkpoints.c.job_id == job_id)
        .order_by(checkpoints.c.step.desc())
        .limit(keep_last)
    )
    gone = delete(checkpoints).where(
        checkpoints.c.job_id == job_id,
        checkpoints.c.id.not_in(kept),
        checkpoints.c.is_best.is_(False),
        checkpoints.c.pinned.is_(False),
    )
    return list(connection.execute(gone.returning(checkpoints.c.blob_id)).scalars())
