"""From an optimiser spec to torch's optimisers, by `kind`, and their state as named tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from softreg_core.engine.step.fused import BareStep, FusedAdam
from softreg_core.errors import DataError
from softreg_core.spec.optimizer import (
    AdagradSpec,
    AdamSpec,
    AdamwSpec,
    MuonSpec,
    OptimizerSpec,
    RmspropSpec,
    SgdSpec,
)

__all__ = ["OPTIMIZERS", "Optimizer", "build_optimizer", "is_weight", "optimizer_tensors", "restore_optimizer"]


Parameters = Mapping[str, nn.Parameter]
Group = dict[str, Any]


def is_weight(name: str, parameter: Tensor) -> bool:
    """Whether weight decay, l1 and l2 count it: not a bias or a norm's parameter, and not the loss's own.

    Those have one axis, but for a transformer's biases of columns.
    """
    return parameter.ndim > 1 and not name.startswith("loss.") and not name.endswith("bias")


class Optimizer:
    """One or two of torch's optimisers over disjoint parameters, taken as one, with a factor for all their rates."""

    def __init__(self, parts: list[torch.optim.Optimizer], decayed: list[nn.Parameter], decay: float = 0.0) -> None:
        """`decayed` are multiplied by 1 - rate * `decay` before each step, where torch's own does not do it."""
        self.parts = parts
        self._decayed: list[Tensor] = [*decayed] if decay else []
        self._decay = decay
        self._groups = [(group, float(group["lr"])) for part in parts for group in part.param_groups]
        self._updates = [_lean(part) for part in parts]
        self._parameters = [p for part in parts for group in part.param_groups for p in group["params"]]
        self._owners = {id(p): part for part in parts for group in part.param_groups for p in group["params"]}

    def set_factor(self, factor: float) -> None:
        """Of the learning rate that the spec names."""
        for group, rate in self._groups:
            group["lr"] = rate * factor

    @property
    def rate(self) -> float:
        """The learning rate of the step to come."""
        return float(self._groups[0][0]["lr"])

    def zero_grad(self) -> None:
        """Forget the last step's gradients."""
        for parameter in self._parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Update the parameters."""
        if self._decayed:
            torch._foreach_mul_(self._decayed, 1.0 - self.rate * self._decay)
        for update in self._updates:
            update.step()

    def forget(self) -> None:
        """Its state is about to be changed by others."""
        for update in self._updates:
            if isinstance(update, FusedAdam):
                update.forget()

    def state_of(self, parameter: nn.Parameter) -> dict[str, Any]:
        """What is kept of a parameter between steps; to be changed in place."""
        state: dict[str, Any] = self._owners[id(parameter)].state[parameter]
        return state

    def home_of(self, parameter: nn.Parameter, tensor: Tensor) -> torch.device:
        """Where a tensor of the state belongs: counters stay on the CPU unless one kernel updates everything."""
        is_fused = bool(self._owners[id(parameter)].param_groups[0].get("fused"))
        return parameter.device if tensor.ndim or is_fused else torch.device("cpu")


def build_optimizer(spec: OptimizerSpec, parameters: Parameters) -> Optimizer:
    """The optimiser of named parameters that are already on their device.

    Fused where torch offers it: one kernel for all parameters. Left to itself, torch loops over them in Python on a
    CPU.
    """
    return OPTIMIZERS[spec.kind](spec, parameters)


def _adam(spec: AdamSpec, parameters: Parameters) -> Optimizer:
    betas = (spec.beta1, spec.beta2)
    made = torch.optim.Adam(parameters.values(), lr=spec.learning_rate, betas=betas, eps=spec.epsilon, fused=True)
    return Optimizer([made], [])


def _adamw(spec: AdamwSpec, parameters: Parameters) -> Optimizer:
    betas = (spec.beta1, spec.beta2)
    groups = _groups(parameters, spec.weight_decay)
    return Optimizer([torch.optim.AdamW(groups, lr=spec.learning_rate, betas=betas, eps=spec.epsilon, fused=True)], [])


def _sgd(spec: SgdSpec, parameters: Parameters) -> Optimizer:
    made = torch.optim.SGD(
        parameters.values(), lr=spec.learning_rate, momentum=spec.momentum, nesterov=spec.nesterov, fused=True
    )
    # Torch's own weight decay is l2: it passes through the momentum.
    return Optimizer([made], [p for name, p in parameters.items() if is_weight(name, p)], spec.weight_decay)


def _rmsprop(spec: RmspropSpec, parameters: Parameters) -> Optimizer:
    made = torch.optim.RMSprop(
        parameters.values(),
        lr=spec.learning_rate,
        alpha=spec.smoothing,
        eps=spec.epsilon,
        momentum=spec.momentum,
        centered=spec.centered,
        foreach=True,  # there is no fused one
    )
    return Optimizer([made], [])


def _adagrad(spec: AdagradSpec, parameters: Parameters) -> Optimizer:
    # Fused on a CPU only.
    on_cpu = all(parameter.device.type == "cpu" for parameter in parameters.values())
    how: dict[str, bool] = {"fused": True} if on_cpu else {"foreach": True}
    return Optimizer(
        [torch.optim.Adagrad(parameters.values(), lr=spec.learning_rate, eps=spec.epsilon, **how)],
        [],
    )


def _muon(spec: MuonSpec, parameters: Parameters) -> Optimizer:
    matrices = {name: p for name, p in parameters.items() if _is_hidden_matrix(name, p)}
    rest = {name: p for name, p in parameters.items() if name not in matrices}
    parts: list[torch.optim.Optimizer] = []
    if matrices:
        parts.append(
            torch.optim.Muon(
                matrices.values(),
                lr=spec.learning_rate,
                weight_decay=spec.weight_decay,
                momentum=spec.momentum,
                nesterov=spec.nesterov,
                adjust_lr_fn="match_rms_adamw",
            )
        )
    if rest:
        parts.append(torch.optim.AdamW(_groups(rest, spec.weight_decay), lr=spec.learning_rate, fused=True))
    return Optimizer(parts, [])


def _is_hidden_matrix(name: str, parameter: Tensor) -> bool:
    """Muon's authors leave embeddings and the output layer to AdamW; torch's takes two axes and no more."""
    return (
        is_weight(name, parameter) and parameter.ndim == 2 and not name.startswith("output.") and ("embed" not in name)
    )


def _lean(part: torch.optim.Optimizer) -> torch.optim.Optimizer | BareStep | FusedAdam:
    """The one to take steps with; on CUDA it is torch's own, which looks for overflow and may be captured."""
    if not all(p.device.type == "cpu" for group in part.param_groups for p in group["params"]):
        return part
    if isinstance(part, torch.optim.Adam) and all(group["fused"] for group in part.param_groups):
        return FusedAdam(part)
    return BareStep(part)


