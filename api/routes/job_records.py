"""What a job leaves while it runs: events, metrics, checkpoints, and in the end a model."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse

from api.deps import Database, JobId, Paging, Reader, Service
from api.openapi import problems
from api.refusals import NotAcceptableError
from api.schemas.base import PREFIX
from api.schemas.jobs import EventList, event_list
from api.schemas.metrics import MetricsReply, metrics_reply
from api.schemas.models import CheckpointList, checkpoint_reply, file_url
from softreg_jobs import queries
from softreg_jobs.errors import NotFoundError, StateConflictError
from softreg_jobs.states import TERMINAL

__all__ = ["router"]

router = APIRouter(prefix=f"{PREFIX}/jobs/{{job_id}}", tags=["jobs"])
MODEL_FILE = "model.safetensors"
Position = Annotated[int, Query(ge=0, le=2**63 - 1)]
_MAX_POINTS = (
    "How many steps at most. Of more, those are picked between which a curve turns most, for all series at once "
    "(largest triangle, three buckets); the first and the last always, and one that is not finite before any other."
)


@router.get("/events", operation_id="jobs_events", responses=problems(404, 406))
def events(
    request: Request,
    caller: Reader,
    connection: Database,
    job_id: JobId,
    after: Position = 0,
    limit: Annotated[int, Query(ge=1, le=100)] = 100,
) -> EventList:
    """What happened to a job, in order; `after` is the `seq` of the last event that is known already."""
    _refuse_streams(request)
    queries.get_outline(connection, caller.tenant_id, job_id)
    return event_list(queries.events_of(connection, job_id, after=after, limit=limit), after)


def _refuse_streams(request: Request) -> None:
    """To a reader of a stream a list would look like a stream that broke off. Any other caller gets the list."""
    accepted = ",".join(request.headers.getlist("accept")).lower().split(",")
    names = {name.partition(";")[0].strip() for name in accepted}
    if "text/event-stream" in names and names.isdisjoint({"application/json", "application/*", "*/*"}):
        message = "events do not come as a stream: take the list, and ask again with `after` for what is new"
        raise NotAcceptableError(message, ["application/json"])


@router.get("/metrics", operation_id="jobs_metrics", responses=problems(404))
def metrics(
    caller: Reader,
    connection: Database,
    job_id: JobId,
    from_step: Annotated[Position, Query(description="The first step of interest.")] = 0,
    max_points: Annotated[int, Query(ge=2, le=10_000, description=_MAX_POINTS)] = 1000,
) -> MetricsReply:
    """Every metric by step, in columns; at most `max_points` steps of them."""
    queries.get_outline(connection, caller.tenant_id, job_id)
    return metrics_reply(job_id, queries.metric_series(connection, job_id, from_step=from_step), max_points)


@router.get("/checkpoints", operation_id="jobs_checkpoints", responses=problems(404))
def checkpoints(
    caller: Reader, runtime: Service, connection: Database, job_id: JobId, paging: Paging
) -> CheckpointList:
    """The saved states of training, by step."""
    queries.get_outline(connection, caller.tenant_id, job_id)
    find = partial(queries.checkpoints_of, connection, job_id)
    question = ["checkpoints", caller.tenant_id, job_id]
    cursors = runtime.cursors(connection)
    return CheckpointList(**cursors.list_fields(question, paging, find, checkpoint_reply, lambda found: found.step))


@router.get(
    "/model",
    operation_id="jobs_model",
    status_code=307,
    response_class=RedirectResponse,
    responses=problems(404, 409),
)
def model(caller: Reader, connection: Database, job_id: JobId) -> RedirectResponse:
    """The way to the model's weights.

    A job that may still make a model is a conflict with its state, which time resolves; one that ended without
    a model has none, now and later.
    """
    job = queries.get_outline(connection, caller.tenant_id, job_id)
    if job.model_id is not None:
        return RedirectResponse(file_url(job.model_id, MODEL_FILE), 307)
    if job.state in TERMINAL:
        raise NotFoundError("model of job", job_id)
    raise StateConflictError(f"the job is {job.state}; it has a model once it has succeeded", job.state)
