"""Which epoch was best, and whether its state has been published."""

from __future__ import annotations

import math
from collections.abc import Callable

from softreg_core.engine.state import Best, TrainingState
from softreg_core.spec.training import is_larger_better

__all__ = ["BestEpoch"]


class BestEpoch:
    """Holds the best epoch's whole state in memory until a later one beats it.

    The first of equal epochs stays; an epoch whose metric is NaN is never the best.
    """

    def __init__(self, monitor: str, *, is_kept: bool) -> None:
        self._monitor = monitor
        self._is_kept = is_kept
        self._published_step: int | None = None
        self.best: Best | None = None
        self.state: TrainingState | None = None

    def restore(self, best: Best | None, state: TrainingState | None) -> None:
        """Take over from a resumed run, which has published its best before it published anything later."""
        self.best, self.state = best, state
        self._published_step = None if best is None else best.step

    def offer(
        self, step: int, epoch: int, metrics: dict[str, float], capture: Callable[[], TrainingState]
    ) -> TrainingState:
        """An epoch has ended: keep its state if it is the best, and return it in any case.

        It is captured after the decision, because a state says which epoch is the best so far.
        """
        value = metrics.get(self._monitor, math.nan)
        is_best = self._is_kept and not math.isnan(value) and self._is_better(value)
        if is_best:
            self.best = Best(self._monitor, value, step, epoch)
        state = capture()
        if is_best:
            self.state = state
        return state

    def take_unpublished(self) -> TrainingState | None:
        """The best state if it was not handed out before; the caller publishes it."""
        if self.best is None or self.best.step == self._published_step:
            return None
        self._published_step = self.best.step
        return self.state

    def _is_better(self, value: float) -> bool:
        if self.best is None:
            return True
        return value > self.best.value if is_larger_better(self._monitor) else value < self.best.value
