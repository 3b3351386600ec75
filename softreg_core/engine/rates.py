"""The learning rate of each step: schedule, plateau, and the halvings after a rewind."""

from __future__ import annotations

from softreg_core.engine.patience import patience_of
from softreg_core.spec.schedule import ConstantScheduleSpec, PlateauScheduleSpec, ScheduleSpec, factor_at

__all__ = ["Rates"]


class Rates:
    """A factor of the optimiser's rate; python floats, so that no device rounds it."""

    def __init__(self, schedule: ScheduleSpec, steps_per_epoch: int, total_steps: int, monitor: str) -> None:
        """`monitor` is what a plateau's `auto` means."""
        self.schedule = schedule
        self._steps_per_epoch = steps_per_epoch
        self._total_steps = total_steps
        self._patience = patience_of(schedule if isinstance(schedule, PlateauScheduleSpec) else None, monitor)
        self.is_scheduled = schedule != ConstantScheduleSpec()
        """Whether the rate changes by plan."""
        self.plateau = 1.0
        self.halved = 1.0

    @property
    def is_changing(self) -> bool:
        """Whether the rate is ever another than the optimiser's."""
        return self.halved != 1.0 or self.is_scheduled

    def at(self, step: int) -> float:
        """The factor for a step, counted from 0."""
        if not self.is_scheduled:
            return self.halved
        planned = factor_at(self.schedule, step, self._total_steps, self._steps_per_epoch)
        return planned * self.plateau * self.halved

    def see(self, metrics: dict[str, float]) -> None:
        """An epoch's metrics, which a plateau waits on."""
        if self._patience is None or not isinstance(self.schedule, PlateauScheduleSpec):
            return
        self._patience.see(metrics)
        if self._patience.is_exhausted:
            self._patience.forgive()
            self.plateau = max(self.schedule.smallest, self.plateau * self.schedule.factor)

    def numbers(self) -> dict[str, float]:
        """For a checkpoint."""
        waited = {} if self._patience is None else self._patience.numbers("plateau")
        return waited | {"rate/plateau": self.plateau, "rate/halved": self.halved}

    def restore(self, numbers: dict[str, float]) -> None:
        """What `numbers` gave."""
        self.plateau, self.halved = numbers.get("rate/plateau", 1.0), numbers.get("rate/halved", 1.0)
        if self._patience is not None:
            self._patience.restore("plateau", numbers)
