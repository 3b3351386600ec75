"""What the steps of all members change, one member after the other along the first axis of every tensor."""

# M members

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from softreg_core.engine.program import Standing, standing_of
from softreg_core.engine.step import Stepper
from softreg_core.errors import Problem, SpecError

__all__ = ["Stack"]

Tensors = dict[str, Tensor]
Place = tuple[Tensors, Tensors, dict[str, Tensors], Tensor]
"""What `Stepper.adopt` takes: of what is trained, buffers, moments, and the counter."""


class Stack:
    """Tensors of all members; each member's own network, loss and optimiser stand on its part of them."""

    def __init__(self, steppers: Sequence[Stepper], template: int) -> None:
        """Take over where the steppers stand.

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
        self._steppers = list(steppers)
        self._marked: Place = ({}, {}, {}, self.count)
        self._adopt()

    @property
    def members(self) -> int:
        """M."""
        return len(self._steppers)

    def is_finite(self) -> list[bool]:
        """Of each member, whether every trained parameter is; waits for the device."""
        # The largest of all is NaN where any is.
        largest = [torch.linalg.vector_norm(t.reshape(self.members, -1), torch.inf, 1) for t in self.trained.values()]
        return list(torch.stack(largest).isfinite().all(0).tolist())

    def mark(self) -> None:
        """Keep a copy of where all members stand."""
        copied = [{name: t.clone() for name, t in group.items()} for group in (self.trained, self.buffers)]
        moments = {name: {q: t.clone() for q, t in kept.items()} for name, kept in self.moments.items()}
        self._marked = copied[0], copied[1], moments, self.count.clone()

    def kept(self, place: int) -> Place:
        """Where a member stood at the last mark; views."""
        return _at(place, *self._marked)

    def keep(self, places: Sequence[int]) -> None:
        """Leave all other members out."""
        some = torch.tensor(places, device=next(iter(self.trained.values())).device)
        self.trained, self.buffers = ({n: t[some] for n, t in group.items()} for group in (self.trained, self.buffers))
        self.moments = {name: {q: t[some] for q, t in kept.items()} for name, kept in self.moments.items()}
        self.count = self.count.clone()  # the others' states keep the one that they have
        self._steppers = [self._steppers[place] for place in places]
        self._adopt()

    def _adopt(self) -> None:
        for place, stepper in enumerate(self._steppers):
            stepper.adopt(*_at(place, self.trained, self.buffers, self.moments, self.count))


def _at(place: int, trained: Tensors, buffers: Tensors, moments: dict[str, Tensors], count: Tensor) -> Place:
    """Of one member."""
    mine, others = ({name: tensor[place] for name, tensor in group.items()} for group in (trained, buffers))
    return mine, others, {n: {q: tensor[place] for q, tensor in kept.items()} for n, kept in moments.items()}, count


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
