"""What is known of a running attempt: how far it is, its metrics, what its owner wishes."""

from __future__ import annotations

import math
import time
from typing import Any

from softreg_core.spec.training import has_best, is_larger_better
from softreg_jobs.states import JobState
from softreg_jobs.store import Claim, StoredCheckpoint

__all__ = ["Attempt", "finite"]

Series = dict[str, tuple[list[int], list[float]]]
_RATE_SECONDS = 2.0
# Every value stands in the metrics; an event is for those who follow a job's history.
_EVENT_SECONDS = 5.0


def finite(values: dict[str, float]) -> dict[str, float | None]:
    """The same metrics as JSON can hold them: NaN and infinities as None."""
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def _valid_until(resume: StoredCheckpoint | None) -> dict[str, dict[str, float | int | None]]:
    """The checkpoint's summary; a best that was found after its step will be found again, or not."""
    if resume is None:
        return {}
    void = {"best": None, "best_step": None}
    return {
        name: {**entry, **(void if (entry["best_step"] or 0) > resume.step else {})}
        for name, entry in resume.summary.items()
    }


class Attempt:
    """Shared between the supervisor (main thread), which tells, and the heart, which reads it and hears wishes.

    Each field is written by one thread and replaced whole, so no lock is needed.
    """

    def __init__(self, mine: Claim) -> None:
        self.mine = mine
        self.state = JobState.RUNNING
        self.is_lost = False
        self._phase = "starting"
        self._step = mine.resume.step if mine.resume else 0
        self._epoch = mine.resume.epoch if mine.resume else 0
        self._total: dict[str, int] = {}
        self._rate: float | None = None
        self._rate_mark: tuple[float, int] | None = None
        self._blocks: Series = {}
        self._event_at = -_EVENT_SECONDS
        self._metrics: dict[str, dict[str, float | int | None]] = _valid_until(mine.resume)
        self._warned: set[str] = set()

    def snapshot(self) -> tuple[int, dict[str, object]]:
        """The step, and progress and metrics as the API shows them."""
        return self._step, {"progress": self.progress(), "metrics": self.metrics()}

    def heard(self, state: JobState) -> None:
        """The ledger's word on the job's state."""
        self.state = state

    def lost(self) -> None:
        """The lease is gone."""
        self.is_lost = True

    def enter(self, phase: str) -> None:
        """What the runner is doing: starting, training, saving."""
        self._phase = phase

    def started(self, message: dict[str, Any]) -> None:
        """Training begins; the totals are known."""
        self._total = {"total_steps": message["total_steps"], "epochs": message["epochs"]}
        self._step = message["step"]
        self._rate_mark = (time.monotonic(), self._step)
        self.enter("training")

    def advanced(self, step: int, epoch: int) -> None:
        """So many steps are done; `epoch` is the number of whole epochs."""
        self._step, self._epoch = step, epoch
        if self._rate_mark is None:
            return
        at, before = self._rate_mark
        seconds = time.monotonic() - at
        if seconds > 0.0:
            self._rate = (step - before) / seconds
        if seconds > _RATE_SECONDS:
            self._rate_mark = (time.monotonic(), step)

    def measured(self, step: int, epoch: int, metrics: dict[str, float]) -> None:
        """An epoch's metrics."""
        self.advanced(step, epoch)
        for name, value in metrics.items():
            steps, values = self._blocks.setdefault(name, ([], []))
            steps.append(step)
            values.append(value)
            self._count(name, step, value)

    def new_advice(self, advice: list[dict[str, str]]) -> list[dict[str, str]]:
        """Of an epoch's warnings those whose kind this attempt has not told yet."""
        fresh = [one for one in advice if one["code"] not in self._warned]
        self._warned |= {one["code"] for one in fresh}
        return fresh

    def take_blocks(self) -> tuple[Series, dict[str, Any] | None]:
        """Metrics not yet stored and, every few seconds, an event's data with the newest values."""
        blocks, self._blocks = self._blocks, {}
        if not blocks or time.monotonic() - self._event_at < _EVENT_SECONDS:
            return blocks, None
        self._event_at = time.monotonic()
        newest = finite({name: values[-1] for name, (_, values) in blocks.items()})
        return blocks, {"step": self._step, "epoch": self._epoch, "metrics": newest}

    def progress(self) -> dict[str, Any]:
        """How far training is; the API adds the percentage."""
        total = self._total.get("total_steps")
        rate = self._rate  # once: the other thread may set it to 0 in between
        left = round((total - self._step) / rate, 3) if rate and total is not None else None
        return {
            "phase": self._phase,
            "step": self._step,
            "total_steps": total,
            "epoch": self._epoch,
            "epochs": self._total.get("epochs"),
            "steps_per_second": round(rate, 1) if rate else None,
            "seconds_remaining": left,
        }

    def metrics(self) -> dict[str, Any]:
        """Last and best value of each metric."""
        return self._metrics

    def _count(self, name: str, step: int, value: float) -> None:
        entry = self._metrics.get(name) or {"last": None, "best": None, "best_step": None}
        is_finite = math.isfinite(value)
        entry = {**entry, "last": value if is_finite else None}
        best = entry["best"]
        if is_finite and has_best(name):
            sign = 1.0 if is_larger_better(name) else -1.0
            if best is None or sign * value > sign * best:
                entry |= {"best": value, "best_step": step}
        self._metrics = {**self._metrics, name: entry}
