"""The tier `cudagraph`: each step is one recorded launch of a GPU."""

# B examples of a batch, C steps of a call, P series, Q numbers, N training rows

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from softreg_core.data.part import Part
from softreg_core.engine.ledger import GradientLedger, gradient_terms
from softreg_core.engine.order import epoch_order
from softreg_core.engine.program.numbers import numbers_at
from softreg_core.engine.program.step import standing_of, take_over
from softreg_core.engine.step.gradient import shorten
from softreg_core.engine.step.perturb import Perturbed
from softreg_core.engine.step.terms import Terms, summed
from softreg_core.engine.tiers.advance import Advanced, Job
from softreg_core.engine.tiers.cuda_graph import Record, kept, record
from softreg_core.engine.tiers.inplace import inplace_update
from softreg_core.nets.noise import noise_seed, noises_of

__all__ = ["Recorded"]

_MOST_STEPS = 256
_SECONDS_OF_A_STRETCH = 0.1


class Recorded:
    """Takes the steps of one run; see `Advance`.

    The stepper's own tensors are changed, by the kernels of the eager engine: there is nothing to copy back. A step
    finds its rows, its numbers and the place for its sums by counters on the device.
    """

    tier: Literal["cudagraph"] = "cudagraph"

    def __init__(self, job: Job, by: Record = record) -> None:
        """Record a full step, and the epoch's last one where it is another.

        Args:
            job: whose steps are taken, with rows in memory and a spec that `misfit_of_recording` has nothing against.
            by: what records.

        Raises:
            RuntimeError: something in the step cannot be recorded; the stepper stands where it stood.
        """
        self._job, self._by = job, by
        self._place = _Place(job)
        rest = job.rows.rows % job.batch_size
        ledger = GradientLedger(job.spec, job.steps_per_epoch)
        is_observed = job.spec.loss.divergence is not None and ledger.wants(job.steps_per_epoch - 1, 0)
        self._last_size = rest or min(job.batch_size, job.rows.rows)
        self._has_last = rest > 0 or is_observed or job.steps_per_epoch == 1
        self._is_observed = is_observed
        self._seconds_per_step = _SECONDS_OF_A_STRETCH / 32
        self._epoch: int | None = None
        self._record()

    @property
    def most_steps(self) -> int:
        """See `Advance`."""
        return max(1, min(_MOST_STEPS, int(_SECONDS_OF_A_STRETCH / self._seconds_per_step)))

    def _record(self) -> None:
        job = self._job
        job.stepper.begin_epoch()
        take_over(job.stepper, standing_of(job.stepper))  # so that the optimiser has its tensors
        self._live = job.stepper.live().optimizer
        # Counters that stay on the CPU are raised by the stretch.
        self._counts = [tensor for tensor in self._live.values() if tensor.device != self._place.row.device]
        full = _Step(job, self._place, job.batch_size, self._live, is_observed=False)
        last = _Step(job, self._place, self._last_size, self._live, is_observed=self._is_observed)
        trained = job.stepper.trained.values()
        held = [*trained, *self._live.values(), *job.stepper.objective.buffers(), *self._place.counters]
        with kept(held):
            self._full = (full, self._by(full, self._place.back)) if job.steps_per_epoch > self._has_last else None
            self._last = (last, self._by(last, self._place.back)) if self._has_last else None

    def __call__(self, epoch: int, start: int, stop: int) -> Advanced:
        """See `Advance`."""
        begun = time.perf_counter()
        now = self._job.stepper.live().optimizer
        if [id(tensor) for tensor in now.values()] != [id(tensor) for tensor in self._live.values()]:
            self._record()  # a state was put in the optimiser's place
        seen: tuple[float, ...] | None = None
        found = [self._stretch(epoch, at, min(stop, at + _MOST_STEPS)) for at in range(start, stop, _MOST_STEPS)]
        step = self._last[0] if self._last and stop == self._job.steps_per_epoch else None
        if step is not None and step.seen_3 is not None:
            seen = tuple(step.seen_3.tolist())
        if self._counts:
            torch._foreach_add_(self._counts, float(stop - start))
        self._seconds_per_step = max(1e-7, (time.perf_counter() - begun) / (stop - start))
        series = (self._full or self._last)[0].series  # type: ignore[index]  # one of them is there
        return Advanced(series, np.concatenate(found), seen)

    def _stretch(self, epoch: int, start: int, stop: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
        job, place = self._job, self._place
        if self._epoch != epoch:
            place.put_in_order(epoch)
            self._epoch = epoch
        place.begin(epoch * job.steps_per_epoch + start, start, stop - start)
        for step in range(start, stop):
            is_last = self._last is not None and step == job.steps_per_epoch - 1
            one = self._last if is_last else self._full
            assert one is not None  # noqa: S101  for mypy: there is one for each step
            if one[0].noise.is_drawn:
                one[0].noise.fill(noise_seed(job.spec.training.seed, epoch * job.steps_per_epoch + step))
            one[1]()
        series = (self._full or self._last)[0].series  # type: ignore[index]
        return place.sums_CP[: stop - start, : len(series)].cpu().numpy()


class _Place:
    """Where a step finds what is its own; nothing of it moves."""

    MOST_SERIES = 16

    def __init__(self, job: Job) -> None:
        self._job = job
        device = job.rows.target.device
        names = numbers_at(job.spec, job.rates, 0, job.total_steps)
        self.names = tuple(names)
        self.order_N = torch.zeros(job.rows.rows, dtype=torch.int64, device=device)
        self.row = torch.zeros(1, dtype=torch.int64, device=device)
        self.index = torch.zeros(1, dtype=torch.int64, device=device)
        self.at_C = torch.arange(_MOST_STEPS, device=device)
        self.numbers_CQ = torch.zeros((_MOST_STEPS, len(names)), dtype=torch.float64, device=device)
        self.sums_CP = torch.zeros((_MOST_STEPS, self.MOST_SERIES), dtype=torch.float64, device=device)
        self._put_numbers(job.step, 1)

    @property
    def counters(self) -> list[Tensor]:
        """What a step moves here."""
        return [self.row, self.index, self.sums_CP]

    def back(self) -> None:
        """To the first rows and the first step."""
        self.row.zero_()
        self.index.zero_()

    def put_in_order(self, epoch: int) -> None:
        """The rows of an epoch."""
        self.order_N.copy_(torch.from_numpy(epoch_order(self._job.spec.training.seed, epoch, self._job.rows.rows)))

    def begin(self, step: int, in_epoch: int, steps: int) -> None:
        """A stretch of steps from there."""
        self.row.fill_(in_epoch * self._job.batch_size)
        self.index.zero_()
        if self._job.is_changing:
            self._put_numbers(step, steps)

    def _put_numbers(self, step: int, steps: int) -> None:
        job = self._job
        found = np.empty((_MOST_STEPS, len(self.names)))
        for row in range(steps):
            at = numbers_at(job.spec, job.rates, min(step + row, job.total_steps - 1), job.total_steps)
            found[row] = [at[name] for name in self.names]
        found[steps:] = found[steps - 1]
        self.numbers_CQ.copy_(torch.from_numpy(found))

    def numbers(self) -> dict[str, Tensor]:
        """Of the step, each of no dimension."""
        row_Q = self.numbers_CQ.index_select(0, self.index)[0]
        return {name: row_Q[column] for column, name in enumerate(self.names)}


class _Uniforms:
    """What the layers that drop draw in a step: the numbers that `Noise` draws, in tensors that stay."""

    def __init__(self, device: torch.device) -> None:
        self._generator = torch.Generator(device)
        self._drawn: list[Tensor] = []
        self._next = 0

    def begin(self) -> None:
        self._next = 0

    def __call__(self, like: Tensor) -> Tensor:
        if self._next == len(self._drawn):
            self._drawn.append(torch.full(like.shape, 0.5, dtype=torch.float32, device=like.device))
        self._next += 1
        return self._drawn[self._next - 1]

    @property
    def is_drawn(self) -> bool:
        return bool(self._drawn)

    def fill(self, seed: int) -> None:
        self._generator.manual_seed(seed)
        for drawn in self._drawn:
            torch.rand(drawn.shape, generator=self._generator, out=drawn)


class _Step:
    """One step of one size of batch, on tensors that stay where they are."""

    def __init__(self, job: Job, place: _Place, size: int, state: Mapping[str, Tensor], *, is_observed: bool) -> None:
        self._job, self._place = job, place
        self._is_observed = is_observed
        self._at_B = torch.arange(size, device=place.row.device)
        self._update = inplace_update(job.spec.optimizer, job.stepper.trained, state)
        self._noises = noises_of(job.stepper.net)
        self.noise = _Uniforms(place.row.device)
        self.series: tuple[str, ...] = ()
        self.seen_3: Tensor | None = None

    def __call__(self) -> None:
        """Forward, back, update, count on."""
        job, place = self._job, self._place
        numbers = place.numbers()
        self.noise.begin()
        for noise in self._noises:
            noise.draw_from(self.noise)
        try:
            terms = self._terms(numbers)
        finally:
            for noise in self._noises:
                noise.draw_from(None)
        trained = job.stepper.trained
        if self._is_observed:
            self.seen_3 = gradient_terms(terms, list(trained.values()))
        found = torch.autograd.grad(terms.total, list(trained.values()), allow_unused=True)
        gradients = {
            name: _as(trained[name], gradient)
            for name, gradient in zip(trained, found, strict=True)
            if gradient is not None
        }
        with torch.no_grad():
            most = job.spec.training.gradient_clip
            norm = None if most is None else shorten(list(gradients.values()), most)
            is_scheduled = job.rates.is_scheduled
            self._update(gradients, numbers["learning_rate"] if is_scheduled else job.spec.optimizer.learning_rate)
            self._tell(terms, norm)

    def _terms(self, numbers: Mapping[str, Tensor]) -> Terms:
        place, rows = self._place, self._job.rows
        assert isinstance(rows, Part)  # noqa: S101  for mypy: rows on disk are not recorded
        batch = rows.take(place.order_N.index_select(0, place.row + self._at_B))
        given = {"sigma2": numbers["sigma2"]} if "sigma2" in numbers else {}
        if "alpha" in numbers and not isinstance(self._job.spec.loss.alpha, float):
            given["alpha"] = numbers["alpha"]
        objective = self._job.stepper.objective
        with objective.given(given):
            terms: Terms = objective.forward(Perturbed(batch), self._job.step)
        return terms

    def _tell(self, terms: Terms, norm: Tensor | None) -> None:
        """The sums of each series, in the row of this step; then the next step's place."""
        columns = {name: column.detach() for name, column in terms.columns().items()}
        if norm is not None:
            columns["gradient_norm"] = norm.expand_as(columns["total"])
        self.series, told_P = summed(columns)
        place = self._place
        told_P = torch.nn.functional.pad(told_P, (0, place.MOST_SERIES - told_P.shape[0]))
        # By comparison, not by index: that is a plain kernel, whatever algorithms are asked for.
        is_here_C1 = (place.at_C == place.index).unsqueeze(1)
        place.sums_CP.copy_(torch.where(is_here_C1, told_P, place.sums_CP))
        place.row.add_(self._at_B.shape[0])
        place.index.add_(1)


def _as(parameter: Tensor, gradient: Tensor) -> Tensor:
    """In the layout of the parameter, as kernels for all parameters want it."""
    if gradient.stride() == parameter.stride():
        return gradient
    return torch.empty_like(parameter).copy_(gradient)
