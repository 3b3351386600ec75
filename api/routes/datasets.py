"""Datasets: upload, list, show."""

from __future__ import annotations

from functools import partial
from typing import Annotated, get_args

import anyio.to_thread
from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from api.deps import Database, DatasetId, Paging, Reader, Service, Writer
from api.intake import find_or_make, store_upload
from api.openapi import UPLOAD_BODY, problems
from api.schemas.base import PREFIX
from api.schemas.datasets import DatasetList, DatasetReply, dataset_reply, dataset_summary
from api.uploads import received
from softreg_core.data.request import FileFormat
from softreg_jobs.datasets import get_dataset, list_datasets
from softreg_jobs.errors import NotFoundError

__all__ = ["router"]

router = APIRouter(prefix=f"{PREFIX}/datasets", tags=["datasets"])
_FORMAT = f"`{'` or `'.join(get_args(FileFormat))}`; else by the file's name."


@router.post(
    "",
    operation_id="datasets_create",
    status_code=201,
    openapi_extra=UPLOAD_BODY,
    responses={201: {"headers": {"Location": {"schema": {"type": "string"}}}}, **problems(400, 408, 413, 415)},
)
async def create(
    request: Request,
    response: Response,
    caller: Writer,
    runtime: Service,
    name: Annotated[str | None, Query(description="For display; else the file's own name.")] = None,
    format: Annotated[str | None, Query(description=_FORMAT)] = None,  # noqa: A002
) -> DatasetReply:
    """Upload a table: a form with the part `file`, or the file itself as the body.

    Flawed cells are counted in the report; a job that would use one is refused when it is submitted.
    """
    async with received(request, runtime.settings) as upload:
        given = {"name": name, "format": format}
        upload.query = {key: value for key, value in given.items() if value is not None}
        dataset_id = await anyio.to_thread.run_sync(
            store_upload, runtime, upload, caller.tenant_id, limiter=runtime.parses
        )
    async with runtime.transaction() as connection:
        dataset = await run_in_threadpool(get_dataset, connection, caller.tenant_id, dataset_id)
    response.headers["Location"] = f"{PREFIX}/datasets/{dataset_id}"
    return dataset_reply(dataset)


@router.get("", operation_id="datasets_list", responses=problems())
def list_all(caller: Reader, runtime: Service, connection: Database, paging: Paging) -> DatasetList:
    """The tenant's uploads, newest first unless asked otherwise."""
    find = partial(list_datasets, connection, caller.tenant_id)
    question = ["datasets", caller.tenant_id]
    cursors = runtime.cursors(connection)
    return DatasetList(**cursors.list_fields(question, paging, find, dataset_summary, lambda dataset: dataset.id))


@router.get("/{dataset_id}", operation_id="datasets_get", responses=problems(404))
def get(caller: Reader, runtime: Service, connection: Database, dataset_id: DatasetId) -> DatasetReply:
    """A dataset with its columns: their types, ranges, classes and flaws."""
    dataset = find_or_make(runtime, connection, caller.tenant_id, dataset_id)
    if dataset is None:
        raise NotFoundError("dataset", dataset_id)
    return dataset_reply(dataset)
