"""Jobs: submit, list, show, cancel."""

from __future__ import annotations

import hashlib
import re
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import JSONResponse
from sqlalchemy import Connection

from api.body import JsonBody, NoBody
from api.deps import Database, JobId, Paging, Reader, Service, Writer
from api.downloads import matches
from api.openapi import JOB_BODY, problems
from api.refusals import MalformedRequestError
from api.runtime import Runtime
from api.schemas.base import PREFIX
from api.schemas.jobs import JobList, JobReply, job_reply, job_summary
from api.submission import Submission
from softreg_jobs import queries, store
from softreg_jobs.records import Job
from softreg_jobs.states import JobState
from softreg_jobs.workers import living_kinds

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
def create(
    request: Request,
    caller: Writer,
    body: JsonBody,
    runtime: Service,
    connection: Database,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Submit a job."""

    def submit() -> store.StoredReply:
        submission = Submission(runtime, connection, caller.tenant_id, request.state.request_id)
        new = submission.checked(body)
        job_id = store.submit(connection, new, max_queued=runtime.settings.max_queued_jobs)
        job = queries.get_job(connection, caller.tenant_id, job_id)
        return store.StoredReply(201, _shown(runtime, connection, job).model_dump(mode="json"))

    reply = _once(connection, caller.tenant_id, idempotency_key, body, submit)
    headers = {"Location": reply.body["urls"]["self"]} | ({"Idempotent-Replayed": "true"} if reply.is_replay else {})
    return JSONResponse(reply.body, reply.status, headers)


def _once(connection: Connection, tenant_id: str, key: str | None, body: bytes, make: Any) -> store.StoredReply:
    if key is None:
        reply: store.StoredReply = make()
        return reply
    if not _KEY.fullmatch(key):
        raise MalformedRequestError("an Idempotency-Key has 1 to 255 printable ASCII characters, without spaces")
    return store.once(connection, tenant_id=tenant_id, route="POST /v1/jobs", key=key, body=body, make=make)


def _shown(runtime: Runtime, connection: Connection, job: Job) -> JobReply:
    """A job in full, as it stands at this moment."""
    is_queued = job.state is JobState.QUEUED
    warnings = []
    if is_queued and not living_kinds(connection, alive_seconds=runtime.alive_seconds)[job.device_kind]:
        message = f"no living worker takes jobs for device '{job.device_kind}'; the job waits until one does"
        warnings = [{"code": "no_worker", "pointer": "/resources/device", "message": message}]
    ahead = queries.jobs_ahead(connection, job) if is_queued else None
    return job_reply(job, queries.transitions_of(connection, job.id), ahead, warnings)


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
def get(
    caller: Reader,
    runtime: Service,
    connection: Database,
    job_id: JobId,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """One job. Its ETag covers all but `durations`, which change by themselves."""
    content, tag = _tagged(_shown(runtime, connection, queries.get_job(connection, caller.tenant_id, job_id)))
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
    return _shown(runtime, connection, queries.get_job(connection, caller.tenant_id, job_id))
