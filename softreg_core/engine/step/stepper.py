"""One optimiser step: forward, loss, penalties, backward, update; and all that it changes, captured and put back."""

# K classes

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from softreg_core.data.augment import augmented
from softreg_core.data.part import Part
from softreg_core.engine.rates import Rates
from softreg_core.engine.state import load_tensors
from softreg_core.engine.step.average import Average
from softreg_core.engine.step.beside import Beside
from softreg_core.engine.step.gradient import ByAutograd, ByClosedForm, is_guarded, is_perturbed, shorten
from softreg_core.engine.step.objective import Objective
from softreg_core.engine.step.optimizer import build_optimizer, optimizer_tensors, restore_optimizer
from softreg_core.engine.step.terms import Observer, Outcome
from softreg_core.errors import ResourceError, is_out_of_memory
from softreg_core.losses import Loss
from softreg_core.nets import set_mode
from softreg_core.spec.task_input import ImageInput
from softreg_core.spec.train import TrainSpec

__all__ = ["Captured", "Stepper", "copies"]

# Numbers of a network that are looked at by NumPy, whose calls cost less.
_FEW = 2**18


@dataclass(frozen=True, slots=True, eq=False)
class Captured:
    """What a stepper changes from step to step; fields of a `TrainingState`."""

    model: dict[str, Tensor]
    loss: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    more: dict[str, Tensor]
    numbers: dict[str, float]

    def copied(self, device: str | None = None) -> Captured:
        """Independent of what becomes of the originals; on a device, or where they are."""
        return Captured(
            copies(self.model, device),
            copies(self.loss, device),
            copies(self.optimizer, device),
            copies(self.more, device),
            dict(self.numbers),
        )


