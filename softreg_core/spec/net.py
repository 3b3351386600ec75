"""The network. docs/networks.md says what each kind takes and how its numbers are counted."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from softreg_core.spec.base import Int, Number, SpecModel

__all__ = ["MlpSpec", "NetSpec"]

Width = Annotated[Int, Field(ge=1, le=16_384)]
Rate = Annotated[Number, Field(ge=0.0, lt=1.0)]
# Left out of the canonical text where they are off: specs from before they existed keep their text and digest.
LaterRate = Annotated[Rate, Field(exclude_if=lambda value: value == 0.0)]


class MlpSpec(SpecModel):
    """Fully connected layers with an activation after each hidden one; the output layer is linear."""

    kind: Literal["mlp"] = "mlp"
    hidden: Annotated[tuple[Width, ...], Field(max_length=32)] = (64,)
    activation: Literal["relu", "tanh", "sigmoid", "gelu", "silu", "elu", "leaky_relu"] = "relu"
    initialization: Literal["torch", "glorot_uniform", "he_normal"] = "torch"
    """`torch`: the library's default, uniform in +-1/sqrt(inputs), biases too; `glorot_uniform`: as in Keras, zero
    biases; `he_normal`: variance 2/inputs, zero biases."""
    dropout: LaterRate = 0.0
    """After each activation: the share of hidden units that a training step leaves out."""
    norm: Annotated[Literal["none", "batch", "layer"], Field(exclude_if=lambda value: value == "none")] = "none"
    """Before each activation."""


NetSpec = MlpSpec
