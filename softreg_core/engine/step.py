"""One optimiser step: forward, loss, backward, update; and all that it changes, captured and put back."""

# B examples of a batch

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from softreg_core.data.tabular import Part
from softreg_core.engine.forward import Forward
from softreg_core.engine.optimizer import build_optimizer, optimizer_tensors, restore_optimizer
from softreg_core.engine.state import TrainingState
from softreg_core.errors import DataError
from softreg_core.losses import Loss, LossParts
from softreg_core.losses.rows import kept_mean
from softreg_core.spec.train import TrainSpec

__all__ = ["Captured", "Observer", "Stepper", "Terms", "copies", "load_tensors"]


@dataclass(frozen=True, slots=True, eq=False)
class Terms:
    """A step's loss before it is differentiated: every tensor carries its graph."""

    parts: LossParts
    """Per example, not reduced."""
    weight: Tensor | None
    """(B,): an example's weight in every mean; None when all weigh the same."""

    @property
    def total(self) -> Tensor:
        """What is minimised, a scalar."""
        return self.mean(self.parts.total)

    def mean(self, values_B: Tensor) -> Tensor:
        """The reduction of this step: the mean, or sum_b w_b v_b / sum_b w_b."""
        return kept_mean(values_B, self.weight)

    def columns(self) -> dict[str, Tensor]:
        """What is logged of each example, by series."""
        columns = {name: part for name, part in self.parts._asdict().items() if part is not None}
        return columns if self.weight is None else columns | {"weight": self.weight}


Observer = Callable[[Terms, dict[str, nn.Parameter]], None]
"""Looks at a step's terms and the trained parameters before `backward`; it may differentiate a term on its own by
`torch.autograd.grad(terms.mean(terms.parts.base), ..., retain_graph=True)`."""


class Captured(NamedTuple):
    """What a stepper changes from step to step: copies on the CPU, fields of a `TrainingState`."""

    model: dict[str, Tensor]
    loss: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    more: dict[str, Tensor]
    numbers: dict[str, float]


class Stepper:
    """A network, its loss and its optimiser."""

    def __init__(self, spec: TrainSpec, net: nn.Module, loss: Loss[Any]) -> None:
        self.net = net
        self.loss = loss
        # What the optimiser changes, by name: the network's parameters, and the loss's own where it has some.
        of_loss = {f"loss.{name}": parameter for name, parameter in loss.named_parameters()}
        self.trained: dict[str, nn.Parameter] = dict(net.named_parameters()) | of_loss
        self._forward = Forward(net, loss, spec.training.seed)
        self._optimizer = build_optimizer(spec.optimizer, self.trained)

    def begin_epoch(self) -> None:
        """Set net and loss to training: evaluation sets them to the other mode."""
        self.net.train()
        self.loss.train()

    def take(self, batch: Part, step: int, observe: Observer | None = None) -> dict[str, Tensor]:
        """One step.

        Args:
            batch: rows on the network's device.
            step: optimiser steps done in the run.
            observe: called between loss and gradient, at steps where somebody wants to look.

        Returns:
            Each series' value per example, (B,): `total`, `base`, perhaps `divergence` and `weight`.
        """
        terms = self._terms(batch, step)
        if observe is not None:
            observe(terms, self.trained)
        self._optimizer.zero_grad()
        terms.total.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        return terms.columns()

    def _terms(self, batch: Part, step: int) -> Terms:
        predicted = self._forward(batch, step)
        weight = batch.weight
        parts = self.loss(predicted.prediction, batch.target, step=step, weight=weight, **predicted.extras)
        return Terms(parts, weight)

    def is_finite(self) -> bool:
        """Whether every trained parameter is; waits for the device."""
        finite = torch.stack([parameter.detach().isfinite().all() for parameter in self.trained.values()])
        return bool(finite.all())

    def capture(self) -> Captured:
        """Copies of everything that a step changes."""
        return Captured(
            model=copies(self.net.state_dict()),
            loss=copies(self.loss.state_dict()),
            optimizer=optimizer_tensors(self._optimizer, self.trained),
            more={},
            numbers={},
        )

    def restore(self, state: TrainingState) -> None:
        """Go on from a captured state.

        Raises:
            DataError: it is another network's, loss's or optimiser's.
        """
        load_tensors(self.net, state.model)
        load_tensors(self.loss, state.loss)
        restore_optimizer(self._optimizer, self.trained, state.optimizer)


def load_tensors(module: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Put stored tensors into a module.

    Raises:
        DataError: they are not this module's.
    """
    own = module.state_dict()
    if {name: tensor.shape for name, tensor in own.items()} != {n: t.shape for n, t in tensors.items()}:
        raise DataError("the checkpoint's tensors do not fit the network", "wrong_checkpoint")
    module.load_state_dict(tensors)


def copies(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """On the CPU, independent of what becomes of the originals."""
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()}