class Stepper:
    """A network, its loss, its optimiser, and what the spec asks of a step."""

    def __init__(
        self,
        spec: TrainSpec,
        net: nn.Module,
        loss: Loss[Any],
        rates: Rates,
        beside: Beside | None = None,
        *,
        class_weight: Tensor | None = None,
        is_half: bool = False,
    ) -> None:
        """Everything on one device.

        Args:
            spec: resolved.
            net: called as `net(*inputs)`.
            loss: as from `build_loss`.
            rates: of the optimiser.
            beside: what the loss compares predictions with.
            class_weight: float (K,); multiplies an example's weight by that of its class.
            is_half: let the network multiply in bfloat16.
        """
        self.net = net
        self.loss = loss
        self.objective = Objective(spec, net, loss, beside, class_weight=class_weight, is_half=is_half)
        self.trained = self.objective.trained()
        self.rates = rates
        self.spec = spec
        view = spec.task.input
        self._augment = view.augment if isinstance(view, ImageInput) else None
        self.parts = spec.training.accumulate
        """In how many parts a batch goes through the network."""
        self._clip = spec.training.gradient_clip
        average = spec.training.average_weights
        self.average = None if average is None else Average(net, average.decay)
        # Asking the modules for their tensors takes longer than copying those of a small network.
        self._model = net.state_dict(keep_vars=True)
        sizes = [parameter.numel() if parameter.is_cpu else math.inf for parameter in self.trained.values()]
        self._is_small = sum(sizes) <= _FEW
        self._beside = beside
        self._optimizer = build_optimizer(spec.optimizer, self.trained)
        self._by_autograd = ByAutograd(spec, self.objective, self._optimizer.zero_grad)
        is_plain = not (is_perturbed(spec) or is_guarded(spec)) and beside is None
        closed = self.objective.closed_gradient() if is_plain else None
        self._by_closed_form = None if closed is None else ByClosedForm(spec, self.objective, closed)

    @property
    def evaluated(self) -> nn.Module:
        """The network that is measured and delivered: the averaged one where there is one."""
        return self.net if self.average is None else self.average.net

    @property
    def rate(self) -> float:
        """The learning rate of the last step."""
        return self._optimizer.rate

    def set_rate(self, step: int) -> None:
        """The learning rate of a step, counted from 0."""
        if self.rates.is_changing:
            self._optimizer.set_factor(self.rates.at(step))

    def begin_epoch(self) -> None:
        """Set net and loss to training: evaluation sets them to the other mode."""
        set_mode(self.net, is_training=True)
        set_mode(self.loss, is_training=True)

    def take(self, batch: Part, step: int, observe: Observer | None = None) -> Outcome:
        """One step.

        Args:
            batch: rows on the network's device.
            step: optimiser steps done in the run.
            observe: called between loss and gradient, at steps where somebody wants to look; of a batch in several
                parts, with the first.
        """
        self.set_rate(step)
        self._optimizer.zero_grad()
        if self._augment is not None:
            batch = augmented(batch, self._augment, self.spec.training.seed, step)
        if self._by_closed_form is not None and self.parts == 1 and batch.weight is None:
            outcome = self._by_closed_form(batch, step, observe)
        else:
            outcome = self._by_autograd(batch, step, observe, self.parts)
        if not outcome.is_taken:
            return outcome
        if self._clip is not None:
            gradients = [parameter.grad for parameter in self.trained.values() if parameter.grad is not None]
            outcome.note("gradient_norm", shorten(gradients, self._clip))
        self._update()
        return outcome

    def _update(self) -> None:
        try:
            self._optimizer.step()
            if self.average is not None:
                self.average.update()
            if self._beside is not None:
                self._beside.update()
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            # Some parameters are updated, others are not: there is no taking it again.
            raise ResourceError(f"out of memory while parameters were updated: {str(error)[:300]}") from error

    @torch.no_grad()
    def is_finite(self) -> bool:
        """Whether every trained parameter is; waits for the device."""
        if self._is_small:
            return all(np.isfinite(parameter.detach().numpy()).all() for parameter in self.trained.values())
        # The largest size of each is NaN or infinite if any number is; a pass over the numbers that makes no others.
        sizes = torch._foreach_norm(list(self.trained.values()), math.inf)  # noqa: SLF001
        return math.isfinite(torch.stack(sizes).max().item())

    def live(self) -> Captured:
        """Everything that a step changes: the tensors themselves, no copies."""
        average = {} if self.average is None else self.average.tensors("average")
        numbers = {} if self.average is None else self.average.numbers("average")
        return Captured(
            model={name: tensor.detach() for name, tensor in self._model.items()},
            loss=self.loss.state_dict(),
            optimizer=optimizer_tensors(self._optimizer, self.trained),
            more=average | ({} if self._beside is None else self._beside.tensors()),
            numbers=numbers | ({} if self._beside is None else self._beside.numbers()),
        )

    def kept_of(self, name: str) -> dict[str, Any]:
        """What the optimiser keeps of a parameter between steps; to be changed in place."""
        return self._optimizer.state_of(self.trained[name])

    def put_moments(self, moments: Mapping[str, Mapping[str, Tensor]], count: float) -> None:
        """The optimiser's state, by parameter and quantity, after so many steps."""
        tensors = {f"{name}/{quantity}": tensor for name, kept in moments.items() for quantity, tensor in kept.items()}
        if self.spec.optimizer.kind != "sgd":  # which counts no steps
            tensors |= {f"{name}/step": torch.tensor(count, dtype=torch.float32) for name in moments}
        restore_optimizer(self._optimizer, self.trained, tensors)

    def adopt(
        self,
        trained: Mapping[str, Tensor],
        buffers: Mapping[str, Tensor],
        moments: Mapping[str, Mapping[str, Tensor]],
        count: Tensor,
    ) -> None:
        """Stand on these very tensors from now on, until `put`: whoever changes them takes the steps.

        Args:
            trained: by name, as `trained`.
            buffers: by their names in the objective.
            moments: of the optimiser, by parameter and quantity.
            count: float32 (), steps done.
        """
        for name, parameter in self.trained.items():
            parameter.data = trained[name]
            state = self._optimizer.state_of(parameter)
            state.clear()
            state.update(moments[name])
            if self.spec.optimizer.kind != "sgd":  # which counts no steps
                state["step"] = count
        for name, buffer in self.objective.named_buffers():
            buffer.data = buffers[name]

    def put(self, captured: Captured) -> None:
        """Go on from what `live` gave, or from copies of it.

        Raises:
            DataError: it is another network's, loss's or optimiser's.
        """
        load_tensors(self.net, captured.model)
        load_tensors(self.loss, captured.loss)
        restore_optimizer(self._optimizer, self.trained, captured.optimizer)
        if self.average is not None:
            self.average.put("average", captured.more, captured.numbers)
        if self._beside is not None:
            self._beside.put(captured.more, captured.numbers)


def copies(tensors: dict[str, Tensor], device: str | None = "cpu") -> dict[str, Tensor]:
    """Independent of what becomes of the originals, in the usual order of memory, as files want them; where they are
    when no device is given.
    """
    usual = torch.contiguous_format
    if device is None or (device == "cpu" and all(tensor.is_cpu for tensor in tensors.values())):
        with torch.no_grad():
            return {name: tensor.clone(memory_format=usual) for name, tensor in tensors.items()}
    return {name: tensor.detach().to(device, copy=True, memory_format=usual) for name, tensor in tensors.items()}
