"""Many runs as one program."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import torch

from softreg_core.data.tabular import PreparedData
from softreg_core.engine.events import Failed, Progress, TrainEvent
from softreg_core.engine.loop import started, stopped, unstored
from softreg_core.engine.manifest import deterministic, manifest_of
from softreg_core.engine.pack.member import Member
from softreg_core.engine.pack.misfit import check_pack, template_of
from softreg_core.engine.pack.pack import Pack
from softreg_core.engine.room import require_room_to_pack
from softreg_core.engine.state import TrainingState
from softreg_core.engine.threads import limited_threads
from softreg_core.engine.tiers.advance import Chosen
from softreg_core.errors import DataError, NonFiniteLossError
from softreg_core.spec.train import TrainSpec, sha256_of
from softreg_core.spec.work import work_per_row

__all__ = ["PackControl", "train_packed"]

PackControl = Callable[[], str | Mapping[int, str] | None]
"""A word ends the whole pack, words by member end those; None lets all go on."""

Told = Iterator[tuple[int, TrainEvent | Failed]]
States = Sequence[TrainingState | None]
_PROGRESS_SECONDS = 0.25


def train_packed(
    specs: Sequence[TrainSpec],
    data: PreparedData | Sequence[PreparedData],
    *,
    resume: States | None = None,
    resume_best: States | None = None,
    control: PackControl | None = None,
    device: str = "cpu",
    keep_step_losses: bool = False,
    dtype: torch.dtype = torch.float32,
) -> Told:
    """Train many runs of one shape as one batched program, each telling what it would tell alone.

    They may differ in numbers (alpha and its schedule, sigma2, learning rate and its schedule, weight decay,
    penalties), in seed and data (folds), and in what is decided between epochs: how many there are, early stopping,
    checkpoints. Order and masks of each are those of its single run; its states and its model are ordinary ones.

    Args:
        specs: resolved, each against its dataset.
        data: of all, or of each; members with the same object share its rows, and its memory.
        resume: of each member, a state to go on from, all of the same step.
        resume_best: of each member, the state of `resume.best`, when that is another one.
        control: asked before every step.
        device: `cpu`, `cuda` or `cuda:N`.
        keep_step_losses: give each step's mean loss with `EpochEnded`.
        dtype: as in `train`.

    Yields:
        (member, event): events as `train` yields them, of each member in their order; `Failed` where `train` raises.

    Raises:
        SpecError: a spec cannot be packed, or two differ in more than a number; the field and both values are named.
        DataError: the data of the members, or the states to resume from, do not go together.
        ResourceError: the members together need more memory than their device has free.
    """
    given = [data] * len(specs) if isinstance(data, PreparedData) else list(data)
    check_pack(specs, given)
    on = torch.device(device)
    require_room_to_pack(specs, given, on, dtype)
    moved = {id(one): _moved(one, on, dtype) for one in given}  # once, however many members share it
    members = [Member(i, s, moved[id(d)], on, dtype) for i, (s, d) in enumerate(zip(specs, given, strict=True))]
    _restore(members, resume, resume_best)
    model = members[template_of(specs)]
    work = work_per_row(model.spec.net, model.preprocessing.shape, model.preprocessing.outputs)
    with deterministic(on), limited_threads(work.multiplications * len(members), model.most_rows):
        digests = [sha256_of(spec) for spec in specs]
        for member in members:
            others = tuple(digest for index, digest in enumerate(digests) if index != member.index)
            chosen = Chosen("eager", f"packed with {len(others)} other runs")
            manifest = manifest_of(on, member.precision, member.order, chosen)
            member.manifest = replace(manifest, pack=others)
            yield member.index, started(member, member.manifest)
        yield from _Loop(Pack(members, model.index), keep_step_losses=keep_step_losses).run(control or _never)


def _never() -> None:
    return None


def _moved(data: PreparedData, device: torch.device, dtype: torch.dtype) -> PreparedData:
    train, validation, test = (part.to(device, dtype) for part in (data.train, data.validation, data.test))
    return PreparedData(train, validation, test, data.preprocessing)


def _restore(members: Sequence[Member], states: States | None, best: States | None) -> None:
    if states is None:
        return
    best = [None] * len(members) if best is None else best
    steps = {None if state is None else state.step for state in states}
    if len(steps) != 1 or len(states) != len(members) or len(best) != len(members):
        raise DataError("the members of a pack go on from states of one step, one for each", "wrong_checkpoint")
    for member, state, best_state in zip(members, states, best, strict=True):
        if state is not None:
            member.restore(state, best_state)


class _Loop:
    """Asks, steps, and tells; a member that is over is told of no more."""

    def __init__(self, pack: Pack, *, keep_step_losses: bool) -> None:
        self._pack = pack
        self._keeps = keep_step_losses
        self._active = {member.index: member for member in pack.members}

    def run(self, control: PackControl) -> Told:
        """To the end of all members."""
        for member in self._over():
            yield from self._finish(member)
        while self._active:
            self._pack.leave(list(self._active.values()))
            yield from self._epoch(control)
            if self._active:
                yield from self._end_epoch()

    def _over(self) -> list[Member]:
        return [member for member in self._active.values() if member.is_over]

    def _epoch(self, control: PackControl) -> Told:
        self._pack.begin_epoch()
        spoke_at = time.monotonic()
        while self._active and not self._pack.is_at_end:
            yield from self._asked(control())
            if not self._active:
                return
            self._pack.take_step()
            if self._pack.is_to_be_read:
                yield from self._tell_steps()
            if time.monotonic() - spoke_at >= _PROGRESS_SECONDS:
                spoke_at = time.monotonic()
                for member in list(self._active.values()):
                    yield member.index, Progress(self._pack.step, self._pack.epoch)

    def _asked(self, answer: str | Mapping[int, str] | None) -> Told:
        """Stop who is asked to stop."""
        if answer is None:
            return
        reasons = dict.fromkeys(self._active, answer) if isinstance(answer, str) else answer
        yield from self._tell_steps()
        self._pack.look()
        for index, reason in reasons.items():
            member = self._active.get(index)
            if member is not None:
                self._pack.complete(member)
                yield from self._guarded(member, stopped(member, reason))
                self._active.pop(index, None)

    def _tell_steps(self) -> Told:
        pairs = zip(self._pack.members, self._pack.read(), strict=False)
        for member, taken in pairs:
            if member.index in self._active:
                yield from self._guarded(member, member.took(taken))

    def _end_epoch(self) -> Told:
        self._pack.measure()
        self._pack.end_epoch()
        for member in list(self._active.values()):
            yield from self._guarded(member, self._ended(member))
        for member in self._over():
            yield from self._finish(member)

    def _ended(self, member: Member) -> Iterator[TrainEvent]:
        yield member.end_epoch(keep_step_losses=self._keeps)
        if member.epoch % member.spec.checkpoints.every_epochs == 0 or member.is_over:
            self._pack.complete(member)
            yield from unstored(member)

    def _finish(self, member: Member) -> Told:
        del self._active[member.index]
        self._pack.complete(member)
        yield member.index, member.finish()

    def _guarded(self, member: Member, events: Iterator[TrainEvent]) -> Told:
        """The events of one member; its error ends it alone."""
        try:
            for event in events:
                yield member.index, event
        except NonFiniteLossError as error:
            self._pack.complete(member, has_failed=True)
            for event in unstored(member):
                yield member.index, event
            self._active.pop(member.index, None)
            yield member.index, Failed(error)
