"""A member of a pack: a run whose steps and evaluations somebody else computes, and which tells what a run tells."""

# S steps, P series

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from softreg_core.data.part import Part
from softreg_core.data.streamed import StreamedPart
from softreg_core.data.tabular import PreparedData
from softreg_core.engine.events import StepLogged
from softreg_core.engine.program import number_names
from softreg_core.engine.rates import Rates
from softreg_core.engine.run import Run
from softreg_core.engine.state import TrainingState
from softreg_core.engine.step.stepper import Captured, Stepper
from softreg_core.engine.step.terms import PENALTIES
from softreg_core.engine.tiers.advance import Advanced
from softreg_core.spec.train import TrainSpec

__all__ = ["Member", "Taken"]

_OF_DIVERGENCE = frozenset({"divergence", "weighted.divergence"})


class Taken(NamedTuple):
    """Steps of one member."""

    series: tuple[str, ...]
    """Of the pack: a member leaves out what its own run has not."""
    sums: NDArray[np.float64]
    """(S, P): as `LossRecord.add_sums` takes them."""
    seen: tuple[float, ...] | None
    """What the gradient ledger saw in the last of them."""
    sigma2: Tensor | None
    """(): what the loss took from the last batch, where it does."""


class Member(Run):
    """A run; its weights lie in the pack's."""

    def __init__(
        self, index: int, spec: TrainSpec, data: PreparedData, device: torch.device, dtype: torch.dtype
    ) -> None:
        super().__init__(spec, data, device, dtype=dtype)
        self.index = index
        names = set(number_names(spec))
        self._left_out = (frozenset(PENALTIES) - names) | (frozenset() if "alpha" in names else _OF_DIVERGENCE)
        self.is_sound = True
        self.is_light = False
        """The last epoch's state is kept without its tensors."""
        self.has_light_best = False
        """The best epoch's is."""
        self.has_new_best = False
        """It was the last one, and the pack has not copied it yet."""
        self.found: Mapping[str, float] = {}

    @property
    def stepper(self) -> Stepper:
        """Whose network, loss and optimiser stand on the pack's tensors."""
        return self._stepper

    @property
    def rates(self) -> Rates:
        """Of the learning rate."""
        return self._rates

    @property
    def total_steps(self) -> int:
        """Of the whole run."""
        return self.spec.training.epochs * self.steps_per_epoch

    @property
    def is_changing(self) -> bool:
        """Whether a number of its steps is another from step to step."""
        return self._rates.is_changing or not isinstance(self.spec.loss.alpha, float)

    @property
    def batch_size(self) -> int:
        """Rows of a step, but for the last of an epoch."""
        return self._batches.batch_size

    @property
    def validation(self) -> Part:
        """Rows to be evaluated after each epoch."""
        return _resident(self._validation)

    def rows(self, known: dict[object, Part]) -> Part:
        """The training rows, the weights of their classes in their own.

        Args:
            known: of the members before, by what they are made of: equal rows are one object.
        """
        part = _resident(self._train)
        weight = self._stepper.objective.weight(part)
        own = None if weight is None else weight.cpu().numpy().tobytes()
        return known.setdefault((id(part.target), own), replace(part, weight=weight))

    @property
    def sees_gradients(self) -> bool:
        """Whether it tells the gradients of base and divergence apart, at the last step of each epoch."""
        return not self._left_out >= _OF_DIVERGENCE and self._ledger.wants(self.steps_per_epoch - 1, 0)

    def took(self, taken: Taken) -> Iterator[StepLogged]:
        """Note steps that the pack took with it; to be run to the end.

        Raises:
            NonFiniteLossError: a loss is not finite.
        """
        kept = [place for place, name in enumerate(taken.series) if name not in self._left_out]
        before = self.step
        self.step += len(taken.sums)
        self.step_in_epoch += len(taken.sums)
        self._stepper.set_rate(self.step - 1)
        if taken.sigma2 is not None:
            self._stepper.loss.put_batch_sigma2(taken.sigma2)
        names = tuple(taken.series[place] for place in kept)
        seen = taken.seen if self.sees_gradients else None
        return self._told(Advanced(names, taken.sums[:, kept], seen), before)

    def evaluated(self, found: Mapping[str, float], *, is_sound: bool) -> None:
        """What the pack measured after the epoch's last step, and whether every weight is finite then."""
        self.is_sound = is_sound
        self.found = (
            found if "alpha" in number_names(self.spec) else {n: v for n, v in found.items() if n != "divergence"}
        )

    def meaning(self) -> dict[str, Any]:
        """What outputs mean, as `sums_of` takes it."""
        return dict(self._measured.meaning)

    def target_scale(self) -> Tensor | None:
        """float64 (C,)."""
        scaling = self.preprocessing.target
        return None if scaling is None else torch.from_numpy(scaling.scale).to(self.device)

    def capture(self) -> TrainingState:
        """As of a run alone; but at the end of an epoch whose state is not stored, without tensors.

        The pack copies those of all members at once, and `fill` takes them from there if they are needed.
        """
        is_best = self.best.best is not None and self.best.best.step == self.step
        if self.last_good is not None and self.last_good.step == self.step:
            if self.is_light:
                self.last_good = self._whole(self.last_good)
                self.is_light = False
            return self.last_good
        if self.step_in_epoch:
            return super().capture()
        is_due = self.is_over or self.epoch % self.spec.checkpoints.every_epochs == 0
        self.is_light = not is_due
        if is_best:
            self.has_light_best = self.has_new_best = self.is_light
        return self._captured(Captured({}, {}, {}, {}, {})) if self.is_light else super().capture()

    def fill_best(self) -> None:
        """Put the tensors that the stepper stands on into the best epoch's state."""
        if self.best.state is not None:
            self.best.state = self._whole(self.best.state)
        self.has_light_best = False

    def fill_last(self) -> None:
        """Put them into the last epoch's."""
        if self.last_good is not None:
            self.last_good = self._whole(self.last_good)
        self.is_light = False

    def _whole(self, state: TrainingState) -> TrainingState:
        found = self._stepper.live().copied("cpu")
        return replace(state, model=found.model, loss=found.loss, optimizer=found.optimizer, more=found.more)

    def _validated(self) -> dict[str, float]:
        return dict(self.found)

    def _is_finite(self) -> bool:
        return self.is_sound


def _resident(part: Part | StreamedPart) -> Part:
    assert isinstance(part, Part)  # noqa: S101  for mypy; who packs has looked
    return part
