"""What reading gives: plain frozen values, never database rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from softreg_core.data.report import DatasetReport
from softreg_jobs.blobs import Blob
from softreg_jobs.states import JobState

__all__ = [
    "Checkpoint",
    "Dataset",
    "Event",
    "Export",
    "File",
    "Job",
    "JobOutline",
    "Model",
    "Origin",
    "Standing",
    "Transition",
]


@dataclass(frozen=True, slots=True)
class Transition:
    """A change of a job's state."""

    state: JobState
    at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class JobOutline:
    """A job as it stands, without what grows with its dataset's columns.

    `progress` and `metrics` of a running job are the newest that its worker told.
    """

    id: str
    dataset_id: str
    name: str | None
    metadata: dict[str, str]
    warnings: list[dict[str, str]]
    state: JobState
    device_kind: str
    priority: int
    attempt: int
    best_checkpoint_id: str | None
    last_checkpoint_id: str | None
    model_id: str | None
    progress: dict[str, Any] | None
    metrics: dict[str, Any]
    termination_reason: str | None
    error: dict[str, Any] | None
    event_seq: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    read_at: datetime
    """The database's clock when this was read: durations of a running job end here."""
    epochs: int
    total_steps: int
    parameters: int
    """Trainable numbers of the net."""


@dataclass(frozen=True, slots=True)
class Job(JobOutline):
    """A job with the spec that it trains by."""

    spec: dict[str, Any]
    formula: str
    """The loss as text."""
    model_metrics: dict[str, float | None] | None
    """The delivered model's; none until there is one."""
    device: str | None
    """Where the newest attempt runs or ran, as far as it was told."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A job in full, its course, and how it stands among what else there is at this moment."""

    job: Job
    transitions: Sequence[Transition]
    """Every change of state, oldest first."""
    jobs_ahead: int | None
    """Of a queued job: how many would be claimed before it by a worker that may take any device kind."""
    has_worker: bool
    """Of a queued job: whether a living worker takes it."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a job; `seq` has no gaps."""

    seq: int
    type: str
    level: str
    data: dict[str, Any]
    at: datetime


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A saved state of training."""

    id: str
    job_id: str
    step: int
    epoch: int
    metrics: dict[str, float | None]
    is_best: bool
    pinned: bool
    blob: Blob
    created_at: datetime


@dataclass(frozen=True, slots=True)
class File:
    """A file of a model."""

    name: str
    media_type: str
    blob: Blob


@dataclass(frozen=True, slots=True)
class Export:
    """A file of a model that is built after its training."""

    name: str
    state: Literal["building", "ready", "failed"]
    reason: str | None
    """Why it failed."""
    facts: dict[str, Any] | None
    """Of a ready one: what it was compared with, and how far it was from that."""


@dataclass(frozen=True, slots=True)
class Model:
    """A trained model and its files."""

    id: str
    job_id: str
    metrics: dict[str, float | None]
    report: dict[str, Any] | None
    """The same in full; see softreg_core.evaluate.document."""
    files: Sequence[File]
    """Those that are there."""
    exports: Sequence[Export]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Origin:
    """What a model was trained by."""

    spec: dict[str, Any]
    """Resolved."""
    resolution: dict[str, Any]
    """What followed from spec and dataset together: shape, labels."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """A table of numbers, read and reported on."""

    id: str
    name: str
    format: str
    sha256: str
    size: int
    report: DatasetReport
    metadata: dict[str, str]
    created_at: datetime
