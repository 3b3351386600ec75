"""How a job stands: in full, with its course and its place in the queue; what callers ask for again and again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    DateTime,
    FromClause,
    Interval,
    Select,
    bindparam,
    case,
    func,
    literal_column,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from softreg_jobs.errors import NotFoundError
from softreg_jobs.queries import full_select, job_values
from softreg_jobs.records import Job, Standing, Transition
from softreg_jobs.states import JobState
from softreg_jobs.tables import job_events, jobs
from softreg_jobs.workers import has_taker

__all__ = ["ahead_of", "get_standing"]

# Written out where it picks a partial index: a plan for any state could not use that.
_QUEUED: ColumnElement[str] = literal_column("'queued'")


def get_standing(connection: Connection, tenant_id: str, job_id: str, *, alive_seconds: float) -> Standing:
    """One job with its course and its place in the queue, in one query: it is what callers ask for again and again.

    Raises:
        NotFoundError: the tenant has no such job.
    """
    asked = {"asked_id": job_id, "asked_tenant": tenant_id, "alive": timedelta(seconds=alive_seconds)}
    row = connection.execute(_STANDING, asked).first()
    if row is None:
        raise NotFoundError("job", job_id)
    values = job_values(row)
    transitions = [
        Transition(JobState(data["state"]), at, data["reason"])
        for data, at in zip(values.pop("course"), values.pop("course_at"), strict=True)
    ]
    jobs_ahead, has_worker = values.pop("jobs_ahead"), values.pop("has_worker")
    return Standing(Job(**values), transitions, jobs_ahead, has_worker)


def ahead_of(
    priority: ColumnElement[int], run_after: ColumnElement[Any], job_id: ColumnElement[str], within: FromClause
) -> ColumnElement[int]:
    """Within a larger query over `within`: how many queued jobs are claimed before one of this priority, time and id.

    Two counts, each a stretch of jobs_queue_idx; with an OR between them every job that waits would be looked at.
    """
    other = jobs.alias("other")
    is_earlier = func.row(other.c.run_after, other.c.id) < func.row(run_after, job_id)
    waiting = select(func.count()).select_from(other).where(other.c.state == _QUEUED)
    urgent = waiting.where(other.c.priority > priority).correlate(within).scalar_subquery()
    peers = waiting.where(other.c.priority == priority, is_earlier).correlate(within).scalar_subquery()
    return urgent + peers


def _standing_select() -> Select[Any]:
    course = select(job_events.c.data, job_events.c.at).where(
        job_events.c.job_id == jobs.c.id, job_events.c.type == literal_column("'state'")
    )
    course = course.order_by(job_events.c.seq).correlate(jobs)
    is_queued = jobs.c.state == _QUEUED
    ahead = ahead_of(jobs.c.priority, jobs.c.run_after, jobs.c.id, jobs)
    return full_select(
        func.array(course.with_only_columns(job_events.c.data).scalar_subquery(), type_=ARRAY(JSONB)).label("course"),
        func.array(course.with_only_columns(job_events.c.at).scalar_subquery(), type_=ARRAY(DateTime(True))).label(
            "course_at"
        ),
        case((is_queued, ahead)).label("jobs_ahead"),
        (is_queued & has_taker(jobs.c.device_kind, bindparam("alive", type_=Interval))).label("has_worker"),
    ).where(jobs.c.id == bindparam("asked_id"), jobs.c.tenant_id == bindparam("asked_tenant"))


_STANDING = _standing_select()
