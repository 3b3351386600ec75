"""How an attempt ends: with a model, with an error, by a wish, or by a fault that is not the job's."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from softreg_jobs.errors import FencedError
from softreg_jobs.states import ACTIVE, Actor, JobState
from softreg_jobs.store.attempt import Claim
from softreg_jobs.store.exports import want_export
from softreg_jobs.store.files import ModelFile, add_files
from softreg_jobs.store.moves import move
from softreg_jobs.tables import attempts, jobs, leases, models, now, outbox

__all__ = [
    "MAX_INFRA_FAULTS",
    "MAX_STALLS",
    "AttemptFacts",
    "Result",
    "after_fault",
    "cancelled",
    "expired_leases",
    "fail",
    "reap",
    "release",
    "state_under_fence",
    "succeed",
    "worker_fault",
]

MAX_INFRA_FAULTS = 20
# Deaths in a row without a new checkpoint: the job itself is the likely cause.
MAX_STALLS = 3


@dataclass(frozen=True, slots=True)
class AttemptFacts:
    """What is kept of an attempt for whoever asks why."""

    exit_code: int | None = None
    signal: int | None = None
    max_rss: int | None = None
    log_tail: str | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What a finished training leaves."""

    model_id: str
    files: Sequence[ModelFile]
    metrics: dict[str, float | None]
    reason: str
    exports: Sequence[str] = ()
    """Names of files that are to be built from those that are there."""
    report: dict[str, Any] | None = None
    """The metrics in full; see softreg_core.evaluate.document."""


def succeed(connection: Connection, mine: Claim, result: Result, facts: AttemptFacts) -> None:
    """The job is done: state, model, attempt and event in one transaction.

    Safe to call again after a commit whose answer was lost: a stored result with this fence and model is success.

    Raises:
        FencedError: somebody else owns the job, or a wish to cancel came first.
    """
    row = move(
        connection,
        mine.job_id,
        JobState.SUCCEEDED,
        Actor.WORKER,
        reason=result.reason,
        fence=mine.fence,
        data={"model_id": result.model_id},
        model_id=result.model_id,
        termination_reason=result.reason,
    )
    if row is None:
        if _is_settled(connection, mine, JobState.SUCCEEDED, model_id=result.model_id):
            return
        raise FencedError(f"job {mine.job_id}: fence {mine.fence} may not succeed")
    connection.execute(
        insert(models).values(
            id=result.model_id,
            tenant_id=mine.tenant_id,
            job_id=mine.job_id,
            metrics=result.metrics,
            report=result.report,
        )
    )
    add_files(connection, result.model_id, result.files)
    for name in result.exports:
        want_export(connection, result.model_id, name)
    _close_attempt(connection, mine.job_id, mine.fence, "succeeded", facts)


def fail(connection: Connection, mine: Claim, error: dict[str, Any], facts: AttemptFacts) -> None:
    """The job cannot succeed; `error` says why. Checkpoints stay.

    Raises:
        FencedError: somebody else owns the job.
    """
    row = move(
        connection,
        mine.job_id,
        JobState.FAILED,
        Actor.WORKER,
        reason=error["code"],
        fence=mine.fence,
        error=error,
        termination_reason="error",
    )
    if row is None and not _is_settled(connection, mine, JobState.FAILED):
        raise FencedError(f"job {mine.job_id}: fence {mine.fence} may not fail")
    _close_attempt(connection, mine.job_id, mine.fence, "failed", facts)


def cancelled(connection: Connection, mine: Claim, facts: AttemptFacts) -> None:
    """The runner stopped because the owner asked.

    Raises:
        FencedError: somebody else owns the job.
    """
    row = move(
        connection,
        mine.job_id,
        JobState.CANCELLED,
        Actor.WORKER,
        reason="cancelled",
        fence=mine.fence,
        termination_reason="cancelled",
    )
    if row is None and not _is_settled(connection, mine, JobState.CANCELLED):
        raise FencedError(f"job {mine.job_id}: fence {mine.fence} may not be cancelled")
    _close_attempt(connection, mine.job_id, mine.fence, "cancelled", facts)


def worker_fault(connection: Connection, mine: Claim, outcome: str, facts: AttemptFacts) -> JobState:
    """My runner died or could not be used: give the job back, without waiting for the lease to run out.

    Raises:
        FencedError: somebody else owns the job.
    """
    row = connection.execute(
        select(jobs)
        .where(jobs.c.id == mine.job_id, jobs.c.fence == mine.fence, jobs.c.state.in_(ACTIVE))
        .with_for_update()
    ).first()
    if row is None:
        raise FencedError(f"job {mine.job_id}: fence {mine.fence} is past")
    state = after_fault(connection, row, Actor.WORKER, outcome)
    _close_attempt(connection, mine.job_id, mine.fence, outcome, facts)
    return state


