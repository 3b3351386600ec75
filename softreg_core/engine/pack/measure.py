"""The metrics of an epoch for all members in few operations, by the code that measures one."""

# M members, N rows

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.fx import GraphModule

from softreg_core.data.part import Part
from softreg_core.engine.pack.graph import traced_flat
from softreg_core.engine.pack.member import Member
from softreg_core.engine.pack.stack import Stack
from softreg_core.engine.program import name_in_objective, numbers_at
from softreg_core.evaluate.measure import evaluation_rows, means_of, sums_of
from softreg_core.losses import Loss

__all__ = ["PackedMeasure"]


# Of 8 MB: the activations of some members at a time stay in the cache, those of all do not; see ADR 0014.
_NUMBERS_AT_ONCE = 2**21


class _Group(NamedTuple):
    """Members that are measured together: on as many rows each."""

    places: tuple[int, ...]
    parts: tuple[Part, ...]
    is_shared: bool
    scale: Tensor | None
    """float64 (M, C)."""
    numbers: tuple[Tensor, ...]
    """alpha of the end of the run and sigma2, (M,) each; those that there are."""


class PackedMeasure:
    """Asked after each epoch; everything but weights and buffers stays the same over a run."""

    def __init__(self, net: nn.Module, loss: Loss[Any], meaning: Mapping[str, Any]) -> None:
        """Args:
        net: the template's.
        loss: the template's.
        meaning: as `sums_of` takes it.
        """
        self._measuring = _Measuring(copy.deepcopy(net), copy.deepcopy(loss), meaning).eval()
        self._rows_at_once = evaluation_rows(net)
        self._numbers_per_row = int(getattr(net, "numbers_per_row", 1))
        self._groups: list[_Group] = []
        self._names: tuple[str, ...] = ()
        self._graphs: dict[tuple[object, ...], tuple[GraphModule, tuple[str, ...]]] = {}

    def begin(self, members: Sequence[Member], names: Sequence[str]) -> None:
        """For which members, in the order of the stack; `names` are those of their numbers."""
        self._names = tuple(name for name in ("alpha", "sigma2") if name in names)
        found: dict[tuple[int, bool], list[int]] = {}
        for place, member in enumerate(members):
            if member.validation.rows:
                found.setdefault((member.validation.rows, member.target_scale() is None), []).append(place)
        self._groups = []
        for places in found.values():
            rows = min(self._rows_at_once, members[places[0]].validation.rows)
            fitting = max(1, _NUMBERS_AT_ONCE // (self._numbers_per_row * rows))
            most = 1 << (fitting.bit_length() - 1)  # a power of two: packs often are, and each size is a trace
            cuts = [places[start : start + most] for start in range(0, len(places), most)]
            self._groups += [self._group(members, tuple(cut)) for cut in cuts]

    def _group(self, members: Sequence[Member], places: tuple[int, ...]) -> _Group:
        some = [members[place] for place in places]
        parts = tuple(member.validation for member in some)
        scales = [scale for member in some if (scale := member.target_scale()) is not None]
        ends = [numbers_at(member.spec, member.rates, member.total_steps, member.total_steps) for member in some]
        absent = {"alpha": 0.0, "sigma2": 1.0}
        device = members[0].device
        numbers = tuple(
            torch.tensor([end.get(name, absent[name]) for end in ends], dtype=torch.float64, device=device)
            for name in self._names
        )
        is_shared = all(part.target is parts[0].target for part in parts)
        return _Group(places, parts, is_shared, torch.stack(scales) if scales else None, numbers)

    @torch.no_grad()
    def __call__(self, stack: Stack) -> list[dict[str, float]]:
        """Of each member what `evaluate` gives for its validation rows; nothing where it has none."""
        found: list[dict[str, float]] = [{} for _ in range(stack.members)]
        for group in self._groups:
            names, means_MK = self._of_group(stack, group)
            for place, means in zip(group.places, means_MK.tolist(), strict=True):
                found[place] = dict(zip(names, means, strict=True))
        return found

    def _of_group(self, stack: Stack, group: _Group) -> tuple[tuple[str, ...], Tensor]:
        tensors = [*stack.trained.values(), *stack.buffers.values()]
        if len(group.places) < stack.members:
            some = _places(group.places, tensors[0].device)
            tensors = [tensor[some] for tensor in tensors]
        sums: dict[str, Tensor] = {}
        for batch in _batches(group, self._rows_at_once):
            names, values = self._sums(stack, group, tensors, batch)
            sums = {name: sums.get(name, 0.0) + value for name, value in zip(names, values, strict=True)}
        target = group.parts[0].target if group.is_shared else torch.stack([part.target for part in group.parts])
        over_target, over_scale = None if group.is_shared else 0, None if group.scale is None else 0
        means = torch.vmap(means_of, in_dims=(0, over_target, over_scale))(sums, target, group.scale)
        return tuple(means), torch.stack(list(means.values()), dim=1)

    def _sums(
        self, stack: Stack, group: _Group, tensors: list[Tensor], batch: Part
    ) -> tuple[tuple[str, ...], tuple[Tensor, ...]]:
        flat = [*tensors, *group.numbers, *batch.inputs, batch.target]
        key = (len(group.places), group.is_shared, *(tuple(tensor.shape) for tensor in (*batch.inputs, batch.target)))
        if key not in self._graphs:
            names: list[str] = []
            function = self._mapped(stack, group, names)
            self._graphs[key] = traced_flat(function, *flat), tuple(names)
        graph, known = self._graphs[key]
        return known, graph(*flat)

    def _mapped(self, stack: Stack, group: _Group, names: list[str]) -> Any:
        within = [name_in_objective(name) for name in stack.trained]
        within += list(stack.buffers)
        dim, width = (None if group.is_shared else 0), len(within)

        def one(state: list[Tensor], numbers: list[Tensor], rows: list[Tensor]) -> dict[str, Tensor]:
            given = dict(zip(self._names, numbers, strict=True))
            state_of = dict(zip(within, state, strict=True))
            with self._measuring.loss.given(alpha=given.get("alpha"), sigma2=given.get("sigma2")):
                found: dict[str, Tensor] = functional_call(self._measuring, state_of, (rows[:-1], rows[-1]))
            return found

        def all_of(*flat: Tensor) -> tuple[Tensor, ...]:
            given, rows = list(flat), width + len(self._names)
            found = torch.vmap(one, in_dims=(0, 0, dim))(given[:width], given[width:rows], given[rows:])
            names[:] = list(found)
            return tuple(found.values())

        return all_of


class _Measuring(nn.Module):
    """What `sums_of` says, as a module whose tensors can be put in place."""

    def __init__(self, net: nn.Module, loss: Loss[Any], meaning: Mapping[str, Any]) -> None:
        super().__init__()
        self.net = net
        self.loss = loss
        self._meaning = dict(meaning)

    def forward(self, inputs: Sequence[Tensor], target: Tensor) -> dict[str, Tensor]:
        return sums_of(self.net, self.loss, Part(tuple(inputs), target), **self._meaning)


def _places(places: tuple[int, ...], device: torch.device) -> slice | Tensor:
    """A slice where they follow each other, which costs no copy."""
    if places == tuple(range(places[0], places[0] + len(places))):
        return slice(places[0], places[0] + len(places))
    return torch.tensor(places, device=device)


def _batches(group: _Group, size: int) -> list[Part]:
    """(B, ...) where the rows are shared, else (M, B, ...)."""
    if group.is_shared:
        return list(group.parts[0].batches(size))
    return [
        Part(
            tuple(torch.stack(tensors) for tensors in zip(*(batch.inputs for batch in batches), strict=True)),
            torch.stack([batch.target for batch in batches]),
        )
        for batches in zip(*(part.batches(size) for part in group.parts), strict=True)
    ]
