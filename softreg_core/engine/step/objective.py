"""What is minimised: from a batch to the terms of the loss and the penalties, before they are differentiated."""

# B examples of a batch, K classes

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from softreg_core.data.part import Part
from softreg_core.engine.step.beside import Beside
from softreg_core.engine.step.forward import Forward, Predicted
from softreg_core.engine.step.optimizer import is_weight
from softreg_core.engine.step.perturb import Perturbed
from softreg_core.engine.step.terms import PENALTIES, Compared, Terms
from softreg_core.losses import Loss, LossParts
from softreg_core.losses.closed import ClosedGradient, closed_gradient
from softreg_core.penalties import l1, l2, smoothing
from softreg_core.spec.train import TrainSpec

__all__ = ["Objective"]


class Objective(nn.Module):
    """A network, its loss and the penalties; its parameters are all that is trained.

    A module, so that `torch.func.functional_call` can put other tensors in place of its parameters and buffers: the
    packed and the compiled engines run this very code.
    """

    def __init__(
        self,
        spec: TrainSpec,
        net: nn.Module,
        loss: Loss[Any],
        beside: Beside | None = None,
        *,
        class_weight: Tensor | None = None,
        is_half: bool = False,
    ) -> None:
        """See `Stepper`."""
        super().__init__()
        self.net = net
        self.loss = loss
        self._loss_spec = spec.loss
        self._class_weight_K = class_weight
        self._forward = Forward(net, loss, spec.training.seed, beside, is_half=is_half)
        penalties = spec.penalties
        self._penalised = [n for n, p in net.named_parameters() if penalties.include_biases or is_weight(n, p)]
        strengths = {name: getattr(penalties, name) for name in PENALTIES}
        self._strengths: dict[str, float | Tensor] = {name: size for name, size in strengths.items() if size}

    def trained(self) -> dict[str, nn.Parameter]:
        """What the optimiser changes, by name: the network's parameters, and `loss.` the loss's own."""
        of_loss = {f"loss.{name}": parameter for name, parameter in self.loss.named_parameters()}
        return dict(self.net.named_parameters()) | of_loss

    def leave_classes_alone(self) -> None:
        """Weigh no class: the rows' weights, as `weight` gives them, have it in them already."""
        self._class_weight_K = None

    @contextmanager
    def given(self, numbers: Mapping[str, Tensor]) -> Iterator[None]:
        """Compute with tensors of no dimension in place of numbers of the spec: one program serves many of them.

        Args:
            numbers: any of `alpha` (that of the step), `sigma2`, `label_smoothing`, `l1`, `l2`. A penalty takes part
                if it is named here.
        """
        before = self._strengths
        self._strengths = before | {name: numbers[name] for name in PENALTIES if name in numbers}
        try:
            with self.loss.given(alpha=numbers.get("alpha"), sigma2=numbers.get("sigma2")):
                yield
        finally:
            self._strengths = before

    def forward(self, seen: Perturbed, step: int, piece: int = 0) -> Terms:
        """The terms of one pass over a batch, or over one piece of it.

        Args:
            seen: rows on the network's device.
            step: optimiser steps done in the run.
            piece: which part of the step's batch this is; see `Forward`.
        """
        return self.terms(seen, self.predicted(seen.rows, step, piece), step)

    def predicted(self, rows: Part, step: int, piece: int = 0) -> Predicted:
        """The first half of `forward`: what the network says."""
        return self._forward(rows, step, piece)

    def terms(self, seen: Perturbed, predicted: Predicted, step: int, *, has_penalties: bool = True) -> Terms:
        """The second half of `forward`: what that costs."""
        weight = self.weight(seen.rows)

        def loss_of(target: Tensor) -> LossParts:
            parts: LossParts = self.loss(predicted.prediction, target, step=step, weight=weight, **predicted.extras)
            return parts

        parts = seen.parts(loss_of)
        none: tuple[dict[str, Tensor], dict[str, Tensor]] = ({}, {})
        is_penalised = has_penalties and bool(self._strengths)
        of_examples, of_weights = self._penalties(seen, predicted, step) if is_penalised else none
        alpha = 0.0 if parts.divergence is None else self.loss.weight_of_divergence(step)
        return Terms(parts, weight, of_examples, of_weights, alpha, self.loss.weighing.is_convex)

    def closed_gradient(self) -> ClosedGradient | None:
        """The gradient of the loss by its closed form, where there is one and rows are not penalised or weighed."""
        is_alone = self._class_weight_K is None and not self._forward.is_half
        is_alone = is_alone and "label_smoothing" not in self._strengths
        is_on_cpu = all(parameter.device.type == "cpu" for parameter in self.net.parameters())
        return closed_gradient(self._loss_spec, self.loss, is_on_cpu=is_on_cpu) if is_alone else None

    @torch.no_grad()
    def columns_of(self, compared: Compared) -> dict[str, Tensor]:
        """The series of steps by a closed form, (N,) each; row for row the same, whatever the other rows are."""
        like, noted = compared.prediction, compared.noted
        given = {name: torch.as_tensor(noted[name]).to(like) for name in ("alpha", "energy") if name in noted}
        with self.loss.given(**given) if given else nullcontext():
            seen, predicted = Perturbed(Part((), compared.target)), Predicted(like)
            columns = self.terms(seen, predicted, 0, has_penalties=False).columns()
        series = {name: torch.as_tensor(noted[name]).expand_as(columns["total"]) for name in noted if name not in given}
        penalties = [series[name] for name in ("l1", "l2") if name in series]
        if penalties:
            columns["total"] = columns["total"] + torch.stack(penalties).sum(0)
        return columns | series

    @torch.no_grad()
    def penalise(self) -> dict[str, Tensor]:
        """The penalties of the weights, scalars; their gradients are added to those that the weights have."""
        weights: list[Tensor] = [self.net.get_parameter(name) for name in self._penalised] if self._strengths else []
        found = {}
        for name, strength in self._strengths.items():
            if name == "l1" and weights:
                found[name] = l1(weights, strength)
                torch._foreach_add_(_gradients(weights), torch._foreach_sign(weights), alpha=float(strength))  # noqa: SLF001
            elif name == "l2" and weights:
                found[name] = l2(weights, strength)
                torch._foreach_add_(_gradients(weights), weights, alpha=float(strength))
        return found

    def weight(self, rows: Part) -> Tensor | None:
        """(B,): the rows' weights times those of their classes; None when all weigh the same."""
        if self._class_weight_K is None:
            return rows.weight
        of_class = self._class_weight_K[rows.target]
        return of_class if rows.weight is None else rows.weight * of_class

    def _penalties(
        self, seen: Perturbed, predicted: Predicted, step: int
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Those of examples, (B,), and those of the weights, scalars."""
        strengths = self._strengths
        of_examples = {}
        if "label_smoothing" in strengths:
            of_examples["label_smoothing"] = seen.mean(lambda target: self._smoothing(predicted, target, step))
        named = dict(self.net.named_parameters())  # by name, not kept: other tensors may stand in their places
        weights = [named[name] for name in self._penalised]
        sizes = {"l1": l1, "l2": l2} if weights else {}
        return of_examples, {name: size(weights, strengths[name]) for name, size in sizes.items() if name in strengths}

    def _smoothing(self, predicted: Predicted, target: Tensor, step: int) -> Tensor:
        """What label smoothing adds to the base as it enters the total: of both passes, and less in a convex sum."""
        strength = self._strengths["label_smoothing"]
        kind, meta = self._loss_spec.base.kind, self.loss.data_meta
        excess_B = smoothing(kind, predicted.prediction, target, strength, meta)
        second = predicted.extras.get("second")
        if second is not None:
            excess_B = 0.5 * (excess_B + smoothing(kind, second, target, strength, meta))
        weighing = self.loss.weighing
        return (1.0 - weighing.used_at(step)) * excess_B if weighing.is_convex else excess_B


def _gradients(weights: list[Tensor]) -> list[Tensor]:
    """Those that are there, and zeros where there is none yet."""
    for weight in weights:
        if weight.grad is None:
            weight.grad = torch.zeros_like(weight)
    return [weight.grad for weight in weights if weight.grad is not None]
