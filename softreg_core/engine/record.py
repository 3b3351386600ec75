"""The loss parts of every example of an epoch, kept on the device and read seldom."""

# N rows, P loss parts

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from softreg_core.errors import NonFiniteLossError
from softreg_core.losses import LossParts

__all__ = ["LossRecord"]

# Asked in this order when a loss is not finite: a base that overflows makes the others useless too.
_BLAME = ("base", "divergence", "total")


class LossRecord:
    """Reading a loss after each step would make every step wait for the device; this waits once per epoch."""

    def __init__(self, rows: int, batch_size: int, device: torch.device) -> None:
        self._rows = rows
        self._batch_size = batch_size
        self._device = device
        self._values_NP: Tensor | None = None
        self._names: list[str] = []
        self.begin(epoch=0, first_step=0)

    def begin(self, epoch: int, first_step: int, rows_done: int = 0, sums: tuple[float, ...] = ()) -> None:
        """Start an epoch, or go on in the middle of one.

        Args:
            epoch: epochs completed.
            first_step: optimiser steps done before this epoch.
            rows_done: examples of this epoch seen before.
            sums: what `sums` was then.
        """
        self._epoch, self._first_step = epoch, first_step
        self._added = self._read = rows_done
        self._sums_P: NDArray[np.float64] | None = np.array(sums) if sums else None
        self.step_losses: list[float] = []

    @property
    def sums(self) -> tuple[float, ...]:
        """Of each part over the examples read in this epoch."""
        return () if self._sums_P is None else tuple(self._sums_P.tolist())

    @torch.no_grad()
    def add(self, parts: LossParts) -> None:
        """Note a step's parts; nothing is read from the device."""
        named = {name: part for name, part in parts._asdict().items() if part is not None}
        stop = self._added + parts.total.shape[0]
        if self._values_NP is None:
            self._names = list(named)
            self._values_NP = torch.empty((self._rows, len(named)), dtype=parts.total.dtype, device=self._device)
        torch.stack(list(named.values()), dim=1, out=self._values_NP[self._added : stop])
        self._added = stop

    def read(self) -> None:
        """Fetch what was added since the last reading.

        Raises:
            NonFiniteLossError: naming the first step with a loss that is not finite.
        """
        if self._values_NP is None or self._read == self._added:
            return
        values_NP = self._values_NP[self._read : self._added].cpu().numpy().astype(np.float64)
        if not np.isfinite(values_NP).all():
            self._refuse(values_NP)
        before_1P = np.zeros((1, values_NP.shape[1])) if self._sums_P is None else self._sums_P[np.newaxis]
        # One by one from the first example on, so that a reading in between changes no bit of the sum.
        self._sums_P = np.cumsum(np.concatenate([before_1P, values_NP]), axis=0)[-1]
        starts = np.arange(0, values_NP.shape[0], self._batch_size)
        sizes = np.diff(np.append(starts, values_NP.shape[0]))
        total_N = values_NP[:, self._names.index("total")]
        self.step_losses.extend((np.add.reduceat(total_N, starts) / sizes).tolist())
        self._read = self._added

    def means(self) -> dict[str, float]:
        """`loss` and its parts, averaged over the epoch's examples."""
        names = ["loss" if name == "total" else name for name in self._names]
        return dict(zip(names, (value / self._read for value in self.sums), strict=True))

    def _refuse(self, values_NP: NDArray[np.float64]) -> None:
        first = int(np.argmax(~np.isfinite(values_NP).all(axis=1)))
        index = first // self._batch_size
        step_NP = values_NP[index * self._batch_size : (index + 1) * self._batch_size]
        bad = {name for name, part_N in zip(self._names, step_NP.T, strict=True) if not np.isfinite(part_N).all()}
        term = next(name for name in _BLAME if name in bad)
        step = self._first_step + self._read // self._batch_size + index + 1
        raise NonFiniteLossError(
            f"the {term} of the loss became NaN or infinite at step {step}", step, term, self._epoch + 1
        )
