"""A dataset."""

from __future__ import annotations

from typing import Literal

from api.schemas.base import PREFIX, ListReply, Moment, Reply
from softreg_core.data.report import DatasetReport
from softreg_jobs.records import Dataset

__all__ = ["DatasetList", "DatasetReply", "DatasetSummary", "dataset_reply", "dataset_summary"]


class DatasetSummary(Reply):
    """A dataset as lists show it."""

    object: Literal["dataset"] = "dataset"
    id: str
    created_at: Moment
    metadata: dict[str, str]
    urls: dict[str, str]
    name: str
    format: str
    sha256: str
    """Of the uploaded file."""
    size: int
    """Bytes of the uploaded file."""
    rows: int
    column_count: int


class DatasetReply(DatasetSummary):
    """A dataset with all that is known of its columns."""

    report: DatasetReport


class DatasetList(ListReply[DatasetSummary]):
    """The datasets that were uploaded with this tenant's keys; samples are not among them."""


def dataset_summary(dataset: Dataset) -> DatasetSummary:
    """A dataset as lists show it."""
    return DatasetSummary(
        id=dataset.id,
        created_at=dataset.created_at,
        metadata=dataset.metadata,
        urls={"self": f"{PREFIX}/datasets/{dataset.id}"},
        name=dataset.name,
        format=dataset.format,
        sha256=dataset.sha256,
        size=dataset.size,
        rows=dataset.report.rows,
        column_count=len(dataset.report.columns),
    )


def dataset_reply(dataset: Dataset) -> DatasetReply:
    """A dataset with its report."""
    return DatasetReply(**dict(dataset_summary(dataset)), report=dataset.report)
