"""The numbers of all members for the steps of an epoch: alpha, sigma2, rates and penalties."""

# M members, S steps

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from softreg_core.engine.pack.member import Member
from softreg_core.engine.program import number_names, numbers_at

__all__ = ["PackedNumbers", "names_of"]

# What stands for a member that has no such number: the divergence and the penalties then count nothing.
_ABSENT = {"sigma2": 1.0}


def names_of(members: Sequence[Member]) -> tuple[str, ...]:
    """Those that any member has."""
    return tuple(dict.fromkeys(name for member in members for name in number_names(member.spec)))


class PackedNumbers:
    """Of the steps from `start` on, up to the end of an epoch; asked for anew in each, since a plateau moves rates."""

    def __init__(self, names: Sequence[str], members: Sequence[Member], start: int, steps: int) -> None:
        """Args:
        names: of `names_of`.
        members: whose numbers these are, in the order of the stack.
        start: optimiser steps done.
        steps: S.
        """
        self._start = start
        table = np.empty((len(names), steps, len(members)))
        for place, member in enumerate(members):
            for index in range(steps if member.is_changing else 1):
                found = numbers_at(member.spec, member.rates, start + index, member.total_steps)
                table[:, index, place] = [found.get(name, _ABSENT.get(name, 0.0)) for name in names]
            if not member.is_changing:
                table[:, :, place] = table[:, :1, place]
        device = members[0].device
        self._tables = dict(zip(names, torch.from_numpy(table).to(device), strict=True))

    def at(self, step: int) -> dict[str, Tensor]:
        """By name, float64 (M,)."""
        return {name: table[step - self._start] for name, table in self._tables.items()}
