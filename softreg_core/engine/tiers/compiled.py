"""The compiled tier: the steps of an epoch by one program of the machine."""

# B examples of a batch, L of the epoch's last one, C steps of a call, P series, Q numbers

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from softreg_core.engine.order import epoch_order
from softreg_core.engine.program.numbers import number_names, numbers_at
from softreg_core.engine.program.step import Standing, standing_of, take_over
from softreg_core.engine.program.updates import biases
from softreg_core.engine.tiers.advance import Advanced, Job
from softreg_core.engine.tiers.compile import Program
from softreg_core.engine.tiers.plan import Plan
from softreg_core.nets.noise import noise_seed

__all__ = ["Compiled"]

# Of one call; what is carried of each step is small, but what its layers drop is not.
_MOST_STEPS = 256
_MOST_BYTES_OF_NOISE = 64 * 2**20
# Orders of epochs that are made together: alone, between other work, one takes three times as long.
_EPOCHS_AHEAD = 16
_ROWS_AHEAD = 2**17
# The caller is asked about as often whether to go on.
_SECONDS_OF_A_STRETCH = 0.1


class Compiled:
    """Takes the steps of one run; see `Advance`."""

    tier: Literal["compiled"] = "compiled"

    def __init__(self, job: Job, plan: Plan, program: Program) -> None:
        self._job, self._program, self._example = job, program, plan.example
        rows = plan.example.rows
        self._rows = [*rows.inputs, rows.target, *(() if rows.weight is None else (rows.weight,))]
        # Full steps of an epoch; its last step comes apart where it is another one.
        self._full = job.steps_per_epoch - (1 if plan.example.last else 0)
        self._names = number_names(job.spec)
        at = numbers_at(job.spec, job.rates, job.step, job.total_steps)
        self._constant = [at[name] for name in self._names]
        per_step = 4 * plan.example.full * sum(int(np.prod(shape)) for shape in plan.example.uniforms)
        self._most_of_call = max(2, min(_MOST_STEPS, _MOST_BYTES_OF_NOISE // max(1, per_step)))
        self._epoch: int | None = None
        self._ahead: dict[int, Tensor] = {}
        self._order = self._order_SB = torch.empty(0, dtype=torch.int64)
        self._seconds_per_step = _SECONDS_OF_A_STRETCH / 32
        self._generator = torch.Generator()
        self._moved = {name for group in plan.example.layout.groups for name in group.names}
        self._kept: list[Tensor] = []
        self._written: list[int] | None = None
        self._begin()

    @property
    def most_steps(self) -> int:
        """See `Advance`."""
        return max(1, int(_SECONDS_OF_A_STRETCH / self._seconds_per_step))

    def _begin(self) -> None:
        """Give the optimiser the tensors that a program will fill; what is there stays as it is."""
        stepper, layout = self._job.stepper, self._example.layout
        take_over(stepper, standing_of(stepper))
        kept = stepper.live().optimizer
        trained = {name: parameter.detach() for name, parameter in stepper.trained.items()}
        moments = {name: stepper.kept_of(name) for name in self._moved}
        # The stepper's own tensors; looking for them at each call would cost as much as ten steps.
        self._live = Standing(trained, dict(stepper.objective.named_buffers()), moments, torch.empty(0))
        self._flat_live = layout.live(self._live)
        # Where the optimiser keeps what a program gives anew; the net's and the loss's own tensors are written to.
        slots = [(moments[name], m) for group in layout.groups for m in layout.moments for name in group.names]
        slot_of = {id(of[m]): (of, m) for of, m in slots}
        self._slots = [slot_of.get(id(tensor)) for tensor in self._flat_live]
        self._counts = [tensor for name, tensor in kept.items() if name.endswith("/step")]
        self._idle = [tensor for name, tensor in trained.items() if name not in self._moved]

    def seconds_per_step(self) -> float:
        """Of the fastest of a few short stretches, which lead nowhere."""
        packed, stop = self.packed(), min(self._job.steps_per_epoch, 16)
        taken = []
        for _ in range(3):
            begun = time.perf_counter()
            self.run(packed, 0, 0, stop)
            taken.append((time.perf_counter() - begun) / stop)
        self._seconds_per_step = min(taken)
        return min(taken)

    def packed(self) -> list[Tensor]:
        """A copy of where the stepper stands, for `run`."""
        return self._example.layout.pack(self._live)

    def __call__(self, epoch: int, start: int, stop: int) -> Advanced:
        """See `Advance`."""
        begun = time.perf_counter()
        packed = self._kept if self._written == _writes(self._flat_live) else self.packed()
        sums: list[NDArray[np.float64]] = []
        seen: tuple[float, ...] | None = None
        for at in range(start, stop, self._most_of_call):
            packed, some, found = self.run(packed, epoch, at, min(stop, at + self._most_of_call))
            sums.append(some)
            seen = found or seen
        self._take(packed, stop - start)
        series, told = self._without_sigma2(np.concatenate(sums))
        self._seconds_per_step = max(1e-7, (time.perf_counter() - begun) / (stop - start))
        return Advanced(series, told, seen)

    @torch.no_grad()
    def run(
        self, packed: list[Tensor], epoch: int, start: int, stop: int
    ) -> tuple[list[Tensor], NDArray[np.float64], tuple[float, ...] | None]:
        """Steps from a place that no stepper knows of: where they lead, their sums, what the ledger sees."""
        example = self._example
        self._put_in_order(epoch)
        full, ends = max(0, min(stop, self._full) - start), int(stop > self._full)
        given = [torch.tensor([full]), torch.tensor([ends])]
        if example.full:
            given.append(_two(self._order_SB[start : start + full], self._order_SB))
        if example.last:
            given.append(self._order[-example.last :])
        given.append(torch.from_numpy(self._numbers(epoch * self._job.steps_per_epoch + start, stop - start)))
        given += self._noise(epoch * self._job.steps_per_epoch + start, full, ends)
        sums, *after = self._program([*given, *self._rows, *self._idle, *packed])
        seen = None
        if example.is_observed and example.last:
            seen = tuple(after.pop(0).tolist())
        return after, sums.numpy()[: stop - start], seen if ends else None

    def _put_in_order(self, epoch: int) -> None:
        if self._epoch == epoch:
            return
        rows, batch, training = self._job.rows.rows, self._example.full, self._job.spec.training
        if epoch not in self._ahead:
            stop = min(epoch + max(1, min(_EPOCHS_AHEAD, _ROWS_AHEAD // rows)), max(epoch + 1, training.epochs))
            self._ahead = {at: torch.from_numpy(epoch_order(training.seed, at, rows)) for at in range(epoch, stop)}
        self._order = self._ahead[epoch]
        if batch:
            self._order_SB = self._order[: self._full * batch].view(self._full, batch)
        self._epoch = epoch

    def _numbers(self, step: int, steps: int) -> NDArray[np.float64]:
        """(C, Q) for steps counted over the whole run; two rows at least."""
        job, rows = self._job, max(2, steps + 1)
        names = self._names
        found = np.empty((rows, len(self._example.names)))
        if job.is_changing:
            for row in range(rows):
                at = numbers_at(job.spec, job.rates, min(step + row, job.total_steps), job.total_steps)
                found[row, : len(names)] = [at[name] for name in names]
        else:
            found[:, : len(names)] = self._constant
        for column, powers in enumerate(
            biases(job.spec.optimizer, np.arange(step + 1.0, step + 1.0 + rows)).values(), len(names)
        ):
            found[:, column] = powers
        return found

    def _noise(self, step: int, full: int, ends: int) -> list[Tensor]:
        """What the layers that drop draw: the numbers that `Noise` draws for these steps."""
        example = self._example
        if not example.uniforms:
            return []
        of_full = [torch.zeros(max(2, full), example.full, *shape) for shape in example.uniforms]
        of_last = [torch.zeros(example.last, *shape) for shape in example.uniforms]
        for index in range(full + ends):
            self._generator.manual_seed(noise_seed(self._job.spec.training.seed, step + index))
            for layer, uniforms in enumerate(of_full):
                into = uniforms[index] if index < full else of_last[layer]
                torch.rand(into.shape, generator=self._generator, out=into)
        return [*(of_full if example.full else ()), *(of_last if example.last else ())]

    @torch.no_grad()
    def _take(self, packed: list[Tensor], steps: int) -> None:
        """Let the stepper stand where a program came to."""
        live, parts, written = self._flat_live, self._example.layout.parts(packed, self._flat_live), []
        for place, slot in enumerate(self._slots):
            if slot is None:
                written.append(place)
            else:
                of, moment = slot
                of[moment] = live[place] = parts[place]
        torch._foreach_copy_([live[place] for place in written], [parts[place] for place in written])
        # For the next call, unless somebody else writes to the stepper.
        self._kept, self._written = packed, _writes(self._flat_live)
        if self._counts:
            torch._foreach_add_(self._counts, float(steps))

    def _without_sigma2(self, sums: NDArray[np.float64]) -> tuple[tuple[str, ...], NDArray[np.float64]]:
        series = self._example.series
        if series[-2] != "sigma2":
            return series, sums
        last = torch.tensor(sums[-1, -2] / sums[-1, -1], dtype=self._rows[0].dtype)
        self._job.stepper.loss.put_batch_sigma2(last)
        return (*series[:-2], "weight"), np.delete(sums, -2, axis=1)


def _writes(tensors: Sequence[Tensor]) -> list[int]:
    """How often each was written to, by whomever."""
    return [tensor._version for tensor in tensors]  # noqa: SLF001  torch says it nowhere else


def _two(order_CB: Tensor, all_SB: Tensor) -> Tensor:
    """Two rows at least, for a program that knows no length of one; those beyond are never read."""
    if len(order_CB) >= 2:
        return order_CB
    return torch.cat([order_CB, all_SB[:1].expand(2 - len(order_CB), -1)])
