"""One optimiser step as a function of tensors."""

# P series of the loss, B examples of a batch

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.func import functional_call
from torch.fx.experimental.proxy_tensor import make_fx

from softreg_core.data.part import Part
from softreg_core.engine.ledger import gradient_terms
from softreg_core.engine.program.updates import UPDATES, Moments, moments_of
from softreg_core.engine.step.objective import Objective
from softreg_core.engine.step.optimizer import is_weight
from softreg_core.engine.step.perturb import Perturbed
from softreg_core.engine.step.stepper import Stepper
from softreg_core.engine.step.terms import Terms, summed
from softreg_core.nets.noise import noises_of
from softreg_core.spec.train import TrainSpec

__all__ = ["PureStep", "Standing", "Told", "name_in_objective", "standing_of", "take_over", "traced"]

Numbers = Mapping[str, Tensor]


class Standing(NamedTuple):
    """Everything that a step changes."""

    trained: dict[str, Tensor]
    """By name, as `Objective.trained`."""
    buffers: dict[str, Tensor]
    """Of network and loss, by their names in the objective: `net.` and `loss.` before their own."""
    moments: dict[str, Moments]
    """Of the optimiser, by parameter."""
    steps: Tensor
    """float64 (): optimiser steps done."""


class Told(NamedTuple):
    """What the objective says of a batch."""

    total: Tensor
    """(): what is minimised."""
    sums: Tensor
    """float64 (P,): of each series the sum of w_b v_b over the examples; see `PureStep.series`."""
    buffers: dict[str, Tensor]
    """After the pass."""


