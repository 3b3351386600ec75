"""From an optimiser spec to torch's optimiser, by `kind`, and its state as named tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from softreg_core.errors import DataError
from softreg_core.spec.optimizer import AdamSpec, OptimizerSpec, SgdSpec

__all__ = ["OPTIMIZERS", "build_optimizer", "optimizer_tensors", "restore_optimizer"]


Parameters = dict[str, nn.Parameter]


def build_optimizer(spec: OptimizerSpec, parameters: Parameters) -> torch.optim.Optimizer:
    """The optimiser of named parameters that are already on their device.

    Fused: one kernel for all parameters. Left to itself, torch loops over them in Python on a CPU.
    """
    return OPTIMIZERS[spec.kind](spec, parameters)


def _adam(spec: AdamSpec, parameters: Parameters) -> torch.optim.Optimizer:
    return torch.optim.Adam(
        parameters.values(), lr=spec.learning_rate, betas=(spec.beta1, spec.beta2), eps=spec.epsilon, fused=True
    )


def _sgd(spec: SgdSpec, parameters: Parameters) -> torch.optim.Optimizer:
    return torch.optim.SGD(
        parameters.values(), lr=spec.learning_rate, momentum=spec.momentum, nesterov=spec.nesterov, fused=True
    )


OPTIMIZERS: dict[str, Callable[[Any, Parameters], torch.optim.Optimizer]] = {"adam": _adam, "sgd": _sgd}


def optimizer_tensors(optimizer: torch.optim.Optimizer, parameters: Parameters) -> dict[str, Tensor]:
    """Copies on the CPU, by `parameter/quantity`; none before the first step."""
    return {
        f"{name}/{quantity}": tensor.detach().to("cpu", copy=True)
        for name, parameter in parameters.items()
        for quantity, tensor in optimizer.state.get(parameter, {}).items()
        if tensor is not None
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, parameters: Parameters, tensors: dict[str, Tensor]) -> None:
    """Put copies of `tensors` in place of the optimiser's state.

    Raises:
        DataError: a tensor belongs to none of these parameters.
    """
    for key, tensor in tensors.items():
        name, _, quantity = key.rpartition("/")
        parameter = parameters.get(name)
        if parameter is None or tensor.shape not in (parameter.shape, torch.Size(())):
            raise DataError(f"the checkpoint's optimizer tensor '{key}' does not fit the network", "wrong_checkpoint")
        optimizer.state[parameter][quantity] = tensor.to(parameter.device, copy=True)
