"""A job: the body that asks for one, and the replies that show it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from api.schemas.base import PREFIX, ListReply, Moment, Reply
from softreg_core.spec import TrainSpec
from softreg_core.spec.base import Int, Name
from softreg_jobs.paging import Page
from softreg_jobs.records import Event, Job, JobOutline, Transition
from softreg_jobs.states import ACTIVE, TERMINAL, JobState

__all__ = [
    "EventList",
    "EventReply",
    "JobCreate",
    "JobList",
    "JobReply",
    "JobSummary",
    "QueuePlace",
    "event_list",
    "job_reply",
    "job_summary",
]

MetadataKey = Annotated[str, Field(min_length=1, max_length=64)]
MetadataValue = Annotated[str, Field(max_length=512)]


class JobCreate(TrainSpec):
    """A job. Every field but `dataset` has a default; `auto` is filled from the dataset."""

    dataset: Name
    """A dataset's id, or `sample:digits`, `sample:diabetes`, `sample:breast_cancer`, `sample:wine`, `sample:iris`."""
    name: Name | None = None
    """For display."""
    priority: Annotated[Int, Field(ge=0, le=100)] = 50
    """Higher runs first."""
    metadata: Annotated[dict[MetadataKey, MetadataValue], Field(max_length=16)] = Field(default_factory=dict)

    def spec(self) -> TrainSpec:
        """The part that decides the training."""
        return TrainSpec(**{name: getattr(self, name) for name in TrainSpec.model_fields})


class Progress(Reply):
    """How far training is."""

    step: int
    total_steps: int
    epoch: int
    epochs: int
    percent: float
    steps_per_second: float | None
    seconds_remaining: float | None


class Durations(Reply):
    """In seconds; of a job that has not finished, up to now."""

    queued_seconds: float
    """From submission to the first start."""
    running_seconds: float | None
    """From the first start on; null before it."""
    total_seconds: float


class MetricSummary(Reply):
    """One metric; null where it has no finite value yet."""

    last: float | None = None
    best: float | None = None
    best_step: int | None = None


class TransitionReply(Reply):
    """A change of state."""

    state: JobState
    at: Moment
    reason: str


class QueuePlace(Reply):
    """Where a queued job stands among all that wait."""

    position: int
    """1 is next."""
    jobs_ahead: int


class JobSummary(Reply):
    """A job as lists show it."""

    object: Literal["job"] = "job"
    id: str
    created_at: Moment
    metadata: dict[str, str]
    urls: dict[str, str]
    name: str | None
    dataset: str
    state: JobState
    terminal: bool
    """Whether the state is final."""
    phase: str
    """What is being done: the state, or while a worker has the job what the worker does (`starting`, `training`)."""
    attempt: int
    """0 until a worker has taken the job."""
    priority: int
    progress: Progress
    durations: Durations
    parameters: int
    """Trainable numbers of the net."""
    warnings: list[dict[str, str]]
    """Each with `code`, `pointer` and `message`."""
    metrics: dict[str, MetricSummary]
    """The course of training; what the delivered model reaches stands in a full job's `model_metrics`."""
    best_checkpoint_id: str | None
    model_id: str | None
    termination_reason: str | None
    error: dict[str, Any] | None
    """Why the job failed: `code`, `message` and further facts."""


class JobReply(JobSummary):
    """A job in full."""

    transitions: list[TransitionReply]
    """Every change of state, oldest first."""
    queue: QueuePlace | None
    """Null unless the job is queued."""
    resolved_spec: dict[str, Any]
    """The spec with every `auto` filled but the device's, and the loss as text in `loss_formula`."""
    device: str | None
    """Where the newest attempt runs or ran: `cpu`, `cuda:0`, ...; null as long as no worker has told."""
    model_metrics: dict[str, float | None] | None
    """The delivered model's, on validation rows and, where the split has any, on test rows (`test.*`).

    Null until the job has succeeded, and a value is null where it is not finite. `metrics` is the course of training.
    """


