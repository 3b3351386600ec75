"""One attempt at a job: hand it to the runner, record what it tells, write its end. No torch here."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import structlog
from sqlalchemy import Connection, Engine

from softreg_core.errors import IntegrityError
from softreg_core.spec.export import FILE_NAMES
from softreg_jobs import blobs, store
from softreg_jobs.database import UNAVAILABLE
from softreg_jobs.errors import FencedError
from softreg_jobs.ids import new_id
from softreg_jobs.settings import Settings
from softreg_jobs.states import JobState
from worker.attempt import Attempt, finite
from worker.heart import Heart
from worker.protocol import Action, FileRef, RunRequest
from worker.spool import Spool
from worker.warm import Exit, WarmRunner

__all__ = ["Drive", "Slot"]

T = TypeVar("T")
_LISTEN_SECONDS = 0.1
_RETRY_SECONDS = 0.25
_MEDIA_TYPES = {".json": "application/json", ".md": "text/markdown"}
_TEACHER_FILES = (FILE_NAMES["safetensors"], "model.json")
log = structlog.get_logger("drive")


@dataclass(frozen=True, slots=True)
class Slot:
    """What a worker has for its attempts, one after another."""

    settings: Settings
    device: str
    engine: Engine
    spool: Spool
    runner: WarmRunner
    heart: Heart
    is_draining: Callable[[], bool]


class Drive:
    """Drives the slot's runner through one attempt."""

    def __init__(self, slot: Slot, attempt: Attempt) -> None:
        self._attempt = attempt
        self._settings = slot.settings
        self._device = slot.device
        self._engine = slot.engine
        self._spool = slot.spool
        self._runner = slot.runner
        self._heart = slot.heart
        self._is_draining = slot.is_draining

    def run(self, directory: Path) -> None:
        """Hand the job to the runner and record what it tells, until the attempt is over.

        Raises:
            FencedError: the lease was lost; nothing more may be written.
            RunnerDiedError: the runner ended without an end.
            IntegrityError: bytes were damaged on the way.
        """
        self._runner.run(self._request(directory))
        flushed_at = time.monotonic()
        asked_at: float | None = None
        while True:
            message = self._runner.receive(_LISTEN_SECONDS)
            if self._is_lost():
                raise FencedError("the lease is gone")
            action = self._wish()
            if action is not None and asked_at is None:
                asked_at = time.monotonic()
                self._runner.control(action)
            if message is not None and self._record(message):
                return
            if message is not None and asked_at is not None:
                asked_at = time.monotonic()  # it speaks: what it saves is worth the wait
            if asked_at is not None and time.monotonic() - asked_at > self._settings.cancel_grace_seconds:
                self._end_stuck()
                return
            if time.monotonic() - flushed_at > self._settings.metrics_flush_seconds:
                flushed_at = time.monotonic()
                self._flush()

    def give_back(self, outcome: str) -> None:
        """The runner died, bytes were damaged, or we broke: the job is not to blame.

        Raises:
            FencedError: the lease was lost.
        """
        self._spool.forget_datasets()
        ended = self._runner.end()
        log.warning("attempt_fault", job_id=self._attempt.mine.job_id, outcome=outcome, runner=str(ended))
        facts = self._facts(ended)
        self._persist(lambda c: store.worker_fault(c, self._attempt.mine, outcome, facts))

    def _wish(self) -> Action | None:
        if self._attempt.state is JobState.CANCELLING:
            return "cancel"
        return "stop" if self._is_draining() else None

    def _request(self, directory: Path) -> RunRequest:
        mine = self._attempt.mine
        dataset = self._spool.dataset(mine.dataset, self._fetch)
        resume, best = (self._checkpoint_file(stored, directory) for stored in (mine.resume, mine.best))
        return RunRequest(
            directory=str(directory),
            device=self._device,
            spec=mine.spec,
            dataset=FileRef(str(dataset), mine.dataset.sha256, mine.dataset.size),
            resume=resume,
            best=best,
            data_sha256=mine.dataset_sha256,
            teacher=self._teacher_files(directory),
        )

    def _teacher_files(self, directory: Path) -> tuple[FileRef, ...]:
        files = {name: blob for name, blob in self._attempt.mine.teacher.items() if name in _TEACHER_FILES}
        target = directory / "teacher"
        if files:
            target.mkdir()
        for name, blob in files.items():
            self._fetch(blob, target / name)
        return tuple(FileRef(str(target / name), blob.sha256, blob.size) for name, blob in files.items())

    def _checkpoint_file(self, stored: store.StoredCheckpoint | None, directory: Path) -> FileRef | None:
        if stored is None:
            return None
        path = directory / f"from-{stored.id}.safetensors"
        if not path.exists():  # the newest may be the best
            self._fetch(stored.blob, path)
        return FileRef(str(path), stored.blob.sha256, stored.blob.size)

    def _fetch(self, blob: blobs.Blob, path: Path) -> None:
        self._persist(lambda c: blobs.save_to(c, blob, path))

    def _record(self, message: dict[str, Any]) -> bool:
        """Write what the runner told; True when the attempt is over."""
        match message["type"]:
            case "started":
                self._attempt.started(message)
                tier, reason = message["tier"], message["tier_reason"]
                log.info("training_started", job_id=self._attempt.mine.job_id, tier=tier, reason=reason)
            case "progress":
                self._attempt.advanced(message["step"], message["epoch"])
            case "epoch":
                self._attempt.measured(message["step"], message["epoch"], message["metrics"])
                self._warn(message)
            case "checkpoint":
                self._publish_checkpoint(message)
            case "finished":
                self._succeed(message)
                return True
            case "stopped":
                self._end_wished(None, is_cancelled=message["reason"] == "cancel")
                return True
            case "failed":
                self._failed(message["error"])
                return True
        return False

    def _warn(self, message: dict[str, Any]) -> None:
        """What holds now is told once: most epochs say the same again."""
        for advice in self._attempt.new_advice(message["advice"]):
            facts = {"step": message["step"], "epoch": message["epoch"], **advice}
            self._persist(lambda c, facts=facts: store.record_warning(c, self._attempt.mine, facts))  # type: ignore[misc]

    def _publish_checkpoint(self, message: dict[str, Any]) -> None:
        prepared = self._prepare(message["file"])
        (blob,) = prepared.blobs
        new = store.NewCheckpoint(
            blob,
            message["step"],
            message["epoch"],
            finite(message["metrics"]),
            self._attempt.metrics(),
            message["is_best"],
        )
        keep_last = self._attempt.mine.spec["checkpoints"]["keep_last"]
        series, event = self._attempt.take_blocks()

        def write(connection: Connection) -> None:
            # One transaction: each commit waits for the disk.
            if series:
                store.record_metrics(connection, self._attempt.mine, series, event)
            blobs.write(connection, prepared)
            store.publish_checkpoint(connection, self._attempt.mine, new, keep_last=keep_last)

        self._persist(write)
        Path(message["file"]["path"]).unlink()

    def _prepare(self, *files: dict[str, Any]) -> blobs.Prepared:
        prepared = self._again(lambda: blobs.prepare(self._engine, [Path(file["path"]) for file in files]))
        if any(blob.sha256 != file["sha256"] for blob, file in zip(prepared.blobs, files, strict=True)):
            raise IntegrityError("a file changed between runner and database")
        return prepared

    def _flush(self) -> None:
        """Store new metrics and show watchers where training is."""
        series, event = self._attempt.take_blocks()
        if series:
            self._persist(lambda c: store.record_metrics(c, self._attempt.mine, series, event))
        self._again(self._heart.beat)

    def _succeed(self, message: dict[str, Any]) -> None:
        self._attempt.advanced(message["step"], message["epoch"])
        self._attempt.enter("saving")
        prepared = self._prepare(*message["files"].values())
        files = [
            store.ModelFile(name, blob, _MEDIA_TYPES.get(Path(name).suffix, "application/octet-stream"))
            for name, blob in zip(message["files"], prepared.blobs, strict=True)
        ]
        self._attempt.enter("finished")
        wanted = self._attempt.mine.spec.get("export", ())
        exports = [FILE_NAMES[kind] for kind in wanted if FILE_NAMES[kind] not in message["files"]]
        metrics, reason = finite(message["metrics"]), message["reason"]
        result = store.Result(new_id("mdl"), files, metrics, reason, exports, message["report"])
        facts = self._facts(None)

        def write(connection: Connection) -> None:
            blobs.write(connection, prepared)
            store.succeed(connection, self._attempt.mine, result, facts)

        self._end(write)

    def _failed(self, error: dict[str, Any]) -> None:
        if error["code"] == IntegrityError.code:
            raise IntegrityError(error["message"])
        self._end(lambda c: store.fail(c, self._attempt.mine, error, self._facts(None)))
        if error["code"] == "resource_exhausted":
            self._runner.end()

    def _end_stuck(self) -> None:
        """The runner did not reach a step boundary in time."""
        self._end_wished(self._runner.end(), is_cancelled=self._attempt.state is JobState.CANCELLING)

    def _end_wished(self, ended: Exit | None, *, is_cancelled: bool) -> None:
        ending = store.cancelled if is_cancelled else store.release
        self._end(lambda c: ending(c, self._attempt.mine, self._facts(ended)))

    def _end(self, write: Callable[[Connection], None]) -> None:
        """Write an ending with what is still to be told; a wish to cancel that came first wins over it."""
        series, event = self._attempt.take_blocks()

        def told(ending: Callable[[Connection], None]) -> None:
            def once(connection: Connection) -> None:
                if store.holds(connection, self._attempt.mine):  # else it may be written already, its answer lost
                    if series:
                        store.record_metrics(connection, self._attempt.mine, series, event)
                    self._heart.tell(connection)
                ending(connection)

            self._persist(once)

        try:
            told(write)
        except FencedError:
            with self._engine.connect() as connection:
                state = store.state_under_fence(connection, self._attempt.mine)
            if state is not JobState.CANCELLING:
                raise
            told(lambda c: store.cancelled(c, self._attempt.mine, self._facts(None)))

    def _facts(self, ended: Exit | None) -> store.AttemptFacts:
        return store.AttemptFacts(
            exit_code=ended.code if ended else None,
            signal=ended.signal if ended else None,
            max_rss=None if ended else self._runner.max_rss_bytes(),
            log_tail=self._runner.log_tail or None,
        )

    def _is_lost(self) -> bool:
        """Somebody else owns the job by now, or may: a whole lease went by without an answer."""
        return self._attempt.is_lost or self._heart.silent_seconds() > self._settings.lease_seconds

    def _persist(self, write: Callable[[Connection], T]) -> T:
        """One transaction, tried until the database answers or the lease is lost."""

        def once() -> T:
            with self._engine.begin() as connection:
                return write(connection)

        return self._again(once)

    def _again(self, action: Callable[[], T]) -> T:
        while True:
            if self._is_lost():
                raise FencedError(f"job {self._attempt.mine.job_id}: the lease was lost")
            try:
                return action()
            except UNAVAILABLE as error:
                log.warning("database_unavailable", job_id=self._attempt.mine.job_id, error=type(error).__name__)
                time.sleep(_RETRY_SECONDS)
