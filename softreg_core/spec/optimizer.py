"""The optimiser; names and defaults are torch's."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from softreg_core.spec.base import Flag, Number, SpecModel, default_kind

__all__ = ["AdamSpec", "OptimizerSpec", "SgdSpec"]

Fraction = Annotated[Number, Field(ge=0.0, lt=1.0)]
Rate = Annotated[Number, Field(gt=0.0, le=1e6)]


class AdamSpec(SpecModel):
    """Adam (Kingma and Ba 2015). Keras uses epsilon 1e-7 where torch uses 1e-8."""

    kind: Literal["adam"] = "adam"
    learning_rate: Rate = 0.001
    beta1: Fraction = 0.9
    beta2: Fraction = 0.999
    epsilon: Annotated[Number, Field(gt=0.0, le=1.0)] = 1e-8


class SgdSpec(SpecModel):
    """Stochastic gradient descent, optionally with (Nesterov) momentum."""

    kind: Literal["sgd"] = "sgd"
    learning_rate: Rate = 0.01
    momentum: Fraction = 0.0
    nesterov: Flag = False

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> SgdSpec:
        if self.nesterov and self.momentum == 0.0:
            raise PydanticCustomError("nesterov", "nesterov needs a momentum above 0")
        return self


OptimizerSpec = Annotated[AdamSpec | SgdSpec, Field(discriminator="kind"), default_kind("adam")]
