"""The loss: a base, and alpha times a divergence. docs/methods/ has a card for each kind."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from softreg_core.spec.base import Number, SpecModel

__all__ = [
    "ArticleSpec",
    "BaseSpec",
    "CauchySpec",
    "CrossEntropySpec",
    "DivergenceSpec",
    "FixedVarianceSpec",
    "GaussianSpec",
    "HalfSquaredErrorSpec",
    "InflationSpec",
    "LossSpec",
    "SampleProgramSpec",
    "VarianceSpec",
]


class HalfSquaredErrorSpec(SpecModel):
    """Half the squared error, summed over the outputs; for classes, of the raw outputs against one-hot rows."""

    kind: Literal["half_squared_error"] = "half_squared_error"


class CrossEntropySpec(SpecModel):
    """Minus the log probability of the true class, from logits; classification only, no divergence yet."""

    kind: Literal["cross_entropy"] = "cross_entropy"


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


BaseSpec = Annotated[HalfSquaredErrorSpec | CrossEntropySpec, Field(discriminator="kind")]
DivergenceSpec = Annotated[
    ArticleSpec | InflationSpec | SampleProgramSpec | GaussianSpec | CauchySpec, Field(discriminator="kind")
]


class LossSpec(SpecModel):
    """Per example: base + alpha * divergence. Without a divergence, alpha is 0."""

    base: BaseSpec = HalfSquaredErrorSpec()
    alpha: Annotated[Number, Field(ge=0.0, le=1e9)] = 0.01
    """Weight of the divergence; carries the base's units over the divergence's (which has none)."""
    divergence: DivergenceSpec | None = ArticleSpec()

    @model_validator(mode="before")
    @classmethod
    def _defaults_follow_the_base(cls, value: Any) -> Any:
        """The default divergence is the article's, which goes with squared error only; alpha follows it."""
        if not isinstance(value, dict):
            return value
        base = value.get("base", {})
        kind = base.get("kind") if isinstance(base, dict) else getattr(base, "kind", None)
        filled = dict(value)
        if kind == "cross_entropy":
            filled.setdefault("divergence", None)
        if filled.get("divergence", ...) is None:
            filled.setdefault("alpha", 0.0)
        return filled

    @model_validator(mode="after")
    def _parts_fit(self) -> LossSpec:
        if self.base.kind == "cross_entropy" and self.divergence is not None:
            raise PydanticCustomError(
                "loss_parts",
                "divergence '{divergence}' compares real values and goes with base half_squared_error, "
                "not with cross_entropy: set divergence to null or the base to half_squared_error",
                {"divergence": self.divergence.kind},
            )
        if self.divergence is None and self.alpha != 0.0:
            raise PydanticCustomError(
                "loss_parts", "alpha weighs a divergence, and there is none: set alpha to 0 or choose a divergence"
            )
        return self