def _groups(parameters: Parameters, decay: float) -> list[Group]:
    """Those that decay and those that do not."""
    decayed = [p for name, p in parameters.items() if is_weight(name, p)]
    others = [p for name, p in parameters.items() if not is_weight(name, p)]
    groups: list[Group] = [{"params": decayed, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


OPTIMIZERS: dict[str, Callable[[Any, Parameters], Optimizer]] = {
    "adam": _adam,
    "adamw": _adamw,
    "sgd": _sgd,
    "rmsprop": _rmsprop,
    "adagrad": _adagrad,
    "muon": _muon,
}


def optimizer_tensors(optimizer: Optimizer, parameters: Parameters) -> dict[str, Tensor]:
    """The state itself, no copies, by `parameter/quantity`; of most, none before the first step."""
    return {
        f"{name}/{quantity}": tensor
        for name, parameter in parameters.items()
        for quantity, tensor in optimizer.state_of(parameter).items()
        if tensor is not None
    }


def restore_optimizer(optimizer: Optimizer, parameters: Parameters, tensors: Mapping[str, Tensor]) -> None:
    """Put copies of `tensors` in place of the optimiser's state.

    Raises:
        DataError: a tensor belongs to none of these parameters.
    """
    optimizer.forget()
    for parameter in parameters.values():
        optimizer.state_of(parameter).clear()
    for key, tensor in tensors.items():
        name, _, quantity = key.rpartition("/")
        owner = parameters.get(name)
        if owner is None or tensor.shape not in (owner.shape, torch.Size(())):
            raise DataError(f"the checkpoint's optimizer tensor '{key}' does not fit the network", "wrong_checkpoint")
        own = tensor.to(optimizer.home_of(owner, tensor), copy=True)
        if own.ndim and own.stride() != owner.stride():  # kernels for all parameters want one layout
            own = torch.empty_like(owner, dtype=own.dtype).copy_(own)
        optimizer.state_of(owner)[quantity] = own
