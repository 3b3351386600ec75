"""The network. docs/networks.md says what each kind takes and how its numbers are counted."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from softreg_core.spec.base import Flag, Int, Number, SpecModel, default_kind

__all__ = ["CnnSpec", "LinearSpec", "MlpSpec", "NetSpec", "ResnetSpec", "RnnSpec", "TransformerSpec"]

Width = Annotated[Int, Field(ge=1, le=16_384)]
Channels = Annotated[Int, Field(ge=1, le=2048)]
Rate = Annotated[Number, Field(ge=0.0, lt=1.0)]
# Left out of the canonical text where they are off: specs from before they existed keep their text and digest.
LaterRate = Annotated[Rate, Field(exclude_if=lambda value: value == 0.0)]


class LinearSpec(SpecModel):
    """One linear layer, over one-hot rows where there are categories and over shares of tokens where there is text.

    With cross_entropy it is logistic regression.
    """

    kind: Literal["linear"] = "linear"
    initialization: Literal["torch", "glorot_uniform"] = "torch"
    """As an mlp's."""


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


class CnnSpec(SpecModel):
    """Stages of 3 x 3 convolutions with norm and activation, 2 x 2 max-pooling between stages, and a last mean.

    Like VGG, for small images and for log-mel spectra; the output layer is linear.
    """

    kind: Literal["cnn"] = "cnn"
    channels: Annotated[tuple[Channels, ...], Field(min_length=1, max_length=8)] = (32, 64)
    """One stage for each number."""
    convolutions: Annotated[Int, Field(ge=1, le=8)] = 2
    """Of one stage."""
    activation: Literal["relu", "gelu", "silu", "leaky_relu"] = "relu"
    norm: Literal["none", "batch", "layer"] = "batch"
    """`layer`: over the channels of each position."""
    dropout: Rate = 0.0
    """Before the output layer."""
    initialization: Literal["torch", "glorot_uniform", "he_normal"] = "he_normal"
    """As an mlp's; of the convolutions. The output layer has `torch`'s."""


class ResnetSpec(SpecModel):
    """Residual network of He et al. 2016, section 4.2, for small images and for log-mel spectra.

    A convolution; three stages of blocks of two convolutions and a shortcut, of `width`, twice and four times as many
    channels; the mean over the last map; a linear output layer.
    """

    kind: Literal["resnet"] = "resnet"
    depth: Literal[20, 32, 44] = 20
    """Layers with weights: 3, 5 or 7 blocks in each stage."""
    width: Annotated[Int, Field(ge=1, le=512)] = 16
    norm: Literal["batch", "layer"] = "batch"
    """`layer`: over the channels of each position."""
    dropout: Rate = 0.0
    """Before the output layer."""
    initialization: Literal["torch", "glorot_uniform", "he_normal"] = "he_normal"
    """As a cnn's."""


class RnnSpec(SpecModel):
    """Recurrent layers over the steps of a row; what lies beyond a row's length has no part in it."""

    kind: Literal["rnn"] = "rnn"
    cell: Literal["lstm", "gru"] = "lstm"
    hidden: Annotated[Int, Field(ge=1, le=4096)] = 64
    """Units of one direction of one layer."""
    layers: Annotated[Int, Field(ge=1, le=8)] = 1
    bidirectional: Flag = True
    embedding: Annotated[Int, Field(ge=1, le=4096)] = 64
    """Numbers that stand for a token of text; other data has none."""
    pooling: Literal["mean", "last"] = "mean"
    """Over the steps, before the output layer; `last`: the last step of each direction."""
    norm: Literal["none", "layer"] = "none"
    """After each recurrent layer."""
    dropout: Rate = 0.0
    """After each recurrent layer: between them, and before pooling."""
    initialization: Literal["torch", "orthogonal"] = "torch"
    """`torch`: the library's default, uniform in +-1/sqrt(hidden); `orthogonal`: Glorot's for what comes in, orthogonal
    for what comes back, zero biases but 1 for an LSTM's forget gate."""


class TransformerSpec(SpecModel):
    """Encoder layers of self-attention, normalised before each branch; for a table one token for each column."""

    kind: Literal["transformer"] = "transformer"
    width: Annotated[Int, Field(ge=2, le=4096)] = 64
    """Of a token; even, and a multiple of `heads`."""
    layers: Annotated[Int, Field(ge=1, le=48)] = 2
    heads: Annotated[Int, Field(ge=1, le=64)] = 4
    expansion: Annotated[Int, Field(ge=1, le=16)] = 4
    """Hidden units of the fully connected branch are `expansion` times `width`."""
    activation: Literal["relu", "gelu", "silu"] = "gelu"
    dropout: Rate = 0.1
    """Of what each branch adds, of the branch's hidden units, and of the tokens that come in."""
    initialization: Literal["torch", "glorot_uniform"] = "glorot_uniform"
    """As an mlp's."""

    @model_validator(mode="after")
    def _width_divides(self) -> TransformerSpec:
        if self.width % self.heads or self.width % 2:
            raise PydanticCustomError(
                "net_sizes",
                "width {width} must be even and a multiple of {heads} heads",
                {"width": self.width, "heads": self.heads},
            )
        return self


NetSpec = Annotated[
    LinearSpec | MlpSpec | CnnSpec | ResnetSpec | RnnSpec | TransformerSpec,
    Field(discriminator="kind"),
    default_kind("mlp"),
]