class JobList(ListReply[JobSummary]):
    """Jobs, without what a full job adds (`transitions`, `queue`, `resolved_spec`, ...): ask for one to see that."""


class EventReply(Reply):
    """Something that happened to a job."""

    object: Literal["event"] = "event"
    seq: int
    """Counts from 1 without gaps."""
    type: str
    level: str
    at: Moment
    data: dict[str, Any]


class EventList(Reply):
    """Events in order."""

    object: Literal["list"] = "list"
    data: list[EventReply]
    has_more: bool
    next_after: int
    """Ask again with `after` set to this for what follows; it is there on the last page too, for events yet to come."""


def job_summary(job: JobOutline) -> JobSummary:
    """A job as lists show it."""
    return JobSummary.model_validate(_fields(job))


def job_reply(
    job: Job, transitions: Sequence[Transition], jobs_ahead: int | None, further_warnings: list[dict[str, str]]
) -> JobReply:
    """A job in full; `jobs_ahead` of a queued one, and warnings that hold only at this moment."""
    fields = _fields(job)
    fields["warnings"] = [*job.warnings, *further_warnings]
    return JobReply(
        **fields,
        transitions=[TransitionReply(state=move.state, at=move.at, reason=move.reason) for move in transitions],
        queue=None if jobs_ahead is None else QueuePlace(position=jobs_ahead + 1, jobs_ahead=jobs_ahead),
        resolved_spec={**job.spec, "loss_formula": job.formula},
        device=job.device,
        model_metrics=job.model_metrics,
    )


def _fields(job: JobOutline) -> dict[str, Any]:
    at = f"{PREFIX}/jobs/{job.id}"
    return {
        "id": job.id,
        "created_at": job.created_at,
        "metadata": job.metadata,
        "urls": {
            "self": at,
            **{name: f"{at}/{name}" for name in ("events", "metrics", "checkpoints", "model", "cancel")},
        },
        "name": job.name,
        "dataset": job.dataset_id,
        "state": job.state,
        "terminal": job.state in TERMINAL,
        "phase": _phase(job),
        "attempt": job.attempt,
        "priority": job.priority,
        "progress": _progress(job),
        "durations": _durations(job),
        "parameters": job.parameters,
        "warnings": job.warnings,
        "metrics": {name: MetricSummary.model_validate(values) for name, values in job.metrics.items()},
        "best_checkpoint_id": job.best_checkpoint_id,
        "model_id": job.model_id,
        "termination_reason": job.termination_reason,
        "error": job.error,
    }


def _phase(job: JobOutline) -> str:
    told = (job.progress or {}).get("phase")
    return str(told or "starting") if job.state in ACTIVE else str(job.state)


def _progress(job: JobOutline) -> Progress:
    # Null where the worker does not know yet: before the runner has read the data.
    told = {name: value for name, value in (job.progress or {}).items() if value is not None}
    step, total = told.get("step", 0), told.get("total_steps", job.total_steps)
    return Progress(
        step=step,
        total_steps=total,
        epoch=told.get("epoch", 0),
        epochs=told.get("epochs", job.epochs),
        percent=round(100 * step / total, 1) if total else 0.0,
        steps_per_second=told.get("steps_per_second"),
        seconds_remaining=told.get("seconds_remaining"),
    )


def _durations(job: JobOutline) -> Durations:
    until = job.finished_at or job.read_at
    return Durations(
        queued_seconds=_seconds(job.created_at, job.started_at or until),
        running_seconds=None if job.started_at is None else _seconds(job.started_at, until),
        total_seconds=_seconds(job.created_at, until),
    )


def _seconds(start: datetime, stop: datetime) -> float:
    return round((stop - start).total_seconds(), 3)


def event_list(page: Page[Event], after: int) -> EventList:
    """The events that follow the one numbered `after`."""
    data = [_event(event) for event in page.items]
    return EventList(data=data, has_more=page.has_more, next_after=data[-1].seq if data else after)


def _event(event: Event) -> EventReply:
    return EventReply(seq=event.seq, type=event.type, level=event.level, at=event.at, data=event.data)
