"""The numbers of all members for the steps of an epoch: alpha, sigma2, rates and penalties."""

# M members, S steps, Q numbers

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
    """Asked for anew in each epoch, since a plateau moves rates; what stays the same is computed once."""

    def __init__(self, names: Sequence[str], members: Sequence[Member]) -> None:
        """Args:
        names: of `names_of`.
        members: whose numbers these are, in the order of the stack.
        """
        self._names, self._members = names, members
        self._first_QM = np.array([_numbers(names, member, 0) for member in members]).T
        self._start = 0
        self._tables: dict[str, Tensor] = {}
        self._rates: list[float | None] = []

    def begin(self, start: int, steps: int) -> None:
        """For the steps from `start` on, as many as are left of an epoch."""
        changing = [place for place, member in enumerate(self._members) if member.is_changing]
        if self._tables and not changing:
            return
        table_QSM = np.repeat(self._first_QM[:, np.newaxis], steps if changing else 1, axis=1)
        for place in changing:
            for index in range(steps):
                table_QSM[:, index, place] = _numbers(self._names, self._members[place], start + index)
        rates_SM = table_QSM[self._names.index("learning_rate")]
        self._rates = [float(rates_M[0]) if (rates_M == rates_M[0]).all() else None for rates_M in rates_SM]
        self._start = start
        self._tables = dict(zip(self._names, torch.from_numpy(table_QSM).to(self._members[0].device), strict=True))

    def at(self, step: int) -> dict[str, Tensor]:
        """By name, float64 (M,)."""
        place = self._place(step)
        return {name: table[place] for name, table in self._tables.items()}

    def rate_at(self, step: int) -> float | None:
        """The learning rate of all members; None where they differ."""
        return self._rates[self._place(step)]

    def _place(self, step: int) -> int:
        return min(step - self._start, len(self._rates) - 1)


def _numbers(names: Sequence[str], member: Member, step: int) -> list[float]:
    found = numbers_at(member.spec, member.rates, step, member.total_steps)
    return [found.get(name, _ABSENT.get(name, 0.0)) for name in names]
