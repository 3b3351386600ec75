"""The optimisers as updates of tensors that stay where they are, for a step that is recorded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from softreg_core.engine.program.updates import UPDATES
from softreg_core.engine.step.optimizer import is_weight
from softreg_core.spec.optimizer import AdamSpec, AdamwSpec, OptimizerSpec, SgdSpec

__all__ = ["Inplace", "inplace_update"]

Moments = Mapping[str, Tensor]
Inplace = Callable[[Mapping[str, Tensor], "float | Tensor"], None]
"""Called with gradients by parameter, and the learning rate: a number, or a tensor of no dimension."""


def inplace_update(spec: OptimizerSpec, trained: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> Inplace:
    """The step of the eager engine's optimiser, by the same kernels where torch has one for all parameters.

    Args:
        spec: of the optimiser.
        trained: parameters by name.
        state: the optimiser's, by `parameter/quantity`, with counters as 0-dimensional tensors.
    """
    if isinstance(spec, AdamSpec | AdamwSpec):
        return _Adam(spec, trained, state)
    if isinstance(spec, SgdSpec):
        return _Sgd(spec, trained, state)
    return _Formula(spec, trained, state)


class _Adam:
    def __init__(self, spec: AdamSpec | AdamwSpec, trained: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
        self._trained, self._state = trained, state
        self._decay = getattr(spec, "weight_decay", 0.0)
        self._kernel = torch._fused_adamw_ if isinstance(spec, AdamwSpec) else torch._fused_adam_
        self._constant: dict[str, Any] = {"beta1": spec.beta1, "beta2": spec.beta2, "eps": spec.epsilon}
        self._constant |= {"amsgrad": False, "maximize": False}

    def __call__(self, gradients: Mapping[str, Tensor], rate: float | Tensor) -> None:
        decayed = [name for name in gradients if self._decay and is_weight(name, self._trained[name])]
        others = [name for name in gradients if name not in set(decayed)]
        if isinstance(rate, Tensor):
            rate = rate.float()  # what the kernel reads
        for names, decay in ((decayed, self._decay), (others, 0.0)):
            if names:
                self._step(names, gradients, rate, decay)

    def _step(self, names: list[str], gradients: Mapping[str, Tensor], rate: float | Tensor, decay: float) -> None:
        means, squares, counts = (
            [self._state[f"{name}/{quantity}"] for name in names] for quantity in ("exp_avg", "exp_avg_sq", "step")
        )
        torch._foreach_add_(counts, 1.0)
        parameters = [self._trained[name] for name in names]
        of_names = [gradients[name] for name in names]
        self._kernel(parameters, of_names, means, squares, [], counts, lr=rate, weight_decay=decay, **self._constant)


class _Sgd:
    def __init__(self, spec: SgdSpec, trained: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
        self._spec, self._trained, self._state = spec, trained, state
        is_decaying = spec.weight_decay > 0.0
        self._decayed = [p for name, p in trained.items() if is_decaying and is_weight(name, p)]

    def __call__(self, gradients: Mapping[str, Tensor], rate: float | Tensor) -> None:
        spec = self._spec
        if self._decayed:
            factor = 1.0 - rate * spec.weight_decay
            is_tensor = isinstance(factor, Tensor)
            torch._foreach_mul_(self._decayed, factor.float() if is_tensor else factor)  # type: ignore[union-attr]
        parameters = [self._trained[name] for name in gradients]
        # Zeros before the first step: momentum times nothing, and the gradient, as the first step has it.
        kept = [self._state[f"{name}/momentum_buffer"] for name in gradients] if spec.momentum else []
        torch._fused_sgd_(
            parameters,
            list(gradients.values()),
            kept,
            weight_decay=0.0,
            momentum=spec.momentum,
            lr=rate.float() if isinstance(rate, Tensor) else rate,
            dampening=0.0,
            nesterov=spec.nesterov,
            maximize=False,
            is_first_step=False,
        )


class _Formula:
    """Of one parameter after the other."""

    def __init__(self, spec: OptimizerSpec, trained: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
        self._spec, self._trained = spec, trained
        self._moments: dict[str, dict[str, Tensor]] = {name: {} for name in trained}
        for key, tensor in state.items():
            name, _, quantity = key.rpartition("/")
            if quantity != "step":
                self._moments[name][quantity] = tensor

    def __call__(self, gradients: Mapping[str, Tensor], rate: float | Tensor) -> None:
        first = next(iter(gradients.values()))
        given = rate if isinstance(rate, Tensor) else torch.full((), rate, dtype=torch.float64, device=first.device)
        update = UPDATES[self._spec.kind]
        for name, gradient in gradients.items():
            parameter, moments = self._trained[name], self._moments[name]
            after, moved = update(self._spec, parameter, gradient, dict(moments), {"learning_rate": given})
            parameter.copy_(after)
            for quantity, tensor in moved.items():
                moments[quantity].copy_(tensor)