class PureStep:
    """The step of a spec; it keeps nothing from call to call, and changes no tensor that it is given."""

    def __init__(self, spec: TrainSpec, objective: Objective, *, has_weighed_rows: bool = False) -> None:
        """Of a spec.

        Args:
            spec: resolved.
            objective: it is copied: what a trace leaves in a module must not reach a run.
            has_weighed_rows: batches will come with weights that have those of the classes in them.
        """
        self._spec = spec
        self._objective = copy.deepcopy(objective).train()
        if has_weighed_rows:
            self._objective.leave_classes_alone()
        self._noises = noises_of(self._objective.net)
        self.series: tuple[str, ...] = ()
        """What `sums` are of, known after the first call: `total`, `base` and so on; the last is `weight`, of which
        the sum is that of the weights themselves."""

    def told(
        self,
        trained: Mapping[str, Tensor],
        buffers: Mapping[str, Tensor],
        numbers: Numbers,
        rows: Part,
        uniforms: Sequence[Tensor] = (),
    ) -> Told:
        """The objective; may be differentiated by `trained`, and batched by `torch.vmap`.

        Args:
            trained: as in `Standing`.
            buffers: as in `Standing`.
            numbers: of no dimension, those of `number_names`.
            rows: a batch.
            uniforms: what the layers that drop draw, in the order in which they draw.
        """
        terms, moved = self._terms(trained, buffers, numbers, rows, uniforms)
        columns = {name: column.detach() for name, column in terms.columns().items()}
        self.series, sums_P = summed(columns)
        return Told(terms.total, sums_P, moved)

    def drawn(self, rows: Part) -> tuple[torch.Size, ...]:
        """Shapes of the numbers that the layers of the network which drop draw for a batch, in order."""
        copied, shapes = copy.deepcopy(self._objective), list[torch.Size]()
        with ExitStack() as heard, torch.no_grad():
            for noise in noises_of(copied.net):
                shapes = heard.enter_context(noise.heard())
            copied(Perturbed(rows), 0)
        return tuple(shapes)

    def reached(
        self, standing: Standing, numbers: Numbers, rows: Part, uniforms: Sequence[Tensor] = ()
    ) -> tuple[str, ...]:
        """The parameters that a gradient reaches."""
        leaves = {name: tensor.detach().requires_grad_() for name, tensor in standing.trained.items()}
        told = self.told(leaves, standing.buffers, numbers, rows, uniforms)
        found = torch.autograd.grad(told.total, list(leaves.values()), allow_unused=True)
        return tuple(name for name, gradient in zip(leaves, found, strict=True) if gradient is not None)

    def followed(self) -> Tensor | None:
        """sigma2 of the last call, where it is the variance of a batch's outputs and nothing else keeps it."""
        return self._objective.loss.batch_sigma2()

    def observed(
        self,
        trained: Mapping[str, Tensor],
        buffers: Mapping[str, Tensor],
        numbers: Numbers,
        rows: Part,
        uniforms: Sequence[Tensor] = (),
    ) -> Tensor | None:
        """What the ledger sees of a batch, (3,): see `gradient_terms`. The arguments are those of `told`."""
        leaves = {name: tensor.detach().requires_grad_() for name, tensor in trained.items()}
        terms, _ = self._terms(leaves, buffers, numbers, rows, uniforms)
        return gradient_terms(terms, list(leaves.values()))

    def apart(
        self,
        trained: Mapping[str, Tensor],
        buffers: Mapping[str, Tensor],
        numbers: Numbers,
        rows: Part,
        uniforms: Sequence[Tensor] = (),
    ) -> tuple[Tensor, Tensor | None]:
        """Weighted base and weighted divergence, (), not differentiated yet: the ledger of many members at a time."""
        terms, _ = self._terms(trained, buffers, numbers, rows, uniforms)
        base_B, divergence_B = terms.weighted()
        return terms.mean(base_B), None if divergence_B is None else terms.mean(divergence_B)

    def _terms(
        self,
        trained: Mapping[str, Tensor],
        buffers: Mapping[str, Tensor],
        numbers: Numbers,
        rows: Part,
        uniforms: Sequence[Tensor],
    ) -> tuple[Terms, dict[str, Tensor]]:
        """Of a pass, and the buffers after it."""
        within = {name_in_objective(name): tensor for name, tensor in trained.items()}
        # Statistics of batch norm and means of the loss are moved in place.
        moved = {name: tensor.clone() for name, tensor in buffers.items()}
        for noise in self._noises:
            noise.give(uniforms)
        with self._objective.given(numbers):
            terms = functional_call(self._objective, within | moved, (Perturbed(rows), 0), strict=True)
        return terms, moved

    def clipped(self, gradients: Mapping[str, Tensor]) -> tuple[Mapping[str, Tensor], Tensor | None]:
        """Shortened as the spec asks; and the norm before, float64 (), where it does."""
        clip = self._spec.training.gradient_clip
        if clip is None:
            return gradients, None
        norm = torch.stack([gradient.square().sum() for gradient in gradients.values()]).sum().sqrt()
        factor = (clip / (norm + 1e-6)).clamp(max=1.0)
        return {name: gradient * factor for name, gradient in gradients.items()}, norm.double()

    def with_norm(self, sums_P: Tensor, norm: Tensor | None) -> Tensor:
        """`Told.sums` with the norm of a step that clips: the series `gradient_norm`, before the last."""
        if norm is None:
            return sums_P
        self.series = (*self.series[:-1], "gradient_norm", "weight")
        return torch.cat([sums_P[:-1], (norm * sums_P[-1]).reshape(1), sums_P[-1:]])

    def updated(
        self, standing: Standing, gradients: Mapping[str, Tensor], buffers: dict[str, Tensor], numbers: Numbers
    ) -> tuple[Standing, Tensor | None]:
        """Clip and update; the norm of the gradients, float64 (), where the spec clips.

        What has no gradient stays as it is, without decay too, as torch's optimisers leave it.
        """
        gradients, norm = self.clipped(gradients)
        count = standing.steps + 1.0
        shared = {"learning_rate": numbers["learning_rate"], "count": count}
        trained, moments = dict(standing.trained), dict(standing.moments)
        for name, gradient in gradients.items():
            parameter = trained[name]
            decays = "weight_decay" in numbers and is_weight(name, parameter)
            of_this = shared | ({"weight_decay": numbers["weight_decay"]} if decays else {})
            trained[name], moments[name] = UPDATES[self._spec.optimizer.kind](
                self._spec.optimizer, parameter, gradient, moments[name], of_this
            )
        return Standing(trained, buffers, moments, count), norm

    def __call__(
        self, standing: Standing, numbers: Numbers, rows: Part, uniforms: Sequence[Tensor] = ()
    ) -> tuple[Standing, Tensor]:
        """One step.

        Returns:
            Where it leads, and the sums of `Told`; where the spec clips, the series `gradient_norm` stands before the
            last.
        """
        leaves = {name: tensor.detach().requires_grad_() for name, tensor in standing.trained.items()}
        told = self.told(leaves, standing.buffers, numbers, rows, uniforms)
        found = torch.autograd.grad(told.total, list(leaves.values()), allow_unused=True)
        gradients = {name: g for name, g in zip(leaves, found, strict=True) if g is not None}
        with torch.no_grad():
            after, norm = self.updated(standing, gradients, told.buffers, numbers)
            sums_P = self.with_norm(told.sums.detach(), norm)
        return after, sums_P


def name_in_objective(name: str) -> str:
    """The name in the objective of what is trained."""
    return name if name.startswith("loss.") else f"net.{name}"


def traced(function: Callable[..., Any], *example: Any) -> torch.fx.GraphModule:
    """`function` as a flat list of operations, for arguments of the shapes and dtypes of the example."""
    return make_fx(function)(*example)


def standing_of(stepper: Stepper) -> Standing:
    """Where a stepper stands; copies."""
    kept, moments, count = stepper.live().optimizer, {}, 0.0
    for name, parameter in stepper.trained.items():
        start = moments_of(stepper.spec.optimizer, parameter.detach())
        moments[name] = {q: kept.get(f"{name}/{q}", zeros).clone() for q, zeros in start.items()}
        count = max(count, float(kept.get(f"{name}/step", 0.0)))
    buffers = {name: tensor.clone() for name, tensor in stepper.objective.named_buffers()}
    return Standing(
        {name: parameter.detach().clone() for name, parameter in stepper.trained.items()},
        buffers,
        moments,
        torch.tensor(count, dtype=torch.float64),
    )


@torch.no_grad()
def take_over(stepper: Stepper, standing: Standing) -> None:
    """Let a stepper stand where a program came to; it may go on from there by steps of its own."""
    for name, parameter in stepper.trained.items():
        parameter.copy_(standing.trained[name])
    for name, buffer in stepper.objective.named_buffers():
        buffer.copy_(standing.buffers[name])
    stepper.put_moments(standing.moments, float(standing.steps))
