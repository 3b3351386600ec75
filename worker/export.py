"""One try at building a model's file: the same runner, a lease of its own. No torch here.

What the runner refuses is final; a runner that dies, or a worker that does, leaves the file to be tried again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import structlog
from sqlalchemy import Connection

from softreg_core.errors import ExportError, IntegrityError
from softreg_core.spec.export import FILE_NAMES
from softreg_jobs import blobs, store
from softreg_jobs.database import UNAVAILABLE
from softreg_jobs.errors import FencedError
from worker.drive import Slot
from worker.protocol import ExportRequest, FileRef
from worker.warm import RunnerDiedError

__all__ = ["ExportDrive"]

T = TypeVar("T")
_LISTEN_SECONDS = 0.1
_RETRY_SECONDS = 0.25
_SOURCES = (FILE_NAMES["safetensors"], "model.json")
_KINDS = {name: kind for kind, name in FILE_NAMES.items()}
log = structlog.get_logger("export")


class ExportDrive:
    """Has the slot's runner build one file."""

    def __init__(self, slot: Slot, mine: store.ExportClaim) -> None:
        self._slot = slot
        self._mine = mine
        self._renewed = time.monotonic()

    def run(self, directory: Path) -> None:
        """Build it in `directory` and write how that ended.

        Raises:
            FencedError: the claim was lost; nothing more may be written.
        """
        try:
            self._build(directory)
        except (RunnerDiedError, IntegrityError) as error:
            ended = self._slot.runner.end()
            log.warning("export_fault", model_id=self._mine.model_id, error=str(error), runner=str(ended))
            self._persist(lambda c: store.give_export_back(c, self._mine, counts=True))

    def _build(self, directory: Path) -> None:
        sources = [self._fetched(name, directory) for name in _SOURCES]
        runner, limit = self._slot.runner, self._slot.settings.export_seconds
        runner.run(ExportRequest(str(directory), _KINDS[self._mine.name], tuple(sources)))
        began = time.monotonic()
        while (message := runner.receive(_LISTEN_SECONDS)) is None:
            self._renew()
            if self._slot.is_draining():
                runner.end()
                self._persist(lambda c: store.give_export_back(c, self._mine, counts=False))
                return
            if time.monotonic() - began > limit:
                runner.end()
                self._persist(lambda c: store.fail_export(c, self._mine, f"it took longer than {limit:g} s"))
                return
        self._record(message)

    def _record(self, message: dict[str, Any]) -> None:
        if message["type"] == "exported":
            built = message["file"]
            blob = self._again(lambda: blobs.upload(self._slot.engine, Path(built["path"])))
            if blob.sha256 != built["sha256"]:
                raise IntegrityError("a file changed between runner and database")
            file = store.ModelFile(self._mine.name, blob, "application/octet-stream")
            self._persist(lambda c: store.finish_export(c, self._mine, file, message["facts"]))
            return
        error = message["error"]
        if error["code"] == IntegrityError.code:
            raise IntegrityError(error["message"])
        if error["code"] != ExportError.code:
            log.warning("export_refused", model_id=self._mine.model_id, error=error)
        self._persist(lambda c: store.fail_export(c, self._mine, error["message"]))

    def _fetched(self, name: str, directory: Path) -> FileRef:
        blob, path = self._mine.sources[name], directory / name
        self._persist(lambda c: blobs.save_to(c, blob, path))
        self._renew()
        return FileRef(str(path), blob.sha256, blob.size)

    def _renew(self) -> None:
        if time.monotonic() - self._renewed > self._slot.settings.beat_seconds:
            lease = self._slot.settings.lease_seconds
            self._persist(lambda c: store.renew_export(c, self._mine, lease_seconds=lease))
            self._renewed = time.monotonic()

    def _persist(self, write: Callable[[Connection], T]) -> T:
        def once() -> T:
            with self._slot.engine.begin() as connection:
                return write(connection)

        return self._again(once)

    def _again(self, action: Callable[[], T]) -> T:
        """Until the database answers, for as long as the lease may still be ours."""
        while True:
            try:
                return action()
            except UNAVAILABLE as error:
                if time.monotonic() - self._renewed > self._slot.settings.lease_seconds:
                    raise FencedError(f"{self._mine.name}: the lease ran out while the database was away") from error
                log.warning("database_unavailable", model_id=self._mine.model_id, error=type(error).__name__)
                time.sleep(_RETRY_SECONDS)
