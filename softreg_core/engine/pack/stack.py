"""What the steps of all members change, one member after the other along the first axis of every tensor."""

# M members

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from softreg_core.engine.program import Standing, standing_of
from softreg_core.engine.step.stepper import Stepper
from softreg_core.errors import Problem, SpecError

__all__ = ["Stack"]

Tensors = dict[str, Tensor]


class Stack:
    """Tensors of all members, of which each member's own network, loss and optimiser may stand on its part."""

    def __init__(self, steppers: Sequence[Stepper], template: int) -> None:
        """Copy where the steppers stand.

        Args:
            steppers: the members', at one and the same step.
            template: the member whose loss has all that any of them has.

        Raises:
            SpecError: their networks have other shapes.
        """
        standings = [standing_of(stepper) for stepper in steppers]
        model = standings[template]
        _check(standings, model)
        # A member at alpha 0 lacks what the divergence of the others keeps: the template's stands in, and is not read.
        self.trained = {
            name: _stacked([s.trained.get(name, t) for s in standings]) for name, t in model.trained.items()
        }
        self.buffers = {
            name: _stacked([s.buffers.get(name, t) for s in standings]) for name, t in model.buffers.items()
        }
        self.moments = {
            name: {quantity: _stacked([s.moments.get(name, kept)[quantity] for s in standings]) for quantity in kept}
            for name, kept in model.moments.items()
        }
        self.count = standings[template].steps.to(torch.float32)
        """(): steps that the optimisers have done, on the CPU."""
        self.members = len(steppers)
        """M."""

    def is_finite(self) -> list[bool]:
        """Of each member, whether every trained parameter is; waits for the device."""
        flat = [tensor.reshape(self.members, -1) for tensor in self.trained.values()]
        # A sum is finite only where every number is; one that overflowed is looked at again.
        if bool(torch.stack([tensor.sum(1) for tensor in flat]).isfinite().all()):
            return [True] * self.members
        return list(torch.stack([tensor.isfinite().all(1) for tensor in flat]).all(0).tolist())

    def copied(self, other: Stack | None, places: Sequence[int]) -> Stack:
        """A stack that has these members as they stand here, and the rest as it had it; `other` itself if given."""
        if other is None or other.members != self.members:
            made = copy.copy(self)
            made.trained, made.buffers, made.moments = self._mapped(torch.clone)
            return made
        some = self._index(places)
        for mine, others in zip(self.tensors(), other.tensors(), strict=True):
            if len(places) == self.members:
                others.copy_(mine)
            else:
                others.index_copy_(0, some, mine.index_select(0, some))
        return other

    def lend(self, place: int, stepper: Stepper, count: Tensor) -> None:
        """Let a stepper stand here; `count` are the steps that its optimiser had done, float32 ()."""
        trained, buffers, moments = self._mapped(lambda tensor: tensor[place])
        stepper.adopt(trained, buffers, moments, count)

    def keep(self, places: Sequence[int]) -> Stack:
        """A stack of these members alone."""
        made, some = copy.copy(self), self._index(places)
        made.trained, made.buffers, made.moments = self._mapped(lambda tensor: tensor[some])
        made.members = len(places)
        return made

    def _index(self, places: Sequence[int]) -> Tensor:
        return torch.tensor(places, device=next(iter(self.trained.values())).device)

    def tensors(self) -> list[Tensor]:
        """All that a step changes, in order."""
        moments = [tensor for kept in self.moments.values() for tensor in kept.values()]
        return [*self.trained.values(), *self.buffers.values(), *moments]

    def _mapped(self, change: Callable[[Tensor], Tensor]) -> tuple[Tensors, Tensors, dict[str, Tensors]]:
        trained, buffers = ({n: change(t) for n, t in group.items()} for group in (self.trained, self.buffers))
        return trained, buffers, {name: {q: change(t) for q, t in kept.items()} for name, kept in self.moments.items()}


def _stacked(tensors: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(tensors)).contiguous()


def _check(standings: Sequence[Standing], model: Standing) -> None:
    """Shapes of what is trained."""
    for member, standing in enumerate(standings):
        for name, tensor in standing.trained.items():
            wanted = model.trained.get(name)
            if wanted is None or wanted.shape != tensor.shape:
                other = "none" if wanted is None else f"one of shape {tuple(wanted.shape)}"
                message = (
                    f"member {member} trains '{name}' of shape {tuple(tensor.shape)}, and another member has {other}: "
                    "a pack computes networks of one shape"
                )
                raise SpecError(message, [Problem("/net", message)])
