"""The state of training at a step boundary, whole: from it a run goes on bit for bit as if it had never stopped."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from softreg_core.errors import DataError

__all__ = ["Best", "TrainingState", "load_state", "load_tensors", "save_state"]

FORMAT = "softreg state 1"


@dataclass(frozen=True, slots=True)
class Best:
    """The best epoch so far by the monitored metric."""

    metric: str
    value: float
    step: int
    epoch: int


@dataclass(frozen=True, slots=True, eq=False)
class TrainingState:
    """Tensors on the CPU, and where the run stands.

    There is no random state in it: data order and initial weights are functions of the seed.
    """

    step: int
    """Optimiser steps done."""
    epoch: int
    """Epochs completed."""
    step_in_epoch: int
    """Steps done of the epoch that is under way; 0 between epochs."""
    loss_sums: dict[str, float]
    """Sums of each loss part, and of each other series, over the examples seen in the epoch that is under way."""
    metrics: dict[str, float]
    """Of the last completed epoch."""
    best: Best | None
    model: dict[str, Tensor]
    loss: dict[str, Tensor]
    """What the loss keeps between steps; empty for most."""
    optimizer: dict[str, Tensor]
    """By `parameter/quantity`."""
    more: dict[str, Tensor] = field(default_factory=dict)
    """By `owner/name`: what else changes from step to step, as a moving average of the weights."""
    numbers: dict[str, float] = field(default_factory=dict)
    """By `owner/name`: factors and counters, as the one of the learning rate."""


def save_state(state: TrainingState, path: Path) -> None:
    """Write one safetensors file; the numbers stand as JSON in its metadata."""
    facts: dict[str, Any] = {
        "format": FORMAT,
        "step": state.step,
        "epoch": state.epoch,
        "step_in_epoch": state.step_in_epoch,
        "loss_sums": state.loss_sums,
        "metrics": state.metrics,
        "best": None if state.best is None else asdict(state.best),
        "numbers": state.numbers,
    }
    tensors = {f"model/{name}": tensor for name, tensor in state.model.items()}
    tensors |= {f"loss/{name}": tensor for name, tensor in state.loss.items()}
    tensors |= {f"optimizer/{name}": tensor for name, tensor in state.optimizer.items()}
    tensors |= {f"more/{name}": tensor for name, tensor in state.more.items()}
    # One metadata key, so that equal states give equal bytes; NaN metrics stay NaN, this JSON is for us alone.
    save_file(tensors, path, metadata={"softreg": json.dumps(facts, sort_keys=True)})


def load_state(path: Path) -> TrainingState:
    """Read what `save_state` wrote.

    Raises:
        DataError: the file is torn or is no state of training.
        OSError: the machine cannot read it; that is not the data's fault.
    """
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {})["softreg"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a dict
        if facts.pop("format") != FORMAT:
            raise DataError("not a state of training that this version reads", "wrong_format")
        best = facts.pop("best")
        return TrainingState(
            **facts,
            best=None if best is None else Best(**best),
            model=_under("model/", tensors),
            loss=_under("loss/", tensors),
            optimizer=_under("optimizer/", tensors),
            more=_under("more/", tensors),
        )
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"not a state of training: {error}", "unreadable") from error


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def load_tensors(module: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Put stored tensors into a module.

    Raises:
        DataError: they are not this module's.
    """
    own = module.state_dict()
    if {name: tensor.shape for name, tensor in own.items()} != {n: t.shape for n, t in tensors.items()}:
        raise DataError("the checkpoint's tensors do not fit the network", "wrong_checkpoint")
    module.load_state_dict(tensors)
