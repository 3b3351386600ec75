"""Jobs: submit, list, show, cancel."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import JSONResponse
from sqlalchemy import Connection

from api.body import JsonBody, NoBody
from api.deps import Database, JobId, Paging, Reader, Service, Writer
from api.downloads import matches
from api.openapi import JOB_BODY, problems
from api.refusals import MalformedRequestError
from api.runtime import Runtime, runtime_of
from api.schemas.base import PREFIX
from api.schemas.jobs import JobList, JobReply, job_reply, job_summary
from api.submission import Submission
from softreg_jobs import queries, store
from softreg_jobs.records import Standing
from softreg_jobs.standing import get_standing
from softreg_jobs.states import JobState

__all__ = ["router"]

router = APIRouter(prefix=f"{PREFIX}/jobs", tags=["jobs"])
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
IdempotencyKey = Annotated[
    str | None,
    Header(description="1 to 255 printable characters; the same key and body give the same reply for 24 hours."),
]


@router.post(
    "",
    operation_id="jobs_create",
    status_code=201,
    response_model=JobReply,
    openapi_extra=JOB_BODY,
    responses={
        201: {"headers": {"Location": {"schema": {"type": "string"}}}},
        **problems(400, 408, 409, 413, 415, 429),
    },
)
async def create(request: Request, caller: Writer, body: JsonBody, idempotency_key: IdempotencyKey = None) -> Response:
    """Submit a job."""
    runtime = runtime_of(request)

    def submit(connection: Connection) -> JobReply:
        new = Submission(runtime, connection, caller.tenant_id, request.state.request_id).checked(body)
        most = runtime.settings.max_queued_jobs
        return _shown(store.submit(connection, new, max_queued=most, alive_seconds=runtime.alive_seconds))

    if idempotency_key is None:
        # One statement writes everything, so there is no transaction around it whose lock others would wait for.
        place, content = await runtime.singly(lambda connection: _written(submit(connection)))
        return Response(content, 201, {"Location": place}, media_type="application/json")
    stored = await runtime.within(
        lambda connection: _once(connection, caller.tenant_id, idempotency_key, body, partial(submit, connection))
    )
    headers = {"Location": stored.body["urls"]["self"]} | ({"Idempotent-Replayed": "true"} if stored.is_replay else {})
    return JSONResponse(stored.body, stored.status, headers)


def _written(reply: JobReply) -> tuple[str, str]:
    return reply.urls["self"], reply.model_dump_json()


def _once(
    connection: Connection, tenant_id: str, key: str, body: bytes, make: Callable[[], JobReply]
) -> store.StoredReply:
    if not _KEY.fullmatch(key):
        raise MalformedRequestError("an Idempotency-Key has 1 to 255 printable ASCII characters, without spaces")

    def reply() -> store.StoredReply:
        return store.StoredReply(201, make().model_dump(mode="json"))

    return store.once(connection, tenant_id=tenant_id, route="POST /v1/jobs", key=key, body=body, make=reply)


def _shown(standing: Standing) -> JobReply:
    """A job in full, as it stands at this moment."""
    job, warnings = standing.job, []
    if job.state is JobState.QUEUED and not standing.has_worker:
        message = f"no living worker takes jobs for device '{job.device_kind}'; the job waits until one does"
        warnings = [{"code": "no_worker", "pointer": "/resources/device", "message": message}]
    return job_reply(job, standing.transitions, standing.jobs_ahead, warnings)


def _found(runtime: Runtime, connection: Connection, tenant_id: str, job_id: str) -> JobReply:
    return _shown(get_standing(connection, tenant_id, job_id, alive_seconds=runtime.alive_seconds))


@router.get("", operation_id="jobs_list", responses=problems())
def list_all(
    caller: Reader,
    runtime: Service,
    connection: Database,
    paging: Paging,
    state: Annotated[JobState | None, Query(description="Only jobs in this state.")] = None,
) -> JobList:
    """The tenant's jobs, newest first unless asked otherwise."""
    find = partial(queries.list_jobs, connection, caller.tenant_id, state=state)
    question = ["jobs", caller.tenant_id, str(state)]
    return JobList(**runtime.cursors(connection).list_fields(question, paging, find, job_summary, lambda job: job.id))


@router.get(
    "/{job_id}",
    operation_id="jobs_get",
    response_model=JobReply,
    responses={304: {"description": "Not Modified"}, **problems(404)},
)
async def get(
    request: Request, caller: Reader, job_id: JobId, if_none_match: Annotated[str | None, Header()] = None
) -> Response:
    """One job. Its ETag covers all but `durations`, which change by themselves."""
    runtime = runtime_of(request)
    content, tag = await runtime.singly(
        lambda connection: _tagged(_found(runtime, connection, caller.tenant_id, job_id))
    )
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if if_none_match is not None and matches(if_none_match, tag):
        return Response(status_code=304, headers=headers)
    return Response(content, headers=headers, media_type="application/json")


def _tagged(reply: JobReply) -> tuple[str, str]:
    """The body and its ETag. A spec can be large: what is hashed is written once, and the durations behind it."""
    lasting = reply.model_dump_json(exclude={"durations"})
    tag = f'W/"{hashlib.sha256(lasting.encode()).hexdigest()[:32]}"'
    return f'{lasting.removesuffix("}")},"durations":{reply.durations.model_dump_json()}}}', tag


@router.post("/{job_id}/cancel", operation_id="jobs_cancel", responses=problems(400, 404, 408, 409, 413))
def cancel(caller: Writer, _: NoBody, runtime: Service, connection: Database, job_id: JobId) -> JobReply:
    """Cancel a job: a waiting one at once, a running one at its next step. Asking again is harmless until it ends."""
    store.request_cancel(connection, caller.tenant_id, job_id)
    return _found(runtime, connection, caller.tenant_id, job_id)
