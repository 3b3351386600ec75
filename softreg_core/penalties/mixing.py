"""Mixup: a batch mixed with itself in another order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from softreg_core.keyed import permutation, stream_of

__all__ = ["Mixing", "mixing_of"]


@dataclass(frozen=True, slots=True, eq=False)
class Mixing:
    """How one batch is mixed: example b keeps `share` of itself and takes the rest from example `partner[b]`."""

    share: float
    partner: Tensor
    """int64 (B,), on the CPU."""

    def of(self, values: Tensor) -> Tensor:
        """Share * v_b + (1 - share) * v_partner(b)."""
        return values * self.share + values[self.partner.to(values.device)] * (1.0 - self.share)


def mixing_of(alpha: float, rows: int, seed: int, step: int) -> Mixing:
    """The mixing of a step: share ~ Beta(alpha, alpha), partners by a permutation; both functions of (seed, step).

    Args:
        alpha: above 0. 1 is uniform; a small one mixes hardly at all in most steps.
        rows: B.
        seed: of the run.
        step: optimiser steps done.

    Source:
        Zhang and others 2018, section 2; one share for a whole batch, as in its listing.
    """
    share = float(np.random.Generator(stream_of(seed, "mixup", step)).beta(alpha, alpha))
    return Mixing(share, torch.from_numpy(permutation(rows, seed, "mixup partner", step)))
