"""Modules one after the other, and the activations between them."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

__all__ = ["ACTIVATIONS", "Chain"]

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "elu": nn.ELU,
    "leaky_relu": nn.LeakyReLU,
}


class Chain(nn.Sequential):
    """The first module takes what the network is called with, each other one what the one before gives."""

    def forward(self, *inputs: Tensor) -> Tensor:
        """The network's inputs; what the last module gives."""
        first, *rest = self
        values = first(*inputs)
        for module in rest:
            values = module(values)
        answer: Tensor = values
        return answer
