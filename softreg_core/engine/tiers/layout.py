"""How what a step changes is laid out for a compiled loop: few long vectors, where many short tensors cost a step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from softreg_core.engine.program.step import Standing
from softreg_core.engine.program.updates import moments_of
from softreg_core.engine.step.optimizer import is_weight
from softreg_core.spec.optimizer import OptimizerSpec

__all__ = ["Group", "Layout", "joined_gradient", "layout_of"]

# Longer ones stay by themselves: joining their gradients would cost more than a loop saves.
_JOINED = 65_536


class Group(NamedTuple):
    """Parameters that one formula updates together."""

    names: tuple[str, ...]
    decays: bool
    """Whether weight decay counts them."""


class Layout(NamedTuple):
    """Vectors, in order: of each group the parameters and each moment; then the buffers."""

    groups: tuple[Group, ...]
    shapes: dict[str, torch.Size]
    """Of parameters."""
    moments: tuple[str, ...]
    buffers: tuple[str, ...]

    @property
    def width(self) -> int:
        """Tensors of `pack`."""
        return len(self.groups) * (1 + len(self.moments)) + len(self.buffers)

    def pack(self, standing: Standing) -> list[Tensor]:
        """A copy of what is trained and moves."""
        found = []
        for group in self.groups:
            found.append(_joined(standing.trained[name] for name in group.names))
            found += [_joined(standing.moments[name][moment] for name in group.names) for moment in self.moments]
        return found + [standing.buffers[name].clone() for name in self.buffers]

    def views(self, packed: Sequence[Tensor]) -> tuple[dict[str, Tensor], list[dict[str, Tensor]], dict[str, Tensor]]:
        """Parameters by name, each group's moments as vectors, buffers by name."""
        rest, moments = list(packed), []
        trained: dict[str, Tensor] = {}
        for group in self.groups:
            trained |= self.named(group, rest.pop(0))
            moments.append({moment: rest.pop(0) for moment in self.moments})
        return trained, moments, dict(zip(self.buffers, rest, strict=True))

    def vectors(self, packed: Sequence[Tensor]) -> list[Tensor]:
        """Of the groups' parameters."""
        step = 1 + len(self.moments)
        return list(packed[: len(self.groups) * step : step])

    def named(self, group: Group, vector: Tensor) -> dict[str, Tensor]:
        """Views of a group's vector, by parameter."""
        sizes = [self.shapes[name].numel() for name in group.names]
        parts = zip(group.names, torch.split(vector, sizes), strict=True)
        return {name: part.view(self.shapes[name]) for name, part in parts}

    def live(self, standing: Standing) -> list[Tensor]:
        """The tensors that `pack` copies, in the order of `parts`."""
        found = []
        for group in self.groups:
            found += [standing.trained[name] for name in group.names]
            for moment in self.moments:
                found += [standing.moments[name][moment] for name in group.names]
        return found + [standing.buffers[name] for name in self.buffers]

    def parts(self, packed: Sequence[Tensor], live: list[Tensor]) -> list[Tensor]:
        """Views of the vectors, one for each tensor of `live`."""
        rest: list[Tensor] = list(packed)
        found: list[Tensor] = []
        for group in self.groups:
            for _ in range(1 + len(self.moments)):
                # One call for all: by `split` and `view` it takes as long as two steps.
                like = live[len(found) : len(found) + len(group.names)]
                found += torch._C._nn.unflatten_dense_tensors(rest.pop(0), like)  # noqa: SLF001
        return found + rest


def layout_of(spec: OptimizerSpec, standing: Standing, moved: Iterable[str], *, has_decay: bool) -> Layout:
    """Of a step whose gradient reaches the parameters `moved`; the others are not in it."""
    groups: list[Group] = []
    sizes: list[int] = []
    begun: dict[tuple[bool, torch.dtype], int] = {}
    reached = set(moved)
    for name, parameter in standing.trained.items():
        if name not in reached:
            continue
        decays = has_decay and is_weight(name, parameter)
        at = begun.get((decays, parameter.dtype))
        if at is None or sizes[at] + parameter.numel() > _JOINED:
            begun[decays, parameter.dtype] = len(groups)
            groups.append(Group((name,), decays))
            sizes.append(parameter.numel())
        else:
            groups[at] = Group((*groups[at].names, name), decays)
            sizes[at] += parameter.numel()
    first = next(iter(standing.trained.values()))
    moments = tuple(moments_of(spec, first))
    shapes = {name: parameter.shape for name, parameter in standing.trained.items()}
    return Layout(tuple(groups), shapes, moments, tuple(standing.buffers))


def _joined(tensors: Iterable[Tensor]) -> Tensor:
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors])


def joined_gradient(group: Group, gradients: Mapping[str, Tensor]) -> Tensor:
    """Of a group, one vector."""
    return _joined(gradients[name] for name in group.names)
