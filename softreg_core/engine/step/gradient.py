"""How the gradients of a step come about: by autograd through the loss, or from the loss's closed form."""

# B examples of a batch, C outputs

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial

import torch
from torch import Tensor

from softreg_core.data.part import Part
from softreg_core.engine.step.backward import accumulate
from softreg_core.engine.step.objective import Objective
from softreg_core.engine.step.perturb import Perturbed, perturbed
from softreg_core.engine.step.terms import Apart, Compared, Observer, Outcome
from softreg_core.losses.closed import ClosedGradient
from softreg_core.spec.train import TrainSpec

__all__ = ["ByAutograd", "ByClosedForm", "is_guarded", "is_perturbed", "shorten"]


def is_perturbed(spec: TrainSpec) -> bool:
    """Whether a network sees other rows than those of the batch."""
    return spec.penalties.mixup > 0.0 or spec.penalties.input_noise > 0.0


def is_guarded(spec: TrainSpec) -> bool:
    """Whether a step is looked at before its update; a run that fails looks seldom instead."""
    return spec.training.on_nonfinite != "fail"


class ByClosedForm:
    """From the gradient of the loss with respect to the predictions; the loss itself is computed when it is read."""

    def __init__(self, spec: TrainSpec, objective: Objective, closed: ClosedGradient) -> None:
        self._objective = objective
        self._trained = objective.trained()
        self._closed = closed
        self._is_alpha_constant = isinstance(objective.loss.weighing.alpha, float)
        self._has_penalties = spec.penalties.l1 > 0.0 or spec.penalties.l2 > 0.0

    def __call__(self, batch: Part, step: int, observe: Observer | None) -> Outcome:
        """Add the gradients of a batch without weights to the parameters' own; see `Stepper.take`."""
        prediction_BC = self._objective.predicted(batch, step).prediction
        bare_BC = prediction_BC.detach()
        if observe is not None:
            apart = self._closed.apart(bare_BC, batch.target, step)
            if apart is not None:
                observe(Apart(prediction_BC, *apart), self._trained)
        accumulate(prediction_BC, self._closed(bare_BC, batch.target, step))
        noted: dict[str, float | Tensor] = {}
        if self._closed.energy is not None:
            noted["energy"] = self._closed.energy
        if not self._is_alpha_constant:
            noted["alpha"] = self._objective.loss.weighing.alpha_at(step)
        if self._has_penalties:
            noted |= self._objective.penalise()
        compared = Compared(bare_BC, batch.target, noted)
        return Outcome(partial(self._objective.columns_of, compared), compared)


class ByAutograd:
    """Through the loss, whatever it is; a batch may go through the network in parts, one after the other."""

    def __init__(self, spec: TrainSpec, objective: Objective, forget: Callable[[], None]) -> None:
        """Args:
        spec: resolved.
        objective: of the run.
        forget: leaves the parameters without gradients.
        """
        self._spec = spec
        self._objective = objective
        self._trained = objective.trained()
        self._forget = forget
        self._is_perturbed = is_perturbed(spec)
        self._is_guarded = is_guarded(spec)
        net, loss = objective.net, objective.loss
        self._buffers = [*net.buffers(), *loss.buffers()]
        self._is_following = next(loss.buffers(), None) is not None

    def __call__(self, batch: Part, step: int, observe: Observer | None, parts: int) -> Outcome:
        """Add the gradients of a batch to the parameters' own; see `Stepper.take`."""
        # What the passes change on their own, as statistics of batch norm: a step that is left out leaves it alone.
        kept = [buffer.clone() for buffer in self._buffers] if self._is_guarded or self._is_following else []
        # Several calls of the loss are one step of what it follows; with one, asking would cost more than a layer.
        is_in_calls = parts > 1 or self._spec.penalties.mixup > 0.0
        try:
            with self._objective.loss.as_one_step() if is_in_calls else nullcontext():
                columns = self._backward(batch, step, observe, parts)
        except (MemoryError, RuntimeError):  # memory ran out, perhaps: then the step is taken again
            self._leave(kept)
            raise
        if self._is_guarded and not self._is_sound(columns["total"]):
            self._leave(kept)
            return Outcome(columns, is_taken=False)
        return Outcome(columns)

    def _leave(self, kept: list[Tensor]) -> None:
        """Nothing is left of the step's passes."""
        self._forget()
        for buffer, before in zip(self._buffers if kept else (), kept, strict=True):
            buffer.copy_(before)

    def _backward(self, batch: Part, step: int, observe: Observer | None, parts: int) -> dict[str, Tensor]:
        seen = Perturbed(batch)
        if self._is_perturbed:
            spec = self._spec
            is_regression = spec.task.kind == "regression"
            seen = perturbed(batch, spec.penalties, spec.training.seed, step, is_regression=is_regression)
        if parts > 1:
            return self._in_parts(seen, step, observe, parts)
        terms = self._objective.forward(seen, step)
        if observe is not None:
            observe(terms, self._trained)
        accumulate(terms.total, torch.ones_like(terms.total))
        return terms.columns()

    def _in_parts(self, seen: Perturbed, step: int, observe: Observer | None, parts: int) -> dict[str, Tensor]:
        """The gradient of the whole batch, from parts of it one after the other."""
        rows = seen.rows.rows
        size = -(-rows // parts)
        whole = self._objective.weight(seen.rows)
        mass = rows if whole is None else whole.sum().clamp(min=torch.finfo(whole.dtype).tiny)
        found: list[dict[str, Tensor]] = []
        for index, start in enumerate(range(0, rows, size)):
            terms = self._objective.forward(seen.take(slice(start, start + size)), step, index)
            if observe is not None and index == 0:
                observe(terms, self._trained)
            part = terms.parts.total.shape[0] if terms.weight is None else terms.weight.sum()
            share = terms.of_batch * (part / mass)
            objective = share if index else share + (terms.total - terms.of_batch)
            accumulate(objective, torch.ones_like(objective))
            found.append({name: column.detach() for name, column in terms.columns().items()})
        return {name: torch.cat([columns[name] for columns in found]) for name in found[0]}

    def _is_sound(self, total_B: Tensor) -> bool:
        """Whether the loss and its gradient are finite; waits for the device."""
        gradients = [p.grad for p in self._trained.values() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients, foreach=True)
        return bool(norm.isfinite() & total_B.detach().isfinite().all())


def shorten(gradients: list[Tensor], most: float) -> Tensor:
    """The norm of the gradients, which are shortened to `most` in place; as `clip_grad_norm_`, and sooner done."""
    norm: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))  # noqa: SLF001
    torch._foreach_mul_(gradients, (most / (norm + 1e-6)).clamp(max=1.0))
    return norm
