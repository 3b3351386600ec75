"""Fully connected layers."""

from __future__ import annotations

import itertools
import math
from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import nn

from softreg_core.spec.inputs import InputShape
from softreg_core.spec.net import MlpSpec

__all__ = ["build_mlp"]

_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "elu": nn.ELU,
    "leaky_relu": nn.LeakyReLU,
}


def build_mlp(spec: MlpSpec, shape: InputShape, outputs: int, generator: torch.Generator) -> nn.Module:
    """A chain of `hidden_0`, `activation_0`, ..., `output`; the names are those of the stored tensors."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    if shape.kind != "table":
        raise ValueError(f"an mlp does not take inputs of kind {shape.kind}")
    widths = [shape.numbers, *spec.hidden, outputs]
    for index, (before, after) in enumerate(itertools.pairwise(widths)):
        # Created without memory first: nn.Linear would draw weights from the global generator.
        layer = nn.Linear(before, after, device="meta", dtype=torch.float32).to_empty(device="cpu")
        _initialize(layer, spec.initialization, generator)
        if index == len(spec.hidden):
            layers["output"] = layer
        else:
            layers[f"hidden_{index}"] = layer
            layers[f"activation_{index}"] = _ACTIVATIONS[spec.activation]()
    return nn.Sequential(layers)


@torch.no_grad()
def _initialize(layer: nn.Linear, how: str, generator: torch.Generator) -> None:
    inputs, outputs = layer.in_features, layer.out_features
    if how == "glorot_uniform":
        bound = math.sqrt(6.0 / (inputs + outputs))
        layer.weight.uniform_(-bound, bound, generator=generator)
        layer.bias.zero_()
    else:
        bound = 1.0 / math.sqrt(inputs)
        layer.weight.uniform_(-bound, bound, generator=generator)
        layer.bias.uniform_(-bound, bound, generator=generator)
