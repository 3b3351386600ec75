"""Optimisers over all members at once, each with a rate and a weight decay of its own.

Torch's fused kernels take one rate. Where rates differ they are run with rate 1 on a buffer of zeros: it then holds
minus the step of rate 1, which every member takes times its own rate. ADR 0014 compares that with a call of the kernel
for each member, and with the formula over lists of tensors.
"""

# M members

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from softreg_core.engine.pack.stack import Stack
from softreg_core.engine.program import UPDATES
from softreg_core.engine.step.optimizer import is_weight
from softreg_core.spec.train import TrainSpec

__all__ = ["PackedUpdate"]

_FUSED = frozenset({"adam", "adamw", "sgd"})


class PackedUpdate:
    """Changes a stack in place."""

    def __init__(self, spec: TrainSpec) -> None:
        self._optimizer: Any = spec.optimizer
        self._zeros: dict[str, Tensor] = {}

    @torch.no_grad()
    def __call__(
        self, stack: Stack, gradients: Mapping[str, Tensor], numbers: Mapping[str, Tensor], rate: float | None
    ) -> None:
        """One step.

        Args:
            stack: its parameters, moments and counter move.
            gradients: by parameter, (M, ...); a parameter without one stays as it is.
            numbers: `learning_rate` and perhaps `weight_decay`, float64 (M,).
            rate: that of all members, where it is one.
        """
        stack.count += 1.0
        rate_M, decay_M = numbers["learning_rate"], numbers.get("weight_decay")
        if self._optimizer.kind not in _FUSED:
            self._by_formula(stack, gradients, numbers)
            return
        if decay_M is not None:
            for name in gradients:
                if is_weight(name, stack.trained[name][0]):
                    stack.trained[name].mul_(_beside(1.0 - rate_M * decay_M, stack.trained[name]))
        if rate is not None:
            self._fused([stack.trained[name] for name in gradients], stack, gradients, rate)
            return
        if self._zeros.keys() != gradients.keys() or next(iter(self._zeros.values())).shape[0] != stack.members:
            self._zeros = {name: torch.empty_like(stack.trained[name]) for name in gradients}
        steps = list(self._zeros.values())
        torch._foreach_zero_(steps)
        self._fused(steps, stack, gradients, 1.0)
        for name, step in self._zeros.items():
            stack.trained[name].addcmul_(step, _beside(rate_M, step))

    def _fused(self, targets: list[Tensor], stack: Stack, gradients: Mapping[str, Tensor], rate: float) -> None:
        spec, found = self._optimizer, list(gradients.values())
        moments = [stack.moments[name] for name in gradients]
        if spec.kind == "sgd" and spec.momentum == 0.0:
            torch._foreach_add_(targets, found, alpha=-rate)
            return
        shared: dict[str, Any] = {
            "maximize": False,
            "grad_scale": None,
            "found_inf": None,
            "weight_decay": 0.0,
            "lr": rate,
        }
        if spec.kind == "sgd":
            kept = [of["momentum_buffer"] for of in moments]
            how: dict[str, Any] = {
                "momentum": spec.momentum,
                "nesterov": spec.nesterov,
                "dampening": 0.0,
                "is_first_step": False,
            }
            torch._fused_sgd_(targets, found, kept, **how, **shared)
            return
        means, squares = ([of[name] for of in moments] for name in ("exp_avg", "exp_avg_sq"))
        counts = [stack.count.to(targets[0].device)] * len(targets)
        betas: dict[str, Any] = {"beta1": spec.beta1, "beta2": spec.beta2, "eps": spec.epsilon, "amsgrad": False}
        torch._fused_adam_(targets, found, means, squares, [], counts, **betas, **shared)

    def _by_formula(self, stack: Stack, gradients: Mapping[str, Tensor], numbers: Mapping[str, Tensor]) -> None:
        count = stack.count.double()

        def one(parameter: Tensor, gradient: Tensor, kept: dict[str, Tensor], rate: Tensor) -> Any:
            given = {"learning_rate": rate, "count": count}
            return UPDATES[self._optimizer.kind](self._optimizer, parameter, gradient, kept, given)

        for name, gradient in gradients.items():
            given = (stack.trained[name], gradient, stack.moments[name], numbers["learning_rate"])
            moved, kept = torch.vmap(one)(*given)
            stack.trained[name].copy_(moved)
            for quantity, tensor in kept.items():
                stack.moments[name][quantity].copy_(tensor)


def _beside(values_M: Tensor, tensor: Tensor) -> Tensor:
    """(M, 1, ...), of the tensor's dtype."""
    return values_M.to(tensor.dtype).view(-1, *[1] * (tensor.ndim - 1))
