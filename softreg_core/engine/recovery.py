"""What becomes of a step whose loss or gradient is not finite: left out, or the one before it taken again, shorter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from torch import Tensor

from softreg_core.engine.record import LossRecord
from softreg_core.engine.state import TrainingState
from softreg_core.engine.step.stepper import Captured, Stepper
from softreg_core.errors import NonFiniteLossError

__all__ = ["MOST_REWINDS", "Mark", "Recovery"]

MOST_REWINDS = 10
Value = TypeVar("Value")
_GROUPS = ("model", "loss", "optimizer", "more")


@dataclass(frozen=True, slots=True, eq=False)
class Mark:
    """Where a run stood before a step, so that the step can be taken again."""

    captured: Captured
    step_in_epoch: int
    mass: float
    sums: dict[str, float]


class Recovery:
    """Counts, and for `rewind` the states before the last step that was taken and before the epoch's first one.

    Going back to the step that could not be taken would change nothing: its loss is computed before its update. So the
    last update is undone, and taken again with half the learning rate. Weights that have grown for many steps are not
    mended by one: if the same step fails again, the whole epoch is begun anew.
    """

    def __init__(self, how: str) -> None:
        self.how = how
        self.skipped = self.rewinds = 0
        self._failed_at = 0
        self._previous: Mark | None = None
        self._start: Mark | None = None

    def go_back(self, step: int, epoch: int) -> Mark:
        """Where to go back to; counted.

        Args:
            step: the one that was not finite, from 1.
            epoch: the one under way, from 1.

        Raises:
            NonFiniteLossError: there is no step to go back to, or too many were undone.
        """
        mark = self._start if step <= self._failed_at and self._start is not None else self._previous
        if mark is None or self.rewinds == MOST_REWINDS:
            why = "there is no step to go back to" if mark is None else f"{MOST_REWINDS} steps were undone before"
            message = f"the loss or its gradient became NaN or infinite at step {step}, and {why}"
            raise NonFiniteLossError(message, step, "total", epoch)
        self.rewinds += 1
        self._failed_at = step
        return mark

    def here(self, stepper: Stepper, record: LossRecord, step_in_epoch: int) -> Mark | None:
        """Where the run stands, if it may have to come back."""
        if self.how != "rewind":
            return None
        return Mark(stepper.live().copied(), step_in_epoch, record.mass, record.sums)

    def taken(self, before: Mark) -> None:
        """A step was taken from there."""
        self._previous = before
        if before.step_in_epoch == 0:
            self._start = before

    def forget(self) -> None:
        """There is no way back from here."""
        self._previous = self._start = None

    def metrics(self) -> dict[str, float]:
        """What is logged of an epoch."""
        if self.how == "skip":
            return {"train.skipped_steps": float(self.skipped)}
        return {"train.rewinds": float(self.rewinds)} if self.how == "rewind" else {}

    def numbers(self) -> dict[str, float]:
        """For a checkpoint."""
        counts = {"skipped": self.skipped, "rewinds": self.rewinds, "failed_at": self._failed_at}
        found = {f"recovery/{name}": float(count) for name, count in counts.items()}
        for name, mark in self._marks().items():
            found |= {f"{name}/step_in_epoch": float(mark.step_in_epoch), f"{name}/mass": mark.mass}
            found |= {f"{name}/sums/{key}": value for key, value in mark.sums.items()}
            found |= {f"{name}/numbers/{key}": value for key, value in mark.captured.numbers.items()}
        return found

    def tensors(self) -> dict[str, Tensor]:
        """For a checkpoint."""
        return {
            f"{name}/{group}/{key}": tensor
            for name, mark in self._marks().items()
            for group in _GROUPS
            for key, tensor in getattr(mark.captured, group).items()
        }

    def restore(self, state: TrainingState) -> None:
        """What `numbers` and `tensors` gave."""
        counts = _under("recovery/", state.numbers)
        self.skipped, self.rewinds = int(counts.get("skipped", 0.0)), int(counts.get("rewinds", 0.0))
        self._failed_at = int(counts.get("failed_at", 0.0))
        self._previous, self._start = _mark("previous", state), _mark("start", state)

    def _marks(self) -> dict[str, Mark]:
        marks = {"previous": self._previous, "start": self._start}
        return {name: mark for name, mark in marks.items() if mark is not None}


def _mark(name: str, state: TrainingState) -> Mark | None:
    numbers = _under(f"{name}/", state.numbers)
    if not numbers:
        return None
    groups = {group: _under(f"{name}/{group}/", state.more) for group in _GROUPS}
    captured = Captured(**groups, numbers=_under("numbers/", numbers))
    return Mark(captured, int(numbers["step_in_epoch"]), numbers["mass"], _under("sums/", numbers))


def _under(prefix: str, values: dict[str, Value]) -> dict[str, Value]:
    return {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}
