"""The output folder of a run: what was asked, how it went, where it stands, what came of it."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import dataclass
from pathlib import Path

from softreg_core.engine import EpochEnded, StepLogged, TrainingState, load_state, save_state
from softreg_core.errors import DataError
from softreg_core.spec import TrainSpec, canonical_json

__all__ = ["SCRATCH", "Folder"]

SCRATCH = "rows-"
"""How the names of folders begin in which a run keeps streamed rows; they end with it."""


@dataclass(frozen=True, slots=True)
class Folder:
    """`spec.json`, `history.jsonl`, `checkpoints/` and, in the end, the model's files."""

    path: Path

    @classmethod
    def new(cls, path: Path, spec: TrainSpec, data_sha256: str | None = None) -> Folder:
        """Make the folder.

        Args:
            path: where.
            spec: resolved.
            data_sha256: of the file that is trained on.

        Raises:
            DataError: it holds something already.
        """
        path.mkdir(parents=True, exist_ok=True)
        if any(path.iterdir()):
            raise DataError(f"{path} is not empty; --resume goes on with the run that is in it", "not_empty")
        folder = cls(path)
        folder.checkpoints.mkdir()
        folder._spec.write_text(canonical_json(spec) + "\n", encoding="utf-8")
        if data_sha256 is not None:
            folder._data.write_text(data_sha256 + "\n", encoding="utf-8")
        return folder

    @classmethod
    def resumed(cls, path: Path, spec: TrainSpec, data_sha256: str | None = None) -> Folder:
        """Take over the folder of an earlier run, and remove what it left half done.

        Raises:
            DataError: there is none, or it was made from another spec or other data.
        """
        folder = cls(path)
        if not folder._spec.is_file():
            raise DataError(f"{path} holds no run to go on with", "missing_file")
        if folder._spec.read_text(encoding="utf-8").strip() != canonical_json(spec):
            raise DataError(f"{path} holds a run of another spec: it says {folder._spec}", "wrong_checkpoint")
        if data_sha256 is not None and folder._data.is_file() and folder._data.read_text().strip() != data_sha256:
            raise DataError(f"{path} holds a run on other data: the file has changed since", "wrong_checkpoint")
        for left in path.glob(f"{SCRATCH}*"):
            shutil.rmtree(left)
        return folder

    @property
    def checkpoints(self) -> Path:
        """States of training: `last` and `best`."""
        return self.path / "checkpoints"

    def store(self, state: TrainingState, *, is_best: bool) -> None:
        """Keep a state in place of the last one of its kind; whole or not at all."""
        place = self.checkpoints / f"{'best' if is_best else 'last'}.safetensors"
        part = place.with_suffix(".part")
        save_state(state, part)
        part.replace(place)

    def states(self) -> tuple[TrainingState | None, TrainingState | None]:
        """The newest state, and that of its best epoch."""
        last, best = (
            load_state(place) if place.is_file() else None
            for place in (self.checkpoints / "last.safetensors", self.checkpoints / "best.safetensors")
        )
        if last is None or (best is not None and best.step > last.step):
            return best, best
        return last, best

    def note(self, event: EpochEnded | StepLogged) -> None:
        """A line of the history; JSON has no NaN and no infinity: null stands for both."""
        values = {name: value if math.isfinite(value) else None for name, value in event.metrics.items()}
        with self._history.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": event.step, "epoch": event.epoch, **values}) + "\n")

    def forget_after(self, step: int) -> None:
        """Drop lines of epochs and steps that are trained once more."""
        if not self._history.is_file():
            return
        lines = self._history.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]
        self._history.write_text("".join(kept), encoding="utf-8")

    @property
    def _spec(self) -> Path:
        return self.path / "spec.json"

    @property
    def _data(self) -> Path:
        return self.checkpoints / "data.sha256"

    @property
    def _history(self) -> Path:
        return self.path / "history.jsonl"
