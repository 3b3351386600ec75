"""One training run: where it stands, and how it ends an epoch and is captured; `Walk` has its steps."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch

from softreg_core.data.tabular import PreparedData
from softreg_core.engine.best import BestEpoch
from softreg_core.engine.build import build_batches, build_stepper
from softreg_core.engine.events import EpochEnded, Finished, StepLogged, TrainedModel
from softreg_core.engine.ledger import GradientLedger, with_shares
from softreg_core.engine.manifest import Manifest
from softreg_core.engine.patience import patience_of
from softreg_core.engine.rates import Rates
from softreg_core.engine.record import LossRecord
from softreg_core.engine.recovery import Recovery
from softreg_core.engine.relief import Relief
from softreg_core.engine.room import require_room_to_train
from softreg_core.engine.state import TrainingState
from softreg_core.engine.step.beside import Teacher
from softreg_core.engine.step.stepper import Captured, copies
from softreg_core.engine.tiers.advance import Chosen, Job, Tier
from softreg_core.engine.walk import Control, Walk
from softreg_core.errors import DataError, NonFiniteLossError
from softreg_core.evaluate.model import Measured
from softreg_core.spec.advice import Advice, advise_at
from softreg_core.spec.train import TrainSpec
from softreg_core.spec.work import work_per_row

__all__ = ["Control", "Run"]

# Losses are looked at this often within a long epoch, so that a job that became NaN does not go on for hours.
_STEPS_PER_READING = 1024
# Or sooner, where batches are large: until then series, or what they follow from, lie on the device.
_NUMBERS_PER_READING = 2**21
_SERIES = 8


class Run(Walk):
    """A network, its optimiser and a position: `step` optimiser steps, `epoch` completed epochs."""

    def __init__(
        self,
        spec: TrainSpec,
        data: PreparedData,
        device: torch.device,
        teacher: Teacher | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        if not isinstance(data, PreparedData):
            raise TypeError(
                f"training takes prepared data, not a {type(data).__name__}: call prepare(spec, table) first"
            )
        require_room_to_train(spec, data, device, dtype)
        self.spec = spec
        self.device = device
        self.preprocessing = data.preprocessing
        self._train, self._validation, self._test = (
            part.to(device, dtype) for part in (data.train, data.validation, data.test)
        )
        self._batches = build_batches(spec, self._train)
        self.steps_per_epoch = self._batches.steps_per_epoch
        total_steps = spec.training.epochs * self.steps_per_epoch
        self._rates = Rates(spec.schedule, self.steps_per_epoch, total_steps, spec.checkpoints.monitor)
        self._stepper, self.precision = build_stepper(spec, data, self._rates, total_steps, device, teacher, dtype)
        self._measured = Measured(spec, data.preprocessing, self._stepper.evaluated, self._stepper.loss)
        numbers = self._batches.most_rows * max(_SERIES, data.preprocessing.outputs)
        fitting = max(1, _NUMBERS_PER_READING // numbers)
        self._steps_per_reading = min(self.steps_per_epoch, _STEPS_PER_READING, fitting)
        most_rows = self._steps_per_reading * self._batches.most_rows
        self._record = LossRecord(most_rows, device, self._stepper.objective.columns_of)
        self._is_convex = spec.loss.combine == "convex"
        self._ledger = GradientLedger(spec, self.steps_per_epoch)
        self._recovery = Recovery(spec.training.on_nonfinite)
        self._relief = Relief(spec)
        self._stopping = patience_of(spec.training.early_stopping, spec.checkpoints.monitor)
        self.best = BestEpoch(spec.checkpoints.monitor, is_kept=spec.checkpoints.keep_best)
        # With `rewind` told when the epoch ends: a step that is undone was none, and each is told of once.
        self._untold: list[StepLogged] = []
        self.step = self.epoch = self.step_in_epoch = 0
        self.stored_step: int | None = None
        self.last_good: TrainingState | None = None
        self.metrics: dict[str, float] = {}
        self.manifest: Manifest | None = None
        self.chosen = Chosen("eager", "not asked")

    @property
    def parameters(self) -> int:
        """Number of trainable numbers."""
        return sum(parameter.numel() for parameter in self._stepper.net.parameters())

    @property
    def job(self) -> Job:
        """What is to be done, for who chooses how."""
        before = None if self.last_good is None else _tier_of(self.last_good)
        size = self._batches.batch_size
        work = work_per_row(self.spec.net, self.preprocessing.shape, self.preprocessing.outputs)
        stands = (self.steps_per_epoch, self.step, self.device, before, work.multiplications)
        return Job(self.spec, self._stepper, self._rates, self._train, size, *stands)

    @property
    def order(self) -> str:
        """How an epoch visits the training rows, in words."""
        return self._batches.order

    @property
    def most_rows(self) -> int:
        """Rows of the largest batch."""
        return self._batches.most_rows

    def restore(self, state: TrainingState, best_state: TrainingState | None) -> None:
        """Go on from `state`.

        Args:
            state: a captured state of a run with the same spec and data.
            best_state: the state of `state.best`; may be left out when that is `state` itself.

        Raises:
            DataError: the states do not belong to this spec or to each other.
        """
        if state.best is not None and state.best.step == state.step:
            best_state = state
        if state.best is not None and (best_state is None or best_state.step != state.best.step):
            raise DataError(f"the best checkpoint, of step {state.best.step}, is needed to resume", "wrong_checkpoint")
        if state.step != state.epoch * self.steps_per_epoch + state.step_in_epoch:
            raise DataError(f"step {state.step} is not in epoch {state.epoch} of this data", "wrong_checkpoint")
        self._stepper.put(Captured(state.model, state.loss, state.optimizer, state.more, state.numbers))
        self._rates.restore(state.numbers)
        self._recovery.restore(state)
        self._relief.restore(state.numbers)
        self._stepper.parts = self._relief.parts
        if self._stopping is not None:
            self._stopping.restore("stopping", state.numbers)
        self.step, self.epoch, self.step_in_epoch = state.step, state.epoch, state.step_in_epoch
        self.stored_step = self.step
        self.last_good = state
        self.metrics = dict(state.metrics)
        self.best.restore(state.best, best_state)
        self._record.begin(self.epoch, self.step, state.numbers.get("record/mass", 0.0), state.loss_sums)

    @property
    def is_over(self) -> bool:
        """Whether no epoch is to come."""
        return self.epoch >= self.spec.training.epochs or self.is_stopped_early

    @property
    def is_stopped_early(self) -> bool:
        """Whether the monitored metric has not got better for long enough."""
        return self._stopping is not None and self._stopping.is_exhausted

    def end_epoch(self, *, keep_step_losses: bool) -> EpochEnded:
        """Evaluate, see whether this epoch is the best, and stand at the start of the next one."""
        self.check_finite()
        self.metrics = self._trained_metrics()
        sigma2 = self._stepper.loss.followed_sigma2()
        if sigma2 is not None:  # before evaluation, whose batches may have another one
            self.metrics["train.sigma2"] = sigma2
        self.metrics |= {f"val.{name}": value for name, value in self._validated().items()}
        step_losses = tuple(self._record.step_losses) if keep_step_losses else None
        self.epoch += 1
        self.step_in_epoch = 0
        self._record.begin(self.epoch, self.step)
        self._rates.see(self.metrics)
        if self._stopping is not None:
            self._stopping.see(self.metrics)
        # Every epoch, not only when a checkpoint is due: the next one may ruin the weights.
        self.last_good = self.best.offer(self.step, self.epoch, self.metrics, self.capture)
        advice = (*self._advice(sigma2), *self._relief.take_advice())
        return EpochEnded(self.step, self.epoch, dict(self.metrics), step_losses, advice)

    def _validated(self) -> dict[str, float]:
        return self._measured.metrics(self._validation)

    def _advice(self, sigma2: float | None) -> tuple[Advice, ...]:
        warning = self.chosen.warning
        told = () if warning is None else (Advice("other_engine", "/training/engine", warning),)
        if sigma2 is None:
            return told
        alpha = self._stepper.loss.weighing.alpha_at(self.step)
        return (*told, *advise_at(self.spec.loss, self.preprocessing.outputs, sigma2, alpha))

    def _trained_metrics(self) -> dict[str, float]:
        means = with_shares(self._record.means(), is_convex=self._is_convex)
        metrics = {f"train.{name}": value for name, value in (means | self._ledger.take()).items()}
        if self._rates.is_scheduled or self._recovery.how == "rewind":
            metrics["train.learning_rate"] = self._stepper.rate
        return metrics | self._recovery.metrics()

    def check_finite(self) -> None:
        """Look at every loss since the last look, and at the weights.

        Raises:
            NonFiniteLossError: one of them is not finite; the last step's gradient shows in the weights only.
        """
        self._record.read()
        if self.step_in_epoch == self.steps_per_epoch and not self._record.sums:
            what = "the loss or its gradient was NaN or infinite at every step of the epoch, up to step"
        elif not self._is_finite():
            what = "the gradient of the loss made a weight NaN or infinite at step"
        else:
            return
        raise NonFiniteLossError(f"{what} {self.step}", self.step, "total", self.epoch + 1)

    def _is_finite(self) -> bool:
        return self._stepper.is_finite()

    def capture(self) -> TrainingState:
        """A copy of everything, on the CPU; made once where an epoch ends."""
        if self.last_good is not None and self.last_good.step == self.step:
            return self.last_good
        return self._captured(self._stepper.live().copied("cpu"))

    def _captured(self, captured: Captured) -> TrainingState:
        """The state that has these tensors."""
        previous = {name: tensor.to("cpu", copy=True) for name, tensor in self._recovery.tensors().items()}
        return TrainingState(
            step=self.step,
            epoch=self.epoch,
            step_in_epoch=self.step_in_epoch,
            loss_sums=self._record.sums,
            metrics=dict(self.metrics),
            best=self.best.best,
            model=captured.model,
            loss=captured.loss,
            optimizer=captured.optimizer,
            more=captured.more | previous,
            numbers=captured.numbers | self._numbers(),
        )

    def _numbers(self) -> dict[str, float]:
        """Counters and factors, as a state carries them."""
        stopping = {} if self._stopping is None else self._stopping.numbers("stopping")
        # An interrupted run goes on in the tier that it began in.
        tier = {} if self.chosen.advance is None else {f"engine/{self.chosen.tier}": 1.0}
        return (
            tier
            | {"record/mass": self._record.mass}
            | self._rates.numbers()
            | self._recovery.numbers()
            | stopping
            | self._relief.numbers()
        )

    def finish(self) -> Finished:
        """The model to deliver, measured on the test rows; the run is over."""
        metrics = dict(self.metrics)
        if self.best.state is not None:
            best = self.best.state
            self._stepper.put(Captured(best.model, best.loss, best.optimizer, best.more, best.numbers))
            metrics = dict(best.metrics)
        metrics |= {f"test.{name}": value for name, value in self._measured.metrics(self._test).items()}
        of_net, of_loss = (copies(module.state_dict()) for module in (self._stepper.evaluated, self._stepper.loss))
        manifest = None if self.manifest is None else replace(self.manifest, parts=self._relief.parts)
        model = TrainedModel(self.spec, of_net, self.preprocessing, of_loss, manifest)
        best_step = None if self.best.best is None else self.best.best.step
        is_early = self.is_stopped_early and self.epoch < self.spec.training.epochs
        reason: Literal["completed", "early_stopped"] = "early_stopped" if is_early else "completed"
        parts = {"train": self._train, "validation": self._validation, "test": self._test}
        return Finished(model, metrics, self._measured.report(parts), self.step, self.epoch, best_step, reason)


def _tier_of(state: TrainingState) -> Tier:
    tiers: tuple[Tier, ...] = ("compiled", "cudagraph")
    return next((tier for tier in tiers if f"engine/{tier}" in state.numbers), "eager")
