"""The divergences, which alpha weighs. docs/methods/ has a card for each kind."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from softreg_core.spec.base import Number, SpecModel

__all__ = [
    "ArticleSpec",
    "CauchySpec",
    "DivergenceSpec",
    "FixedVarianceSpec",
    "GaussianSpec",
    "InflationSpec",
    "SampleProgramSpec",
    "VarianceSpec",
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


DivergenceSpec = Annotated[
    ArticleSpec | InflationSpec | SampleProgramSpec | GaussianSpec | CauchySpec, Field(discriminator="kind")
]
