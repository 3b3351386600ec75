"""Datasets: a report and a stored table. Samples belong to nobody and are made at their first use."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Row, bindparam, or_, select
from sqlalchemy.dialects.postgresql import insert

from softreg_core.data.report import DatasetReport
from softreg_jobs.blobs import discard, publish, upload
from softreg_jobs.errors import NotFoundError
from softreg_jobs.ids import new_id
from softreg_jobs.paging import Page, page
from softreg_jobs.records import Dataset
from softreg_jobs.tables import datasets

__all__ = ["add_dataset", "find_dataset", "get_dataset", "list_datasets"]

_KEPT_REPORTS = 16
_KEPT_COLUMNS = 1000


def add_dataset(
    engine: Engine,
    table: Path,
    *,
    tenant_id: str | None,
    name: str,
    sha256: str,
    size: int,
    report: DatasetReport,
    dataset_id: str | None = None,
) -> str:
    """Store a parsed table; `sha256` and `size` are the uploaded file's. Returns the dataset's id.

    With a `dataset_id` (a sample's) that exists already, the stored one stays and this one's bytes go.
    """
    blob = upload(engine, table)
    with engine.begin() as connection:
        publish(connection, blob)
        chosen = dataset_id or new_id("ds")
        added = connection.execute(
            insert(datasets)
            .values(
                id=chosen,
                tenant_id=tenant_id,
                name=name,
                format=report.format,
                sha256=sha256,
                size=size,
                report=report.model_dump(mode="json"),
                blob_id=blob.id,
            )
            .on_conflict_do_nothing(index_elements=[datasets.c.id])
            .returning(datasets.c.id)
        ).first()
        if added is None:
            discard(connection, [blob.id])
    return chosen


def find_dataset(connection: Connection, tenant_id: str, dataset_id: str) -> Dataset | None:
    """A dataset of this tenant, or a sample; None when there is none."""
    asked = {"asked_id": dataset_id, "asked_tenant": tenant_id}
    row = connection.execute(_FOUND, asked).first()
    if row is None:
        return None
    report = _reports.get(row.blob_id)
    if report is None:
        document = connection.execute(select(datasets.c.report).where(datasets.c.id == dataset_id)).scalar_one()
        report = DatasetReport.model_validate(document)
        if len(report.columns) <= _KEPT_COLUMNS:
            _reports.keep(row.blob_id, report)
    return _dataset(row, report)


def get_dataset(connection: Connection, tenant_id: str, dataset_id: str) -> Dataset:
    """A dataset of this tenant, or a sample.

    Raises:
        NotFoundError: there is none.
    """
    found = find_dataset(connection, tenant_id, dataset_id)
    if found is None:
        raise NotFoundError("dataset", dataset_id)
    return found


def list_datasets(
    connection: Connection, tenant_id: str, *, limit: int, after: str | None = None, newest_first: bool = True
) -> Page[Dataset]:
    """The tenant's own datasets by id, which is by time."""
    statement = select(datasets).where(datasets.c.tenant_id == tenant_id)
    return page(connection, statement, datasets.c.id, _listed, limit=limit, after=after, newest_first=newest_first)


def _listed(row: Row[Any]) -> Dataset:
    return _dataset(row, DatasetReport.model_validate(row.report))


def _dataset(row: Row[Any], report: DatasetReport) -> Dataset:
    return Dataset(
        id=row.id,
        name=row.name,
        format=row.format,
        sha256=row.sha256,
        size=row.size,
        report=report,
        metadata=row.metadata,
        created_at=row.created_at,
    )


class _Reports:
    """The last reports that were read, by the blob they describe, which never changes.

    A report of many columns takes longer to read than a job to submit, and one dataset has many jobs.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, DatasetReport] = OrderedDict()

    def get(self, blob_id: str) -> DatasetReport | None:
        """The report, if it was read lately."""
        with self._lock:
            if blob_id in self._kept:
                self._kept.move_to_end(blob_id)
            return self._kept.get(blob_id)

    def keep(self, blob_id: str, report: DatasetReport) -> None:
        """Keep a report and forget the one that was not asked for the longest."""
        with self._lock:
            self._kept[blob_id] = report
            if len(self._kept) > _KEPT_REPORTS:
                self._kept.popitem(last=False)


_reports = _Reports()
_FOUND = select(*(column for column in datasets.c if column.name != "report")).where(
    datasets.c.id == bindparam("asked_id"),
    or_(datasets.c.tenant_id == bindparam("asked_tenant"), datasets.c.tenant_id.is_(None)),
)