def release(connection: Connection, mine: Claim, facts: AttemptFacts) -> None:
    """A draining worker gives a healthy job back; the attempt does not count, the checkpoint is published.

    Raises:
        FencedError: somebody else owns the job, or a wish to cancel came first.
    """
    row = move(
        connection,
        mine.job_id,
        JobState.QUEUED,
        Actor.WORKER,
        reason="drained",
        fence=mine.fence,
        attempt=jobs.c.attempt - 1,
        run_after=now(),
    )
    if row is None:
        raise FencedError(f"job {mine.job_id}: fence {mine.fence} may not be released")
    _close_attempt(connection, mine.job_id, mine.fence, "drained", facts)
    connection.execute(insert(outbox).values(topic="doorbell", key=row.device_kind))


def expired_leases(connection: Connection) -> list[str]:
    """Jobs whose worker has been silent for longer than its lease."""
    return list(connection.execute(select(leases.c.job_id).where(leases.c.lease_until < now())).scalars())


def reap(connection: Connection, job_id: str) -> JobState | None:
    """Take a job from a silent worker. None when the worker spoke up in time.

    The lock on an expired lease row, taken under the job's lock, is the point of decision: a beat that comes later
    waits and finds no lease, one that came earlier moved `lease_until` and nothing matches.
    """
    # SKIP LOCKED: who holds a row may be a process that was stopped in the middle; the reaper comes again.
    row = connection.execute(select(jobs).where(jobs.c.id == job_id).with_for_update(skip_locked=True)).first()
    expired = select(leases.c.job_id).where(leases.c.job_id == job_id, leases.c.lease_until < now())
    expired = expired.with_for_update(skip_locked=True)
    if row is None or connection.execute(expired).first() is None:
        return None
    state = after_fault(connection, row, Actor.KEEPER, "lease_expired")
    _close_attempt(connection, job_id, row.fence, "lease_expired", AttemptFacts())
    return state


def after_fault(connection: Connection, row: Row[Any], actor: Actor, outcome: str) -> JobState:
    """Where a job goes whose attempt died; the caller holds the job's row lock.

    The first fault queues it again at once, later ones after 20, 40 .. 360 seconds, with jitter so that jobs that
    died together do not return together.
    """
    faults, stalls = row.infra_faults + 1, row.stalls + 1
    counts = {"infra_faults": faults, "stalls": stalls}
    raises = {"reason": outcome, "raises_fence": True, "fence": row.fence}
    match JobState(row.state):
        case JobState.CANCELLING:
            move(connection, row.id, JobState.CANCELLED, actor, termination_reason="cancelled", **raises, **counts)
            return JobState.CANCELLED
        case JobState.PAUSING:
            move(connection, row.id, JobState.PAUSED, actor, **raises, **counts)
            return JobState.PAUSED
    if stalls >= MAX_STALLS or faults >= MAX_INFRA_FAULTS:
        is_poison = stalls >= MAX_STALLS
        error = {
            "code": "poison" if is_poison else "infrastructure",
            "fault": "service",
            "message": f"the worker died {stalls} times without a new checkpoint; the job is set aside"
            if is_poison
            else f"{faults} faults that are not the job's; giving up",
        }
        move(connection, row.id, JobState.FAILED, actor, error=error, termination_reason="error", **raises, **counts)
        return JobState.FAILED
    delay = 0.0 if faults == 1 else min(10.0 * 2 ** (faults - 1), 360.0) * random.uniform(0.8, 1.2)
    move(connection, row.id, JobState.QUEUED, actor, run_after=now() + timedelta(seconds=delay), **raises, **counts)
    if delay == 0.0:
        connection.execute(insert(outbox).values(topic="doorbell", key=row.device_kind))
    return JobState.QUEUED


def state_under_fence(connection: Connection, mine: Claim) -> JobState | None:
    """The job's state, if it is still mine."""
    state = connection.execute(
        select(jobs.c.state).where(jobs.c.id == mine.job_id, jobs.c.fence == mine.fence)
    ).scalar()
    return None if state is None else JobState(state)


def _is_settled(connection: Connection, mine: Claim, state: JobState, **expected: Any) -> bool:
    row = connection.execute(select(jobs).where(jobs.c.id == mine.job_id, jobs.c.fence == mine.fence)).first()
    return row is not None and row.state == state and all(getattr(row, k) == v for k, v in expected.items())


def _close_attempt(connection: Connection, job_id: str, fence: int, outcome: str, facts: AttemptFacts) -> None:
    connection.execute(delete(leases).where(leases.c.job_id == job_id, leases.c.fence == fence))
    connection.execute(
        update(attempts)
        .where(attempts.c.job_id == job_id, attempts.c.fence == fence, attempts.c.ended_at.is_(None))
        .values(
            ended_at=now(),
            outcome=outcome,
            exit_code=facts.exit_code,
            signal=facts.signal,
            max_rss=facts.max_rss,
            log_tail=facts.log_tail,
        )
    )
