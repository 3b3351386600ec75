"""The network."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from softreg_core.spec.base import Int, SpecModel

__all__ = ["MlpSpec", "NetSpec"]

Width = Annotated[Int, Field(ge=1, le=16_384)]


class MlpSpec(SpecModel):
    """Fully connected layers with an activation after each hidden one; the output layer is linear."""

    kind: Literal["mlp"] = "mlp"
    hidden: Annotated[tuple[Width, ...], Field(max_length=32)] = (64,)
    activation: Literal["relu", "tanh", "sigmoid", "gelu", "silu", "elu", "leaky_relu"] = "relu"
    initialization: Literal["torch", "glorot_uniform"] = "torch"
    """`torch`: the library's default, uniform in +-1/sqrt(inputs), biases too; `glorot_uniform`: as in Keras, zero
    biases."""


NetSpec = MlpSpec
