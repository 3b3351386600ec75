"""Members that step together: one program, one optimiser, one set of stacked tensors."""

# M members, S steps, P series

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from softreg_core.data.part import Part
from softreg_core.engine.pack.measure import PackedMeasure
from softreg_core.engine.pack.member import Member, Taken
from softreg_core.engine.pack.noise import PackedNoise
from softreg_core.engine.pack.numbers import PackedNumbers, names_of
from softreg_core.engine.pack.program import PackProgram
from softreg_core.engine.pack.rows import PackedBatch, PackedRows
from softreg_core.engine.pack.stack import Stack
from softreg_core.engine.pack.updates import PackedUpdate

__all__ = ["Pack"]

# A smaller pack is another program, which takes a third of a second to trace: it must be much smaller.
_WORTH_KEEPING = 0.5
# Sums of steps are read at least this often, so that a member that became NaN is not told of hours later.
_STEPS_PER_READING = 1024


class Pack:
    """Takes steps and measures; which member is over is for the caller to see."""

    def __init__(self, members: Sequence[Member], template: int) -> None:
        """Args:
        members: at one and the same step.
        template: the one whose loss has all that any of them has.
        """
        model = members[template]
        self.members = list(members)
        self._names = names_of(members)
        self._stack = Stack([member.stepper for member in members], template)
        self._best: Stack | None = None
        self._last: Stack | None = None
        """Copies, where members of themselves keep none: of the best epoch of each, and of the last one."""
        self._adopt()
        self._program = PackProgram(model.spec, model.stepper.objective)
        self._numbers = PackedNumbers(self._names, members)
        self._update = PackedUpdate(model.spec)
        self._measure = PackedMeasure(model.stepper.net, model.stepper.loss, model.meaning())
        self._measure.begin(self.members, self._names)
        known: dict[object, Part] = {}
        seeds = [member.spec.training.seed for member in members]
        self._rows = PackedRows(
            [member.rows(known) for member in members], max(member.batch_size for member in members), seeds
        )
        self._noise = PackedNoise(model.stepper.net, seeds, model.device)
        self._batches: Iterator[PackedBatch] = iter(())
        self._logged = {every for m in members if (every := m.spec.training.log_every) is not None}
        self._sums: list[Tensor] = []
        self._seen_M3: Tensor | None = None
        self._sigma2_M: Tensor | None = None
        self.step, self.step_in_epoch, self.epoch = model.step, model.step_in_epoch, model.epoch
        self.steps_per_epoch = model.steps_per_epoch

    def _adopt(self) -> None:
        self._stack.count = self._stack.count.clone()  # members that left keep the one that they have
        for place, member in enumerate(self.members):
            self._stack.lend(place, member.stepper, self._stack.count)

    def begin_epoch(self) -> None:
        """Before the first step, and before that of each epoch; an epoch may be begun in the middle."""
        self._numbers.begin(self.step, self.steps_per_epoch - self.step_in_epoch)
        self._remember()
        self._batches = self._rows(self.epoch, self.step_in_epoch)

    def take_step(self) -> None:
        """One step of every member."""
        batch, numbers = next(self._batches), self._numbers.at(self.step)
        uniforms = self._noise(self.step, batch.of_one())
        if self.step_in_epoch + 1 == self.steps_per_epoch and any(member.sees_gradients for member in self.members):
            self._seen_M3 = self._program.observed(self._stack, numbers, batch, uniforms)
        found = self._program.gradients(self._stack, numbers, batch, uniforms)
        self._update(self._stack, found.of, numbers, self._numbers.rate_at(self.step))
        for name, buffer in found.buffers.items():
            self._stack.buffers[name].copy_(buffer)
        self._sigma2_M = found.sigma2
        self._sums.append(found.sums)
        self.step += 1
        self.step_in_epoch += 1

    @property
    def is_at_end(self) -> bool:
        """Whether the epoch's last step was taken."""
        return self.step_in_epoch == self.steps_per_epoch

    @property
    def is_to_be_read(self) -> bool:
        """Whether the epoch is at its end, a member logs the last step, or nothing was read for long."""
        is_logged = any(self.step % steps == 0 for steps in self._logged)
        return self.is_at_end or is_logged or len(self._sums) == _STEPS_PER_READING

    def read(self) -> list[Taken]:
        """Of each member, the steps since the last reading; waits for the device."""
        if not self._sums:
            return []
        sums_MSP = torch.stack(self._sums, dim=1).cpu().numpy()
        seen = [None] * len(self.members) if self._seen_M3 is None else map(tuple, self._seen_M3.tolist())
        sigma2 = [None] * len(self.members) if self._sigma2_M is None else self._sigma2_M
        self._sums, self._seen_M3 = [], None
        pairs = zip(sums_MSP, seen, sigma2, strict=True)
        return [Taken(self._program.series, sums_SP, seen, sigma2) for sums_SP, seen, sigma2 in pairs]

    def measure(self) -> None:
        """Let every member know its metrics, and whether its weights are finite."""
        pairs = zip(self.members, self._measure(self._stack), self._stack.is_finite(), strict=True)
        for member, metrics, is_sound in pairs:
            member.evaluated(metrics, is_sound=is_sound)

    def _remember(self) -> None:
        """Copy what members have not copied of the epoch that has ended."""
        bests = [place for place, member in enumerate(self.members) if member.has_new_best]
        if bests:
            self._best = self._stack.copied(self._best, bests)
        for place in bests:
            self.members[place].has_new_best = False
        if any(member.is_light for member in self.members):
            self._last = self._stack.copied(self._last, range(len(self.members)))

    def complete(self, member: Member, *, has_failed: bool = False) -> None:
        """Let a member whose states will be told of have their tensors."""
        place, best = self.members.index(member), member.best.best
        if self._best is not None and best is not None and member.has_light_best:
            self._best.lend(place, member.stepper, torch.tensor(float(best.step)))
            member.fill_best()
        if self._last is not None and has_failed and member.is_light:
            self._last.lend(place, member.stepper, torch.tensor(float(self.step - self.step_in_epoch)))
            member.fill_last()
        self._stack.lend(place, member.stepper, self._stack.count)

    def look(self) -> None:
        """Let every member know whether its weights are finite."""
        for member, is_sound in zip(self.members, self._stack.is_finite(), strict=True):
            member.is_sound = is_sound

    def end_epoch(self) -> None:
        """Stand before the next one."""
        self.epoch += 1
        self.step_in_epoch = 0

    def leave(self, active: Sequence[Member]) -> None:
        """Compute only those from now on, if that saves more than it costs."""
        if not active or len(active) > _WORTH_KEEPING * len(self.members):
            return
        kept = {id(member) for member in active}
        places = [place for place, member in enumerate(self.members) if id(member) in kept]
        self.members = [self.members[place] for place in places]
        self._stack = self._stack.keep(places)
        self._best = None if self._best is None else self._best.keep(places)
        self._last = None
        self._adopt()
        self._rows.keep(places)
        self._noise.begin([member.spec.training.seed for member in self.members])
        self._measure.begin(self.members, self._names)
        self._numbers = PackedNumbers(self._names, self.members)
