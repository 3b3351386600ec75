"""The optimiser; names and defaults are torch's, where it says nothing else."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from softreg_core.spec.base import Flag, Number, SpecModel, default_kind

__all__ = ["AdagradSpec", "AdamSpec", "AdamwSpec", "MuonSpec", "OptimizerSpec", "RmspropSpec", "SgdSpec"]

Fraction = Annotated[Number, Field(ge=0.0, lt=1.0)]
Rate = Annotated[Number, Field(gt=0.0, le=1e6)]
Epsilon = Annotated[Number, Field(gt=0.0, le=1.0)]
# Each step multiplies the weights by 1 - learning rate * decay, biases and norms excepted.
Decay = Annotated[Number, Field(ge=0.0, le=1e6)]


class AdamSpec(SpecModel):
    """Adam (Kingma and Ba 2015). Keras uses epsilon 1e-7 where torch uses 1e-8."""

    kind: Literal["adam"] = "adam"
    learning_rate: Rate = 0.001
    beta1: Fraction = 0.9
    beta2: Fraction = 0.999
    epsilon: Epsilon = 1e-8


class AdamwSpec(SpecModel):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019)."""

    kind: Literal["adamw"] = "adamw"
    learning_rate: Rate = 0.001
    beta1: Fraction = 0.9
    beta2: Fraction = 0.999
    epsilon: Epsilon = 1e-8
    weight_decay: Decay = 0.01
    """Each step also multiplies the weights by 1 - learning_rate * weight_decay; biases and norms are excepted."""


class SgdSpec(SpecModel):
    """Stochastic gradient descent, optionally with (Nesterov) momentum."""

    kind: Literal["sgd"] = "sgd"
    learning_rate: Rate = 0.01
    momentum: Fraction = 0.0
    nesterov: Flag = False
    # Left out of the canonical text when it is 0: specs from before it existed keep their text and digest.
    weight_decay: Annotated[Decay, Field(exclude_if=lambda value: value == 0.0)] = 0.0
    """As adamw's, decoupled: it does not pass through the momentum, as torch's argument of this name does."""

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> SgdSpec:
        if self.nesterov and self.momentum == 0.0:
            raise PydanticCustomError("nesterov", "nesterov needs a momentum above 0")
        return self


class RmspropSpec(SpecModel):
    """The gradient over a moving root mean square of itself (Hinton 2012)."""

    kind: Literal["rmsprop"] = "rmsprop"
    learning_rate: Rate = 0.01
    smoothing: Fraction = 0.99
    """Of the moving mean of squares; torch calls it alpha."""
    epsilon: Epsilon = 1e-8
    momentum: Fraction = 0.0
    centered: Flag = False
    """Divide by the standard deviation of the gradient instead."""


class AdagradSpec(SpecModel):
    """The gradient over the root of the sum of its squares so far (Duchi and others 2011)."""

    kind: Literal["adagrad"] = "adagrad"
    learning_rate: Rate = 0.01
    epsilon: Epsilon = 1e-10


class MuonSpec(SpecModel):
    """Orthogonalised momentum for the matrices of hidden layers (Jordan 2024); adamw for everything else.

    Steps of a matrix are scaled to the root mean square of adamw's, so that one learning rate serves both.
    """

    kind: Literal["muon"] = "muon"
    learning_rate: Rate = 0.001
    momentum: Fraction = 0.95
    nesterov: Flag = True
    weight_decay: Decay = 0.01
    """Decoupled, as adamw's."""


OptimizerSpec = Annotated[
    AdamSpec | AdamwSpec | SgdSpec | RmspropSpec | AdagradSpec | MuonSpec,
    Field(discriminator="kind"),
    default_kind("adam"),
]
