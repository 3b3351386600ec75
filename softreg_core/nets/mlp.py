"""Fully connected layers."""

from __future__ import annotations

import torch
from torch import nn

from softreg_core.nets.chain import ACTIVATIONS, Chain
from softreg_core.nets.fronts import flat_front
from softreg_core.nets.initialization import linear
from softreg_core.nets.noise import Dropout, Noise
from softreg_core.nets.norm import build_norm
from softreg_core.spec.inputs import InputShape
from softreg_core.spec.net import MlpSpec
from softreg_core.spec.widths import flat_width

__all__ = ["build_mlp"]


def build_mlp(spec: MlpSpec, shape: InputShape, outputs: int, generator: torch.Generator) -> nn.Module:
    """A chain of `hidden_0`, `activation_0`, ..., `output`; the names are those of the stored tensors."""
    layers = flat_front(shape, generator)
    width = flat_width(shape)
    noise = Noise()
    for index, after in enumerate(spec.hidden):
        layers[f"hidden_{index}"] = linear(width, after, spec.initialization, generator)
        norm = build_norm(spec.norm, after)
        if norm is not None:
            layers[f"norm_{index}"] = norm
        layers[f"activation_{index}"] = ACTIVATIONS[spec.activation]()
        if spec.dropout:
            layers[f"dropout_{index}"] = Dropout(spec.dropout, noise)
        width = after
    layers["output"] = linear(width, outputs, spec.initialization, generator)
    return Chain(layers)
