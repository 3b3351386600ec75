"""The divergences, which alpha weighs. docs/methods/ has a card for each kind."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from softreg_core.spec.base import Flag, Number, SpecModel, default_kind

__all__ = [
    "ArticleSpec",
    "CategoricalSpec",
    "CauchySpec",
    "DivergenceSpec",
    "FixedVarianceSpec",
    "GaussianSpec",
    "GemanMcClureSpec",
    "InflationSpec",
    "SampleProgramSpec",
    "UniformSpec",
    "VarianceSpec",
    "WelschSpec",
]


class FixedVarianceSpec(SpecModel):
    """sigma2 is the number given, in squared units of the (standardised) target."""

    kind: Literal["fixed"] = "fixed"
    value: Annotated[Number, Field(ge=1e-12, le=1e12)] = 1.0


VarianceSpec = FixedVarianceSpec


class ArticleSpec(SpecModel):
    """The article's section 3.3 as printed: never positive; takes weight off residuals near sigma."""

    kind: Literal["article"] = "article"
    variance: VarianceSpec = FixedVarianceSpec()


class InflationSpec(SpecModel):
    """Minus `article`: the divergence whose negative the article printed; adds weight near sigma."""

    kind: Literal["inflation"] = "inflation"
    variance: VarianceSpec = FixedVarianceSpec()


class SampleProgramSpec(SpecModel):
    """The article's section 4: the variance is the batch's mean squared prediction; it couples a batch's rows."""

    kind: Literal["sample_program"] = "sample_program"


class GaussianSpec(SpecModel):
    """KL between normal distributions around prediction and target; with the same variance, d2 / (2 sigma2)."""

    kind: Literal["gaussian"] = "gaussian"
    prediction_variance: Literal["same"] = "same"
    variance: VarianceSpec = FixedVarianceSpec()


class CauchySpec(SpecModel):
    """C/2 ln(1 + d2 / (C sigma2)): the Gaussian divergence with its variance minimised out."""

    kind: Literal["cauchy"] = "cauchy"
    variance: VarianceSpec = FixedVarianceSpec()


class GemanMcClureSpec(SpecModel):
    """1/2 u / (1 + u), u = d2 / sigma2: bounded; what is far away pulls no more."""

    kind: Literal["geman_mcclure"] = "geman_mcclure"
    variance: VarianceSpec = FixedVarianceSpec()


class WelschSpec(SpecModel):
    """1/2 (1 - exp(-u)), u = d2 / sigma2: bounded, and flat far out sooner than geman_mcclure."""

    kind: Literal["welsch"] = "welsch"
    variance: VarianceSpec = FixedVarianceSpec()


class CategoricalSpec(SpecModel):
    """A divergence of the predicted class distribution p and the label q, softened by epsilon; for bases of classes."""

    kind: Literal["categorical"] = "categorical"
    direction: Literal["prediction_to_target", "target_to_prediction", "jeffreys", "jensen_shannon"] = (
        "prediction_to_target"
    )
    epsilon: Annotated[Number, Field(ge=0.0, lt=1.0)] = 0.1
    """q is (1 - epsilon) onehot + epsilon / K. Above 0 for prediction_to_target and jeffreys."""
    temperature: Annotated[Number, Field(ge=0.01, le=100.0)] = 1.0
    """Divides the logits."""
    normalize: Flag = False
    """prediction_to_target only: divide by ln(q_y / q_other), so that its linear part has the slope 1 in p."""

    @model_validator(mode="after")
    def _is_defined(self) -> CategoricalSpec:
        if self.epsilon == 0.0 and self.direction in ("prediction_to_target", "jeffreys"):
            raise PydanticCustomError(
                "loss_parts",
                "{direction} is infinite for a label that is not softened: choose epsilon above 0",
                {"direction": self.direction},
            )
        if self.normalize and self.direction != "prediction_to_target":
            raise PydanticCustomError("loss_parts", "normalize goes with direction prediction_to_target only")
        return self


class UniformSpec(SpecModel):
    """Confidence penalty: KL of the predicted class distribution to the uniform one; for bases of classes."""

    kind: Literal["uniform"] = "uniform"
    threshold: Annotated[Number, Field(gt=0.0, le=100.0)] | None = None
    """In nats: only an entropy below it costs, namely the difference."""


DivergenceSpec = Annotated[
    ArticleSpec
    | InflationSpec
    | SampleProgramSpec
    | GaussianSpec
    | CauchySpec
    | GemanMcClureSpec
    | WelschSpec
    | CategoricalSpec
    | UniformSpec,
    Field(discriminator="kind"),
    default_kind("article"),
]
