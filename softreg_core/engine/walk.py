"""How a run goes through the steps of an epoch: one by one, or many in a call; what it tells of them on the way."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator

import torch

from softreg_core.data.part import Part
from softreg_core.engine.batches import Batches
from softreg_core.engine.events import Progress, StepLogged
from softreg_core.engine.ledger import GradientLedger, with_shares
from softreg_core.engine.rates import Rates
from softreg_core.engine.record import LossRecord
from softreg_core.engine.recovery import Recovery
from softreg_core.engine.relief import Relief
from softreg_core.engine.step.stepper import Stepper
from softreg_core.engine.step.terms import Observer, Outcome
from softreg_core.engine.tiers.advance import Advance, Advanced, Chosen
from softreg_core.spec.train import TrainSpec

__all__ = ["Control", "Walk"]

Control = Callable[[], str | None]

_PROGRESS_SECONDS = 0.25


class Walk:
    """A stepper and a position: `step` optimiser steps, `epoch` completed epochs, `step_in_epoch` of the next one.

    One half of `Run`, which sets what is declared here and has the other: epochs' ends, and states.
    """

    spec: TrainSpec
    device: torch.device
    steps_per_epoch: int
    step: int
    epoch: int
    step_in_epoch: int
    chosen: Chosen
    _batches: Batches
    _stepper: Stepper
    _rates: Rates
    _record: LossRecord
    _ledger: GradientLedger
    _recovery: Recovery
    _relief: Relief
    _steps_per_reading: int
    _is_convex: bool
    _untold: list[StepLogged]

    def train_epoch(self, control: Control) -> Generator[Progress | StepLogged, None, str | None]:
        """Steps up to the end of the epoch; returns what `control` says when it says something."""
        reason = None
        while reason is None and self.step_in_epoch < self.steps_per_epoch:
            advance = self.chosen.advance
            steps = self._steps(control) if advance is None else self._leaps(control, advance)
            reason = yield from steps
        untold, self._untold = self._untold, []
        yield from untold
        return reason

    def _steps(self, control: Control) -> Generator[Progress | StepLogged, None, str | None]:
        """Up to the end of the epoch, or until a step is undone: then the batches are others."""
        self._stepper.begin_epoch()
        spoke_at = time.monotonic()
        for batch in self._batches(self.epoch, self.step_in_epoch):
            reason = control()
            if reason is not None:
                return reason
            outcome = self._take_step(batch)
            if outcome is None:
                return None
            logged = self._logged(outcome)
            if logged and self._recovery.how == "rewind":
                self._untold.append(StepLogged(self.step, self.epoch, logged))
            elif logged:
                yield StepLogged(self.step, self.epoch, logged)
            if time.monotonic() - spoke_at >= _PROGRESS_SECONDS:
                spoke_at = time.monotonic()
                yield Progress(self.step, self.epoch)
        return None

    def _leaps(self, control: Control, advance: Advance) -> Generator[Progress | StepLogged, None, str | None]:
        """Up to the end of the epoch, many steps at a time."""
        self._stepper.begin_epoch()
        spoke_at = time.monotonic()
        while self.step_in_epoch < self.steps_per_epoch:
            reason = control()
            if reason is not None:
                return reason
            start, before = self.step_in_epoch, self.step
            found = advance(self.epoch, start, min(start + advance.most_steps, self.steps_per_epoch))
            self.step, self.step_in_epoch = before + len(found.sums), start + len(found.sums)
            self._stepper.set_rate(self.step - 1)
            yield from self._told(found, before)
            if time.monotonic() - spoke_at >= _PROGRESS_SECONDS:
                spoke_at = time.monotonic()
                yield Progress(self.step, self.epoch)
        return None

    def _told(self, found: Advanced, before: int) -> Iterator[StepLogged]:
        """Note steps that were taken after the step `before`.

        Raises:
            NonFiniteLossError: a loss of theirs is not finite.
        """
        log_every = self.spec.training.log_every
        for step, means in enumerate(found.means() if log_every else (), before + 1):
            if log_every is not None and step % log_every == 0:
                logged = with_shares(means, is_convex=self._is_convex)
                yield StepLogged(step, self.epoch, {f"step.{name}": value for name, value in logged.items()})
        self._record.add_sums(found.series, found.sums)
        self._ledger.put(found.seen)

    def _logged(self, outcome: Outcome) -> dict[str, float]:
        """What is told of the step that was just taken; nothing of most."""
        log_every = self.spec.training.log_every
        found = {}
        if log_every is not None and self.step % log_every == 0:
            found = with_shares(outcome.means(), is_convex=self._is_convex)
        if self._ledger.is_of_steps:
            found |= self._ledger.take()
        return {f"step.{name}": value for name, value in found.items()}

    def _take_step(self, batch: Part) -> Outcome | None:
        """One step; None when the one before it was undone instead."""
        here = self._recovery.here(self._stepper, self._record, self.step_in_epoch)
        wants = self._ledger.wants(self.step_in_epoch, self.step)
        outcome = self._taken(batch, self._ledger.observe if wants else None)
        if outcome.compared is not None:
            self._record.add_compared(outcome.compared)
        elif outcome.is_taken:
            self._record.add(outcome.columns)
        elif self._recovery.how == "skip":
            self._record.leave_out()
            self._recovery.skipped += 1
        else:
            self._go_back()
            return None
        self.step += 1
        self.step_in_epoch += 1
        if here is None:
            if self.step_in_epoch % self._steps_per_reading == 0:
                self._record.read()
            return outcome
        self._record.read()
        self._recovery.taken(here)
        # No state with such weights may end an epoch.
        if self.step_in_epoch == self.steps_per_epoch and not self._stepper.is_finite():
            self._go_back()
            return None
        return outcome

    def _taken(self, batch: Part, observe: Observer | None) -> Outcome:
        """One step; once in a run in twice as many parts, where memory runs out.

        Raises:
            ResourceError: there is not enough of it.
        """
        try:
            return self._stepper.take(batch, self.step, observe)
        except (MemoryError, RuntimeError) as error:
            self._relief.seek(error, batch.rows, self.step)
        self._relief.free(self.device)
        self._stepper.parts = self._relief.parts
        return self._taken(batch, observe)

    def _go_back(self) -> None:
        """Undo the last step that was taken, or the epoch's, and halve the learning rate.

        Raises:
            NonFiniteLossError: there is none, or too many were undone.
        """
        mark = self._recovery.go_back(self.step + 1, self.epoch + 1)
        self._ledger.take()  # of a step that does not count
        self._stepper.put(mark.captured)
        self._rates.halved *= 0.5
        if self.step_in_epoch == 0:
            # The step belongs to an epoch that has been told of: its update is undone and not made up for.
            self._recovery.forget()
            return
        undone = self.step_in_epoch - mark.step_in_epoch
        self.step, self.step_in_epoch = self.step - undone, mark.step_in_epoch
        self._untold = [event for event in self._untold if event.step <= self.step]
        losses = self._record.step_losses
        self._record.begin(self.epoch, self.step, mark.mass, mark.sums, losses[: max(0, len(losses) - undone)])
