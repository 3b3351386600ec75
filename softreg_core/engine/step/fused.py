"""Steps of torch's optimisers without their preparations, which take longer than the step of a small network."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["BareStep", "FusedAdam"]


class BareStep:
    """An optimiser's own arithmetic; its hooks, and the compiler that they import, are left out.

    The import takes most of a second and 100 MB of each training process.
    """

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self._optimizer = optimizer
        self._step: Callable[[torch.optim.Optimizer], object] = inspect.unwrap(type(optimizer).step)

    def step(self) -> None:
        """Update the parameters that have gradients; to be called without gradients switched on."""
        self._step(self._optimizer)


class FusedAdam:
    """Calls the kernel with lists that are made once; the state is torch's own, where it always lies.

    What `torch.optim.Adam.step` does besides, hooks, groups by device, a counter for each parameter, is done here once
    or for all parameters together. The numbers are the same.
    """

    def __init__(self, optimizer: torch.optim.Adam) -> None:
        """Fused, with parameters on one device."""
        self._optimizer = optimizer
        self._bare = BareStep(optimizer)
        self._kernel = torch._fused_adamw_ if isinstance(optimizer, torch.optim.AdamW) else torch._fused_adam_
        self._groups: list[_Group] | None = None

    def forget(self) -> None:
        """Others changed the state, or are about to."""
        self._groups = None

    def step(self) -> None:
        """Update the parameters that have gradients; to be called without gradients switched on."""
        if self._groups is None:
            self._groups = _groups_of(self._optimizer)
        if self._groups is None or not all(group.has_gradients() for group in self._groups):
            self.forget()
            self._bare.step()
            return
        for group in self._groups:
            group.step(self._kernel)


class _Group:
    """Parameters with the same numbers."""

    def __init__(self, options: dict[str, Any], states: list[dict[str, Any]]) -> None:
        self._options = options
        self._parameters: list[nn.Parameter] = options["params"]
        self._means: list[Tensor] = [state["exp_avg"] for state in states]
        self._squares: list[Tensor] = [state["exp_avg_sq"] for state in states]
        # One counter, of which each parameter's is a view: they are raised by one operation.
        self._counts = torch.stack([state["step"] for state in states])
        self._count_of_each = list(self._counts.unbind())
        for state, count in zip(states, self._count_of_each, strict=True):
            state["step"] = count
        self._one = torch.ones_like(self._counts)
        self._constant = {"amsgrad": False, "maximize": False, "eps": options["eps"]}
        self._constant["beta1"], self._constant["beta2"] = options["betas"]
        self._constant["weight_decay"] = options["weight_decay"]

    def has_gradients(self) -> bool:
        return all(parameter.grad is not None for parameter in self._parameters)

    def step(self, kernel: Any) -> None:
        gradients = [parameter.grad for parameter in self._parameters]
        self._counts.add_(self._one)
        kernel(
            self._parameters,
            gradients,
            self._means,
            self._squares,
            [],
            self._count_of_each,
            lr=self._options["lr"],
            **self._constant,
        )


def _groups_of(optimizer: torch.optim.Adam) -> list[_Group] | None:
    """None where a parameter has neither state nor gradient: torch makes the state with the first gradient."""
    found = []
    for options in optimizer.param_groups:
        for parameter in options["params"]:
            if parameter.grad is None and not optimizer.state[parameter]:
                return None
            optimizer.state[parameter] = optimizer.state[parameter] or _first_state(parameter)
        found.append(_Group(options, [optimizer.state[parameter] for parameter in options["params"]]))
    return found


def _first_state(parameter: nn.Parameter) -> dict[str, Any]:
    """As `torch.optim.Adam` makes it at its first step, which is never taken."""
    return {
        "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
        "exp_avg": torch.zeros_like(parameter, memory_format=torch.preserve_format),
        "exp_avg_sq": torch.zeros_like(parameter, memory_format=torch.preserve_format),
    }
