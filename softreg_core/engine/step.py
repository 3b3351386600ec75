"""One optimiser step: forward, loss, penalties, backward, update; and all that it changes, captured and put back."""

# B examples of a batch, K classes

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from softreg_core.data.augment import augmented
from softreg_core.data.part import Part
from softreg_core.engine.average import Average
from softreg_core.engine.backward import accumulate
from softreg_core.engine.beside import Beside
from softreg_core.engine.forward import Predicted
from softreg_core.engine.objective import Objective
from softreg_core.engine.optimizer import build_optimizer, optimizer_tensors, restore_optimizer
from softreg_core.engine.perturb import Perturbed, perturbed
from softreg_core.engine.rates import Rates
from softreg_core.engine.state import load_tensors
from softreg_core.engine.terms import Apart, Compared, Observer
from softreg_core.errors import ResourceError, is_out_of_memory
from softreg_core.losses import Loss
from softreg_core.nets import set_mode
from softreg_core.spec.task_input import ImageInput
from softreg_core.spec.train import TrainSpec

__all__ = ["Captured", "Outcome", "Stepper", "copies"]

Columns = dict[str, Tensor]


class Outcome(NamedTuple):
    """What a step gave."""

    told: Columns | Callable[[], Columns]
    """Each series' value per example, (B,): `total`, `base`, perhaps `divergence`, penalties and `weight`. Or how to
    compute them."""
    compared: Compared | None = None
    """What the series follow from, where it does not matter when they are computed."""
    is_taken: bool = True
    """False where loss or gradient was not finite and somebody asked to look: then nothing was updated."""

    @property
    def columns(self) -> Columns:
        """The series, computed by now."""
        return self.told() if callable(self.told) else self.told

    def note(self, name: str, value: Tensor) -> None:
        """One series more, of one number for the whole step."""
        if self.compared is not None:
            self.compared.noted[name] = value
        else:
            columns = self.columns
            columns[name] = value.expand_as(columns["total"])

    def means(self) -> dict[str, float]:
        """`loss` and the other series, over the step's examples; waits for the device."""
        columns = self.columns
        weight = columns.get("weight")
        names = [name for name in columns if name != "weight"]
        stacked_PB = torch.stack([columns[name].detach() for name in names])
        means_P = stacked_PB.mean(1) if weight is None else (stacked_PB * weight).sum(1) / weight.sum()
        return {"loss" if n == "total" else n: v for n, v in zip(names, means_P.tolist(), strict=True)}


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
        self._penalties = spec.penalties
        view = spec.task.input
        self._augment = view.augment if isinstance(view, ImageInput) else None
        self._is_perturbed = spec.penalties.mixup > 0.0 or spec.penalties.input_noise > 0.0
        self.parts = spec.training.accumulate
        """In how many parts a batch goes through the network."""
        self._clip = spec.training.gradient_clip
        # Looked at before the update, where the spec says what to do then; a run that fails looks seldom instead.
        self._is_guarded = spec.training.on_nonfinite != "fail"
        average = spec.training.average_weights
        self.average = None if average is None else Average(net, average.decay)
        self._buffers = [*net.buffers(), *loss.buffers()]
        self._is_following = next(loss.buffers(), None) is not None
        # Asking the modules for their tensors takes longer than copying those of a small network.
        self._model = net.state_dict(keep_vars=True)
        self._beside = beside
        is_plain = not (self._is_perturbed or self._is_guarded) and beside is None
        self._closed = self.objective.closed_gradient() if is_plain else None
        self._is_alpha_constant = isinstance(loss.weighing.alpha, float)
        self._has_penalties = spec.penalties.l1 > 0.0 or spec.penalties.l2 > 0.0
        self._optimizer = build_optimizer(spec.optimizer, self.trained)

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
        is_closed = self._closed is not None and self.parts == 1 and batch.weight is None
        outcome = (self._by_closed_form if is_closed else self._by_autograd)(batch, step, observe)
        if not outcome.is_taken:
            return outcome
        if self._clip is not None:
            outcome.note("gradient_norm", self._clipped(self._clip))
        self._update()
        return outcome

    def _by_closed_form(self, batch: Part, step: int, observe: Observer | None) -> Outcome:
        """Gradients, from that of the loss with respect to the predictions."""
        prediction_BC = self.objective.predicted(batch, step).prediction
        bare_BC = prediction_BC.detach()
        assert self._closed is not None  # noqa: S101  for mypy; the caller has looked
        if observe is not None:
            apart = self._closed.apart(bare_BC, batch.target, step)
            if apart is not None:
                observe(Apart(prediction_BC, *apart), self.trained)
        accumulate(prediction_BC, self._closed(bare_BC, batch.target, step))
        noted: dict[str, float | Tensor] = {}
        if self._closed.energy is not None:
            noted["energy"] = self._closed.energy
        if not self._is_alpha_constant:
            noted["alpha"] = self.loss.weighing.alpha_at(step)
        if self._has_penalties:
            noted |= self.objective.penalise()
        compared = Compared(bare_BC, batch.target, noted)
        return Outcome(partial(self.columns_of, compared), compared)

    @torch.no_grad()
    def columns_of(self, compared: Compared) -> Columns:
        """The series of steps by a closed form, (N,) each; row for row the same, whatever the other rows are."""
        like, noted = compared.prediction, compared.noted
        given = {name: torch.as_tensor(noted[name]).to(like) for name in ("alpha", "energy") if name in noted}
        with self.loss.given(**given) if given else nullcontext():
            seen, predicted = Perturbed(Part((), compared.target)), Predicted(like)
            columns = self.objective.terms(seen, predicted, 0, has_penalties=False).columns()
        series = {name: torch.as_tensor(noted[name]).expand_as(columns["total"]) for name in noted if name not in given}
        penalties = [series[name] for name in ("l1", "l2") if name in series]
        if penalties:
            columns["total"] = columns["total"] + torch.stack(penalties).sum(0)
        return columns | series

    def _clipped(self, most: float) -> Tensor:
        """The norm of the gradients, which are shortened to `most`; as `clip_grad_norm_`, and sooner done."""
        gradients = [parameter.grad for parameter in self.trained.values() if parameter.grad is not None]
        norm: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))  # noqa: SLF001
        torch._foreach_mul_(gradients, (most / (norm + 1e-6)).clamp(max=1.0))
        return norm

    def _by_autograd(self, batch: Part, step: int, observe: Observer | None) -> Outcome:
        # What the passes change on their own, as statistics of batch norm: a step that is left out leaves it alone.
        kept = [buffer.clone() for buffer in self._buffers] if self._is_guarded or self._is_following else []
        # Several calls of the loss are one step of what it follows; with one, asking would cost more than a layer.
        is_in_calls = self.parts > 1 or self._penalties.mixup > 0.0
        try:
            with self.loss.as_one_step() if is_in_calls else nullcontext():
                columns = self._backward(batch, step, observe)
        except (MemoryError, RuntimeError):  # memory ran out, perhaps: then the step is taken again
            self._leave(kept)
            raise
        if self._is_guarded and not self._is_sound(columns["total"]):
            self._leave(kept)
            return Outcome(columns, is_taken=False)
        return Outcome(columns)

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

    def _leave(self, kept: list[Tensor]) -> None:
        """Nothing is left of the step's passes."""
        self._optimizer.zero_grad()
        for buffer, before in zip(self._buffers if kept else (), kept, strict=True):
            buffer.copy_(before)

    def _backward(self, batch: Part, step: int, observe: Observer | None) -> dict[str, Tensor]:
        seen = Perturbed(batch)
        if self._is_perturbed:
            is_regression = self.spec.task.kind == "regression"
            seen = perturbed(batch, self._penalties, self.spec.training.seed, step, is_regression=is_regression)
        if self.parts > 1:
            return self._accumulate(seen, step, observe)
        terms = self.objective.forward(seen, step)
        if observe is not None:
            observe(terms, self.trained)
        accumulate(terms.total, torch.ones_like(terms.total))
        return terms.columns()

    def _accumulate(self, seen: Perturbed, step: int, observe: Observer | None) -> dict[str, Tensor]:
        """The gradient of the whole batch, from parts of it one after the other."""
        rows = seen.rows.rows
        size = -(-rows // self.parts)
        whole = self.objective.weight(seen.rows)
        mass = rows if whole is None else whole.sum().clamp(min=torch.finfo(whole.dtype).tiny)
        found: list[dict[str, Tensor]] = []
        for index, start in enumerate(range(0, rows, size)):
            terms = self.objective.forward(seen.take(slice(start, start + size)), step, index)
            if observe is not None and index == 0:
                observe(terms, self.trained)
            part = terms.parts.total.shape[0] if terms.weight is None else terms.weight.sum()
            share = terms.of_batch * (part / mass)
            objective = share if index else share + (terms.total - terms.of_batch)
            accumulate(objective, torch.ones_like(objective))
            found.append({name: column.detach() for name, column in terms.columns().items()})
        return {name: torch.cat([columns[name] for columns in found]) for name in found[0]}

    def _is_sound(self, total_B: Tensor) -> bool:
        """Whether the loss and its gradient are finite; waits for the device."""
        gradients = [p.grad for p in self.trained.values() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients, foreach=True)
        return bool(norm.isfinite() & total_B.detach().isfinite().all())

    @torch.no_grad()
    def is_finite(self) -> bool:
        """Whether every trained parameter is; waits for the device."""
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
        return {name: tensor.detach().clone(memory_format=usual) for name, tensor in tensors.items()}
    return {name: tensor.detach().to(device, copy=True, memory_format=usual) for name, tensor in tensors.items()}
