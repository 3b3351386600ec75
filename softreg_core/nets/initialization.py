"""Layers with initial weights from a generator of their own."""

from __future__ import annotations

import math
from typing import TypeVar

import torch
from torch import Tensor, nn

__all__ = ["conv", "embedding", "linear", "with_memory"]

Layer = TypeVar("Layer", bound=nn.Module)


def with_memory(layer: Layer) -> Layer:
    """A layer of device `meta` with memory on the CPU, not filled.

    Differs: `Module.to_empty` imports torch's symbolic shapes, which takes a quarter of a second and 30 MB.
    """
    layer._apply(lambda tensor: torch.empty(tensor.shape, dtype=tensor.dtype))  # type: ignore[no-untyped-call]  # noqa: SLF001
    return layer


def linear(inputs: int, outputs: int, how: str, generator: torch.Generator) -> nn.Linear:
    """A fully connected layer; see `_fill` for `how`."""
    # Created without memory first: torch's layers would draw weights from the global generator.
    layer = with_memory(nn.Linear(inputs, outputs, device="meta", dtype=torch.float32))
    _fill(layer.weight, layer.bias, inputs, outputs, how, generator)
    return layer


def conv(inputs: int, outputs: int, stride: int, how: str, generator: torch.Generator, *, bias: bool) -> nn.Conv2d:
    """A 3 x 3 convolution with a border of zeros; see `_fill` for `how`; fans count the kernel's nine places."""
    layer = with_memory(
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=bias, device="meta", dtype=torch.float32)
    )
    _fill(layer.weight, layer.bias, 9 * inputs, 9 * outputs, how, generator)
    return layer


@torch.no_grad()
def embedding(count: int, width: int, generator: torch.Generator) -> nn.Embedding:
    """A table of `count` rows, standard normal as in torch."""
    layer = with_memory(nn.Embedding(count, width, device="meta", dtype=torch.float32))
    layer.weight.normal_(generator=generator)
    return layer


@torch.no_grad()
def _fill(weight: Tensor, bias: Tensor | None, inputs: int, outputs: int, how: str, generator: torch.Generator) -> None:
    """Draw weights.

    `torch`: the library's default, uniform in +-1/sqrt(inputs), biases too. `glorot_uniform`: uniform in
    +-sqrt(6 / (inputs + outputs)), zero biases. `he_normal`: normal with variance 2 / inputs, zero biases.
    """
    if how == "torch":
        bound = 1.0 / math.sqrt(inputs)
        weight.uniform_(-bound, bound, generator=generator)
        if bias is not None:
            bias.uniform_(-bound, bound, generator=generator)
        return
    if how == "glorot_uniform":
        bound = math.sqrt(6.0 / (inputs + outputs))
        weight.uniform_(-bound, bound, generator=generator)
    else:
        weight.normal_(std=math.sqrt(2.0 / inputs), generator=generator)
    if bias is not None:
        bias.zero_()
