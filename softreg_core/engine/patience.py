"""How long a metric may fail to get better: for early stopping and for a learning rate that waits for a plateau."""

from __future__ import annotations

import math

from softreg_core.spec.schedule import PlateauScheduleSpec
from softreg_core.spec.training import EarlyStoppingSpec, is_larger_better

__all__ = ["Patience", "patience_of"]


class Patience:
    """Counts epochs in a row whose metric was not better than its best by more than `min_delta`; NaN is not better."""

    def __init__(self, monitor: str, patience: int, min_delta: float) -> None:
        self._monitor = monitor
        self._patience = patience
        self._min_delta = min_delta
        self.best: float | None = None
        self.waited = 0

    @property
    def is_exhausted(self) -> bool:
        """Whether it has waited long enough."""
        return self.waited >= self._patience

    def see(self, metrics: dict[str, float]) -> None:
        """An epoch's metrics."""
        value = metrics.get(self._monitor, math.nan)
        if self._is_better(value):
            self.best, self.waited = value, 0
        else:
            self.waited += 1

    def forgive(self) -> None:
        """Begin to wait anew."""
        self.waited = 0

    def numbers(self, owner: str) -> dict[str, float]:
        """For a checkpoint."""
        best = {} if self.best is None else {f"{owner}/best": self.best}
        return {f"{owner}/waited": float(self.waited)} | best

    def restore(self, owner: str, numbers: dict[str, float]) -> None:
        """What `numbers` gave."""
        self.waited = int(numbers.get(f"{owner}/waited", 0.0))
        self.best = numbers.get(f"{owner}/best")

    def _is_better(self, value: float) -> bool:
        if math.isnan(value):
            return False
        if self.best is None:
            return True
        gain = value - self.best if is_larger_better(self._monitor) else self.best - value
        return gain > self._min_delta


def patience_of(spec: EarlyStoppingSpec | PlateauScheduleSpec | None, monitor: str) -> Patience | None:
    """From early stopping or a plateau; `monitor` is what their `auto` means."""
    if spec is None:
        return None
    return Patience(monitor if spec.monitor == "auto" else spec.monitor, spec.patience, spec.min_delta)
