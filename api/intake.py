"""Datasets on their way into the database: uploads, and samples at their first use."""

from __future__ import annotations

import hashlib
import re
import tempfile
from pathlib import Path

from sqlalchemy import Connection

from api.refusals import InvalidRequestError, UnsupportedMediaTypeError
from api.runtime import Runtime
from api.uploads import SPOOL_PREFIX, Upload
from softreg_core.data.parse import parse_file, parse_sample
from softreg_core.data.request import FILE_FORMATS, SAMPLES, FileFormat, format_of
from softreg_core.errors import Problem
from softreg_jobs.datasets import add_dataset, find_dataset
from softreg_jobs.records import Dataset
from softreg_jobs.spool import private_directory

__all__ = ["SAMPLE_IDS", "find_or_make", "store_upload"]

SAMPLE_IDS = tuple(f"sample:{name}" for name in SAMPLES)
_MEDIA_TYPES: dict[str, FileFormat] = {
    "text/csv": "csv",
    "application/csv": "csv",
    "text/tab-separated-values": "tsv",
    "application/jsonl": "jsonl",
    "application/x-ndjson": "jsonl",
    "application/vnd.apache.parquet": "parquet",
}
_NAME = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]{1,255}")


def store_upload(runtime: Runtime, upload: Upload, tenant_id: str) -> str:
    """Read a received file in a confined child and keep its table. Returns the dataset's id.

    Raises:
        UnsupportedMediaTypeError: the file's format is not taken, or cannot be told.
        InvalidRequestError: the name cannot be kept.
        DataError: the file cannot be read.
    """
    name = _name_of(upload)
    report = parse_file(upload.source, format=_format_of(upload), output=upload.table)
    return add_dataset(
        runtime.engine,
        upload.table,
        tenant_id=tenant_id,
        name=name,
        sha256=upload.digest.hexdigest(),
        size=upload.size,
        report=report,
    )


def _name_of(upload: Upload) -> str:
    """The name given, in the form before the query; else the file's own, as far as it is one."""
    for pointer, given in (("/name", upload.fields.get("name")), ("?name", upload.query.get("name"))):
        if given is None:
            continue
        if not _NAME.fullmatch(given):
            message = "a name has 1 to 255 characters, none of them a control character"
            raise InvalidRequestError("the dataset's name cannot be kept", [Problem(pointer, message)])
        return given
    own = Path(upload.file_name or "").name
    return own if _NAME.fullmatch(own) else "dataset"


def _format_of(upload: Upload) -> FileFormat:
    """The format given; else what the file's name or media type says. The content is never guessed at."""
    given = upload.query | upload.fields
    name = upload.file_name or given.get("name", "")
    said: str | None = given.get("format")
    if not said:
        said = format_of(name) if Path(name).suffix else _MEDIA_TYPES.get(upload.media_type)
    for known in FILE_FORMATS:
        if said == known:
            return known
    raise UnsupportedMediaTypeError(
        "send the file as the body, or as the part `file` of a multipart form; "
        f"the formats taken are: {', '.join(FILE_FORMATS)}; say which one with `format`"
    )


def find_or_make(runtime: Runtime, connection: Connection, tenant_id: str, dataset_id: str) -> Dataset | None:
    """A dataset of this tenant, or a sample, which is made at its first use; None when there is none.

    Two processes may make a sample at once: `add_dataset` keeps the first.
    """
    found = find_dataset(connection, tenant_id, dataset_id)
    if found is not None or dataset_id not in SAMPLE_IDS:
        return found
    with runtime.sample_lock:
        found = find_dataset(connection, tenant_id, dataset_id)
        if found is None:
            _make_sample(runtime, dataset_id)
    return found or find_dataset(connection, tenant_id, dataset_id)


def _make_sample(runtime: Runtime, dataset_id: str) -> None:
    spool = private_directory(runtime.settings.spool_dir)
    with tempfile.TemporaryDirectory(prefix=SPOOL_PREFIX, dir=spool) as directory:
        table = Path(directory, "table")
        report = parse_sample(dataset_id.removeprefix("sample:"), table)
        data = table.read_bytes()
        add_dataset(
            runtime.engine,
            table,
            tenant_id=None,
            name=dataset_id,
            sha256=hashlib.sha256(data).hexdigest(),
            size=len(data),
            report=report,
            dataset_id=dataset_id,
        )
