"""What becomes of a step whose loss or gradient is not finite: left out, or the one before it taken again, shorter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from torch import Tensor

from softreg_core.engine.record import LossRecord
from softreg_core.engine.state import TrainingState
from softreg_core.engine.step import Captured, Stepper
from softreg_core.errors import NonFiniteLossError

__all__ = ["MOST_REWINDS", "Mark", "Recovery"]

MOST_REWINDS = 10
Value = TypeVar("Value")
_GROUPS = ("model", "loss", "optimizer", "more")


@dataclass(frozen=True, slots=True, eq=False)
class Mark:
    """Where a run stood before a step, so that the step can be taken again."""

    captured: Captured
    mass: float
    sums: tuple[float, ...]


class Recovery:
    """Counts, and for `rewind` the state before the last step that was taken.

    Going back to the step that could not be taken would change nothing: its loss is computed before its update. So the
    last update is undone, and taken again with half the learning rate.
    """

    def __init__(self, how: str) -> None:
        self.how = how
        self.skipped = self.rewinds = 0
        self.mark: Mark | None = None

    def go_back(self, step: int, epoch: int) -> Mark:
        """Where to go back to; counted.

        Args:
            step: the one that was not finite, from 1.
            epoch: the one under way, from 1.

        Raises:
            NonFiniteLossError: there is no step to go back to, or too many were undone.
        """
        if self.mark is None or self.rewinds == MOST_REWINDS:
            why = "there is no step to go back to" if self.mark is None else f"{MOST_REWINDS} steps were undone before"
            message = f"the loss or its gradient became NaN or infinite at step {step}, and {why}"
            raise NonFiniteLossError(message, step, "total", epoch)
        self.rewinds += 1
        return self.mark

    def here(self, stepper: Stepper, record: LossRecord) -> Mark | None:
        """Where the run stands, if it may have to come back."""
        if self.how != "rewind":
            return None
        return Mark(stepper.live().copied(), record.mass, record.sums)

    def metrics(self) -> dict[str, float]:
        """What is logged of an epoch."""
        if self.how == "skip":
            return {"train.skipped_steps": float(self.skipped)}
        return {"train.rewinds": float(self.rewinds)} if self.how == "rewind" else {}

    def numbers(self) -> dict[str, float]:
        """For a checkpoint."""
        found = {"recovery/skipped": float(self.skipped), "recovery/rewinds": float(self.rewinds)}
        if self.mark is None:
            return found
        found["previous/record/mass"] = self.mark.mass
        found |= {f"previous/sums/{index:04d}": value for index, value in enumerate(self.mark.sums)}
        return found | {f"previous/numbers/{name}": value for name, value in self.mark.captured.numbers.items()}

    def tensors(self) -> dict[str, Tensor]:
        """For a checkpoint."""
        if self.mark is None:
            return {}
        groups = {group: getattr(self.mark.captured, group) for group in _GROUPS}
        return {f"previous/{group}/{n}": t for group, tensors in groups.items() for n, t in tensors.items()}

    def restore(self, state: TrainingState) -> None:
        """What `numbers` and `tensors` gave."""
        numbers = state.numbers
        self.skipped = int(numbers.get("recovery/skipped", 0.0))
        self.rewinds = int(numbers.get("recovery/rewinds", 0.0))
        self.mark = None
        if "previous/record/mass" not in numbers:
            return
        groups = {group: _under(f"previous/{group}/", state.more) for group in _GROUPS}
        captured = Captured(**groups, numbers=_under("previous/numbers/", numbers))
        sums = tuple(value for _, value in sorted(_under("previous/sums/", numbers).items()))
        self.mark = Mark(captured, numbers["previous/record/mass"], sums)


def _under(prefix: str, values: dict[str, Value]) -> dict[str, Value]:
    return {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}
