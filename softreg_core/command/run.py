"""One training run from a shell: keeps what it hands out, and stops when it is asked to."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import torch

from softreg_core.command.folder import SCRATCH, Folder
from softreg_core.command.source import Source
from softreg_core.engine import (
    CheckpointDue,
    EpochEnded,
    Finished,
    Progress,
    Started,
    StepLogged,
    Stopped,
    TrainEvent,
    train,
)
from softreg_core.engine.step.beside import Teacher
from softreg_core.errors import ExportError, Problem, SpecError
from softreg_core.export import DataDocument, export_model, save_model
from softreg_core.spec import TrainSpec
from softreg_core.spec.export import DEFAULT_EXPORT

__all__ = ["Watcher", "device_of", "export", "run"]


class Watcher(Protocol):
    """Who is told how far training is."""

    def began(self, event: Started) -> None:
        """The first event."""

    def advanced(self, step: int) -> None:
        """So many steps are done."""

    def measured(self, event: EpochEnded) -> None:
        """An epoch ended."""


def run(
    spec: TrainSpec,
    source: Source,
    folder: Folder,
    watcher: Watcher,
    *,
    device: str,
    data_sha256: str | None = None,
    teacher: Teacher | None = None,
) -> Finished | None:
    """Train to the end, or until Ctrl-C or SIGTERM; then the state is kept, and None is returned.

    Args:
        spec: resolved against the source's report.
        source: the data.
        folder: new, or with the states of an earlier run, which is gone on with.
        watcher: told of every event.
        device: as `device_of` gives it.
        data_sha256: of the file that the data was read from.
        teacher: the model that a loss with divergence `teacher` learns from.
    """
    resume, best = folder.states()
    folder.forget_after(0 if resume is None else resume.step)
    # Beside the model: data that is streamed needs a disk with room for it.
    with _stopping() as is_asked, tempfile.TemporaryDirectory(prefix=SCRATCH, dir=folder.path) as scratch:
        events = train(
            spec,
            source.prepare(spec, Path(scratch)),
            resume=resume,
            resume_best=best,
            control=lambda: "interrupted" if is_asked() else None,
            device=device,
            teacher=teacher,
        )
        finished = _recorded(events, folder, watcher)
    if finished is not None:
        known = DataDocument(sha256=data_sha256, rows=source.report.rows) if data_sha256 else None
        save_model(finished.model, folder.path, finished.metrics, finished.report, data=known)
    return finished


def _recorded(events: Iterator[TrainEvent], folder: Folder, watcher: Watcher) -> Finished | None:
    """Keep what training hands out; its end, or None when it was stopped."""
    for event in events:
        match event:
            case Started():
                watcher.began(event)
            case Progress():
                watcher.advanced(event.step)
            case StepLogged():
                folder.note(event)
            case EpochEnded():
                folder.note(event)
                watcher.measured(event)
            case CheckpointDue():
                folder.store(event.state, is_best=event.is_best)
            case Stopped():
                folder.store(event.state, is_best=False)
            case Finished():
                return event
    return None


def export(spec: TrainSpec, folder: Folder) -> list[str]:
    """Build the further formats that the spec asks for; what could not be had, as text."""
    complaints = []
    for kind in spec.export:
        if kind not in DEFAULT_EXPORT:
            try:
                export_model(folder.path, kind)
            except ExportError as error:
                complaints.append(error.message)
    return complaints


def device_of(wanted: str) -> str:
    """`auto` is CUDA where there is a device.

    Raises:
        SpecError: the device is not there.
    """
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if wanted == "auto":
        return "cuda" if there else "cpu"
    if wanted != "cpu" and int(wanted.partition(":")[2] or 0) >= there:
        message = f"there is no device '{wanted}': this machine has {there} CUDA devices that torch can use"
        raise SpecError(message, [Problem("/resources/device", message)])
    return wanted


@contextmanager
def _stopping() -> Iterator[Asked]:
    """The first Ctrl-C or SIGTERM is a wish, heard between two steps; the second one is Python's own business."""
    asked = Asked()
    before = {number: signal.signal(number, asked.hear) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Asked:
    """Whether somebody asked the run to stop."""

    def __init__(self) -> None:
        self._is_asked = False

    def __call__(self) -> bool:
        """Yes or no."""
        return self._is_asked

    def hear(self, number: int, frame: object) -> None:  # noqa: ARG002 - the signature of a signal handler
        """A signal came; the next one of its kind ends the process."""
        self._is_asked = True
        signal.signal(number, signal.SIG_DFL)
