"""One training run: where it stands, and how it takes a step, ends an epoch and is captured."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator

import torch

from softreg_core.data.tabular import Part, PreparedData
from softreg_core.engine.batches import Batches, ResidentBatches
from softreg_core.engine.best import BestEpoch
from softreg_core.engine.events import EpochEnded, Finished, Progress, TrainedModel
from softreg_core.engine.record import LossRecord
from softreg_core.engine.state import TrainingState
from softreg_core.engine.step import Stepper, copies, load_tensors
from softreg_core.errors import DataError, NonFiniteLossError
from softreg_core.evaluate import evaluate
from softreg_core.losses import DataMeta, build_loss, target_variance
from softreg_core.nets import build_net
from softreg_core.spec.advice import Advice, advise_at
from softreg_core.spec.fit import label_threshold
from softreg_core.spec.net_fit import misfit_of_batches
from softreg_core.spec.train import TrainSpec

__all__ = ["Control", "Run"]

Control = Callable[[], str | None]

_PROGRESS_SECONDS = 0.25
# Losses are looked at this often within a long epoch, so that a job that became NaN does not go on for hours.
_STEPS_PER_READING = 1024


class Run:
    """A network, its optimiser and a position: `step` optimiser steps, `epoch` completed epochs."""

    def __init__(self, spec: TrainSpec, data: PreparedData, device: torch.device) -> None:
        if not isinstance(data, PreparedData):
            raise TypeError(
                f"training takes prepared data, not a {type(data).__name__}: call prepare(spec, table) first"
            )
        self.spec = spec
        self.device = device
        self.preprocessing = data.preprocessing
        self._validation, self._test = data.validation.to(device), data.test.to(device)
        self._batches = self._source(data)
        self._target_variance = target_variance(data.train.target, data.preprocessing.outputs)
        self.steps_per_epoch = self._batches.steps_per_epoch
        self._stepper = self._build_stepper()
        steps_between_readings = min(self.steps_per_epoch, _STEPS_PER_READING)
        self._record = LossRecord(steps_between_readings * self._batches.most_rows, device)
        self.best = BestEpoch(spec.checkpoints.monitor, is_kept=spec.checkpoints.keep_best)
        self.step = self.epoch = self.step_in_epoch = 0
        self.stored_step: int | None = None
        self.last_good: TrainingState | None = None
        self.metrics: dict[str, float] = {}

    def _source(self, data: PreparedData) -> Batches:
        training = self.spec.training
        misfit = misfit_of_batches(self.spec.net, data.train.rows, training.batch_size)
        if misfit is not None:  # what `resolve` did not see: rows that stay together change the sizes a little
            raise DataError(misfit, "batch_of_one")
        return ResidentBatches(data.train.to(self.device), training.batch_size, training.seed)

    def _build_stepper(self) -> Stepper:
        spec, preprocessing = self.spec, self.preprocessing
        total_steps = spec.training.epochs * self.steps_per_epoch
        meta = DataMeta(preprocessing.outputs, preprocessing.task, total_steps, self._target_variance)
        loss = build_loss(spec.loss, meta).to(self.device)
        width = preprocessing.outputs + loss.extra_outputs
        shape, statistics = preprocessing.shape, preprocessing.statistics
        net = build_net(spec.net, shape, width, spec.training.seed, statistics).to(self.device)
        return Stepper(spec, net, loss)

    @property
    def parameters(self) -> int:
        """Number of trainable numbers."""
        return sum(parameter.numel() for parameter in self._stepper.net.parameters())

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
        self._stepper.restore(state)
        self.step, self.epoch, self.step_in_epoch = state.step, state.epoch, state.step_in_epoch
        self.stored_step = self.step
        self.last_good = state
        self.metrics = dict(state.metrics)
        self.best.restore(state.best, best_state)
        self._record.begin(self.epoch, self.step, state.numbers.get("record/mass", 0.0), state.loss_sums)

    def train_epoch(self, control: Control) -> Generator[Progress, None, str | None]:
        """Steps up to the end of the epoch; returns what `control` says when it says something."""
        self._stepper.begin_epoch()
        spoke_at = time.monotonic()
        for batch in self._batches(self.epoch, self.step_in_epoch):
            reason = control()
            if reason is not None:
                return reason
            self._record.add(self._stepper.take(batch, self.step))
            self.step += 1
            self.step_in_epoch += 1
            if self.step_in_epoch % _STEPS_PER_READING == 0:
                self._record.read()
            if time.monotonic() - spoke_at >= _PROGRESS_SECONDS:
                spoke_at = time.monotonic()
                yield Progress(self.step, self.epoch)
        return None

    def end_epoch(self, *, keep_step_losses: bool) -> EpochEnded:
        """Evaluate, see whether this epoch is the best, and stand at the start of the next one."""
        self.check_finite()
        self.metrics = {f"train.{name}": value for name, value in self._record.means().items()}
        sigma2 = self._stepper.loss.followed_sigma2()
        if sigma2 is not None:  # before evaluation, whose batches may have another one
            self.metrics["train.sigma2"] = sigma2
        self.metrics |= self._measured("val", self._validation)
        step_losses = tuple(self._record.step_losses) if keep_step_losses else None
        self.epoch += 1
        self.step_in_epoch = 0
        self._record.begin(self.epoch, self.step)
        # Every epoch, not only when a checkpoint is due: the next one may ruin the weights.
        self.last_good = self.best.offer(self.step, self.epoch, self.metrics, self.capture)
        return EpochEnded(self.step, self.epoch, dict(self.metrics), step_losses, self._advice(sigma2))

    def _advice(self, sigma2: float | None) -> tuple[Advice, ...]:
        if sigma2 is None:
            return ()
        alpha = self._stepper.loss.weighing.alpha_at(self.step)
        return tuple(advise_at(self.spec.loss, self.preprocessing.outputs, sigma2, alpha))

    def check_finite(self) -> None:
        """Look at every loss since the last look, and at the weights.

        Raises:
            NonFiniteLossError: one of them is not finite; the last step's gradient shows in the weights only.
        """
        self._record.read()
        if not self._stepper.is_finite():
            raise NonFiniteLossError(
                f"the gradient of the loss made a weight NaN or infinite at step {self.step}",
                self.step,
                "total",
                self.epoch + 1,
            )

    def capture(self) -> TrainingState:
        """A copy of everything, on the CPU; made once where an epoch ends."""
        if self.last_good is not None and self.last_good.step == self.step:
            return self.last_good
        captured = self._stepper.capture()
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
            more=captured.more,
            numbers=captured.numbers | {"record/mass": self._record.mass},
        )

    def finish(self) -> Finished:
        """The model to deliver, measured on the test rows; the run is over."""
        metrics = dict(self.metrics)
        if self.best.state is not None:
            load_tensors(self._stepper.net, self.best.state.model)
            load_tensors(self._stepper.loss, self.best.state.loss)
            metrics = dict(self.best.state.metrics)
        metrics |= self._measured("test", self._test)
        of_loss = copies(self._stepper.loss.state_dict())
        model = TrainedModel(self.spec, copies(self._stepper.net.state_dict()), self.preprocessing, of_loss)
        best_step = None if self.best.best is None else self.best.best.step
        return Finished(model, metrics, self.step, self.epoch, best_step)

    def _measured(self, name: str, part: Part) -> dict[str, float]:
        if part.rows == 0:
            return {}
        scaling = self.preprocessing.target
        scale = None if scaling is None else scaling.scale
        threshold = label_threshold(self.spec.loss.base) if self.preprocessing.task == "multilabel" else None
        measured = evaluate(
            self._stepper.net,
            self._stepper.loss,
            part.inputs,
            part.target,
            target_scale=scale,
            label_threshold=threshold,
        )
        return {f"{name}.{metric}": value for metric, value in measured.items()}
