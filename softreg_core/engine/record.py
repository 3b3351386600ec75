"""The loss parts of every example of an epoch, kept on the device and read seldom."""

# N rows, P series, S steps

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from softreg_core.engine.step.terms import Compared
from softreg_core.errors import NonFiniteLossError

__all__ = ["LossRecord"]

# Asked in this order when a loss is not finite: a base that overflows makes the others useless too.
_BLAME = ("base", "divergence", "label_smoothing", "l1", "l2", "total")


class LossRecord:
    """Reading a loss after each step would make every step wait for the device; this waits once per epoch."""

    def __init__(
        self,
        most_rows: int,
        device: torch.device,
        columns_of: Callable[[Compared], dict[str, Tensor]] | None = None,
    ) -> None:
        """Room for `most_rows` examples between two readings; `columns_of` says what follows from predictions."""
        self._most_rows = most_rows
        self._device = device
        self._columns_of = columns_of
        self._compared: list[Compared] = []
        self._values_NP: Tensor | None = None
        self._names: list[str] = []
        self.begin(epoch=0, step=0)

    def begin(
        self,
        epoch: int,
        step: int,
        mass: float = 0.0,
        sums: Mapping[str, float] | None = None,
        step_losses: Sequence[float] = (),
    ) -> None:
        """Start an epoch, or go on in the middle of one.

        Args:
            epoch: epochs completed.
            step: optimiser steps done.
            mass: what `mass` was then.
            sums: what `sums` was then.
            step_losses: what `step_losses` was then.
        """
        self._epoch, self._step = epoch, step
        self._rows: list[int] = []
        self._added = 0
        self._compared = []
        self.mass = mass
        self._sums = dict(sums or {})
        self.step_losses: list[float] = list(step_losses)

    @property
    def sums(self) -> dict[str, float]:
        """Of each series over the examples read in this epoch, each times its weight."""
        return dict(self._sums)

    @torch.no_grad()
    def add(self, columns: Mapping[str, Tensor]) -> None:
        """Note a step: each series' value per example; nothing is read from the device.

        A series `weight` weighs the examples in the means; without it all weigh 1.
        """
        if self._compared:
            self.read()
        rows = columns["total"].shape[0]
        stop = self._added + rows
        if self._values_NP is None:
            self._names = list(columns)
            dtype = columns["total"].dtype
            self._values_NP = torch.empty((self._most_rows, len(columns)), dtype=dtype, device=self._device)
        torch.stack(list(columns.values()), dim=1, out=self._values_NP[self._added : stop])
        self._added = stop
        self._rows.append(rows)

    def add_sums(self, series: Sequence[str], sums_SP: NDArray[np.float64]) -> None:
        """Note steps of which only sums are known; they are read at once.

        Args:
            series: names of the columns; the last is `weight`.
            sums_SP: of a series over the step's examples, each times its weight; the last those of the weights.

        Raises:
            NonFiniteLossError: see `read`.
        """
        is_finite_SP = np.isfinite(sums_SP)
        if not is_finite_SP.all():
            first = int(np.argmax(~is_finite_SP.all(axis=1)))
            self._blame(
                {name for name, is_finite in zip(series, is_finite_SP[first], strict=True) if not is_finite}, first
            )
        before_1P = np.array([[*(self._sums.get(name, 0.0) for name in series[:-1]), self.mass]])
        sums_P = np.cumsum(np.concatenate([before_1P, sums_SP]), axis=0)[-1].tolist()
        self._sums, self.mass = dict(zip(series[:-1], sums_P[:-1], strict=True)), sums_P[-1]
        total_S, mass_S = sums_SP[:, series.index("total")], sums_SP[:, -1]
        means_S = np.divide(total_S, mass_S, out=np.full(len(mass_S), math.nan), where=mass_S > 0.0)
        self.step_losses.extend(means_S.tolist())
        self._step += len(sums_SP)

    def add_compared(self, compared: Compared) -> None:
        """Note a step by what its series follow from: they are computed when they are read, for all steps at once."""
        if self._added:
            self.read()
        self._compared.append(compared)
        self._rows.append(compared.target.shape[0])

    def leave_out(self) -> None:
        """Note a step that was not taken: it counts as a step and in no mean; its loss is NaN."""
        self._rows.append(0)

    def read(self) -> None:
        """Fetch what was added since the last reading.

        Raises:
            NonFiniteLossError: naming the first step with a loss that is not finite.
        """
        values_PN = self._fetch()
        if values_PN is None:
            self.step_losses.extend([math.nan] * len(self._rows))
            self._step += len(self._rows)
            self._rows = []
            return
        weight_N = values_PN[self._names.index("weight")] if "weight" in self._names else None
        if weight_N is not None:  # a row that weighs nothing may hold anything
            values_PN[:, weight_N == 0.0] = 0.0
        if not np.isfinite(values_PN).all():
            self._refuse(values_PN)
        rows_S = np.array(self._rows)
        is_taken_S = rows_S > 0
        starts = (np.cumsum(rows_S) - rows_S)[is_taken_S]  # one part for each step that has rows
        sums_PS = np.add.reduceat(values_PN if weight_N is None else values_PN * weight_N, starts, axis=1)
        mass_S = rows_S[is_taken_S].astype(np.float64) if weight_N is None else np.add.reduceat(weight_N, starts)
        # Step by step from the first one on, so that a reading in between changes no bit of the sum.
        self._sums = {
            name: _sum_from(self._sums.get(name, 0.0), sums_S)
            for name, sums_S in zip(self._names, sums_PS, strict=True)
        }
        self.mass = _sum_from(self.mass, mass_S)
        means_S = np.full(rows_S.size, math.nan)
        means = np.full(mass_S.size, math.nan)
        np.divide(sums_PS[self._names.index("total")], mass_S, out=means, where=mass_S > 0.0)
        means_S[is_taken_S] = means
        self.step_losses.extend(means_S.tolist())
        self._step += len(self._rows)
        self._rows, self._added, self._compared = [], 0, []

    def _fetch(self) -> NDArray[np.float64] | None:
        """The series of what was added since the last reading; None where nothing was."""
        if self._compared:
            assert self._columns_of is not None  # noqa: S101  for mypy; who adds such steps gave it
            columns = self._columns_of(_joined(self._compared))
            self._names = list(columns)
            return torch.stack(list(columns.values())).cpu().numpy().astype(np.float64)
        if self._values_NP is None or not self._added:
            return None
        return np.ascontiguousarray(self._values_NP[: self._added].cpu().numpy().T, dtype=np.float64)

    def means(self) -> dict[str, float]:
        """`loss` and its parts, averaged over the epoch's examples."""
        means = {name: value / self.mass if self.mass else math.nan for name, value in self._sums.items()}
        return {"loss" if name == "total" else name: mean for name, mean in means.items() if name != "weight"}

    def _refuse(self, values_PN: NDArray[np.float64]) -> None:
        first = int(np.argmax(~np.isfinite(values_PN).all(axis=0)))
        stops = np.cumsum(self._rows)
        index = int(np.searchsorted(stops, first, side="right"))
        step_PB = values_PN[:, stops[index] - self._rows[index] : stops[index]]
        self._blame(
            {name for name, part_B in zip(self._names, step_PB, strict=True) if not np.isfinite(part_B).all()}, index
        )

    def _blame(self, bad: set[str], index: int) -> None:
        """Of the step so many after the last one read, the series that are not finite."""
        term = next((name for name in _BLAME if name in bad), "total")
        step = self._step + index + 1
        raise NonFiniteLossError(
            f"the {term} of the loss became NaN or infinite at step {step}", step, term, self._epoch + 1
        )


def _joined(compared: Sequence[Compared]) -> Compared:
    """The rows of several steps as one."""
    predictions, targets, _ = zip(*compared, strict=True)
    joined = Compared(torch.cat(predictions), torch.cat(targets), {})
    if compared[0].noted:
        like = joined.prediction
        rows = torch.tensor([target.shape[0] for target in targets], device=like.device)
        for name in compared[0].noted:
            values = torch.stack([torch.as_tensor(one.noted[name], dtype=like.dtype) for one in compared]).to(like)
            joined.noted[name] = values.repeat_interleave(rows, output_size=like.shape[0])
    return joined


def _sum_from(before: float, values: NDArray[np.float64]) -> float:
    """One after the other."""
    return float(np.cumsum(np.append(before, values))[-1])
