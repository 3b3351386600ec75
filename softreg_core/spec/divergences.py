"""The divergences, which alpha weighs. docs/methods/ has a card for each kind."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from softreg_core.spec.base import Flag, Head, Number, SpecModel, default_kind

__all__ = [
    "MODEL_PATTERN",
    "ArticleSpec",
    "CategoricalSpec",
    "CauchySpec",
    "DivergenceSpec",
    "EmaTeacherSpec",
    "FixedVarianceSpec",
    "GaussianSpec",
    "GemanMcClureSpec",
    "InflationSpec",
    "ModelTeacherSpec",
    "OutputVarianceSpec",
    "ResidualVarianceSpec",
    "SampleProgramSpec",
    "TargetVarianceSpec",
    "TeacherSpec",
    "TwinSpec",
    "UniformSpec",
    "VarianceSpec",
    "WelschSpec",
]


MODEL_PATTERN = r"^mdl_[0-9a-z]{26}$"


class FixedVarianceSpec(SpecModel):
    """sigma2 is the number given, in squared units of the (standardised) target."""

    kind: Literal["fixed"] = "fixed"
    value: Annotated[Number, Field(ge=1e-12, le=1e12)] = 1.0


Floor = Annotated[Number, Field(ge=1e-12, le=1e12)]


class TargetVarianceSpec(SpecModel):
    """sigma2 is the variance of the training targets, averaged over the outputs: 1 where they are standardised."""

    kind: Literal["target"] = "target"
    floor: Floor = 1e-6


class ResidualVarianceSpec(SpecModel):
    """sigma2 is a moving mean of d2 over the training batches before this one; no gradient flows through it."""

    kind: Literal["residual"] = "residual"
    momentum: Annotated[Number, Field(ge=0.0, lt=1.0)] = 0.9
    """What is kept of the mean when a batch is added to it."""
    floor: Floor = 1e-6


class OutputVarianceSpec(SpecModel):
    """sigma2 is the variance of the model's outputs over the batch, the article's own words; it couples the rows."""

    kind: Literal["output"] = "output"
    statistic: Literal["centred", "second_moment"] = "centred"
    """`centred`: about each output's mean over the batch; `second_moment`: about 0."""
    gradient: Literal["through", "detached"] = "through"
    floor: Floor = 1e-6


VarianceSpec = Annotated[
    FixedVarianceSpec | TargetVarianceSpec | ResidualVarianceSpec | OutputVarianceSpec,
    Field(discriminator="kind"),
    default_kind("fixed"),
]
# Fields that came after specs were stored are left out of the canonical text while they say nothing new.
Scale = Annotated[Literal["per_example", "per_output"], Field(exclude_if=lambda value: value == "per_example")]


class ArticleSpec(SpecModel):
    """The article's section 3.3 as printed: never positive; takes weight off residuals near sigma."""

    kind: Literal["article"] = "article"
    variance: VarianceSpec = FixedVarianceSpec()
    scale: Scale = "per_example"


class InflationSpec(SpecModel):
    """Minus `article`: the divergence whose negative the article printed; adds weight near sigma."""

    kind: Literal["inflation"] = "inflation"
    variance: VarianceSpec = FixedVarianceSpec()
    scale: Scale = "per_example"


class SampleProgramSpec(SpecModel):
    """The article's section 4: the variance is the batch's mean squared prediction; it couples a batch's rows."""

    kind: Literal["sample_program"] = "sample_program"


class GaussianSpec(SpecModel):
    """KL between N(yhat, sp2) and N(y, sigma2); with the same variance for both, d2 / (2 sigma2)."""

    kind: Literal["gaussian"] = "gaussian"
    direction: Annotated[
        Literal["prediction_to_target", "target_to_prediction"],
        Field(exclude_if=lambda value: value == "target_to_prediction"),
    ] = "target_to_prediction"
    """With the same variance, both are one."""
    prediction_variance: Literal["same", "learned", "predicted"] = "same"
    """sp2: `same` as sigma2, `learned` (one number for all examples), or `predicted` by a second head of the net."""
    head: Annotated[Head, Field(exclude_if=lambda value: value == "shared")] = "shared"
    """predicted only: one variance for all outputs of an example, or one for each."""
    prediction_floor: Annotated[Floor, Field(exclude_if=lambda value: value == 1e-6)] = 1e-6
    """learned and predicted: sp2 is this and the exponential of what is learned."""
    beta: Annotated[Number, Field(ge=0.0, le=1.0, exclude_if=lambda value: value == 0.0)] = 0.0
    """predicted, target_to_prediction: weighs an example by sp2^beta, so that a large sp2 keeps no mean unlearned."""
    variance: VarianceSpec = FixedVarianceSpec()
    """sigma2; for `predicted`, the noise that targets are taken to carry besides, 0.01 unless given."""
    scale: Scale = "per_example"

    @model_validator(mode="before")
    @classmethod
    def _little_noise_where_predicted(cls, value: Any) -> Any:
        if isinstance(value, dict) and value.get("prediction_variance") == "predicted":
            return {"variance": {"kind": "fixed", "value": 0.01}, **value}
        return value

    @model_validator(mode="after")
    def _options_are_used(self) -> GaussianSpec:
        is_same, is_predicted = self.prediction_variance == "same", self.prediction_variance == "predicted"
        refused = {
            "head goes with prediction_variance predicted only": self.head != "shared" and not is_predicted,
            "prediction_floor goes with prediction_variance learned or predicted only": (
                self.prediction_floor != 1e-6 and is_same
            ),
            "beta goes with prediction_variance predicted and direction target_to_prediction only": (
                self.beta != 0.0 and not (is_predicted and self.direction == "target_to_prediction")
            ),
            "scale goes with prediction_variance same only: the other forms count their outputs already": (
                self.scale != "per_example" and not is_same
            ),
        }
        for reason, applies in refused.items():
            if applies:
                raise PydanticCustomError("loss_parts", "{reason}", {"reason": reason})
        return self


class CauchySpec(SpecModel):
    """C/2 ln(1 + d2 / (C sigma2)): the Gaussian divergence with its variance minimised out."""

    kind: Literal["cauchy"] = "cauchy"
    variance: VarianceSpec = FixedVarianceSpec()
    scale: Scale = "per_example"


class GemanMcClureSpec(SpecModel):
    """1/2 u / (1 + u), u = d2 / sigma2: bounded; what is far away pulls no more."""

    kind: Literal["geman_mcclure"] = "geman_mcclure"
    variance: VarianceSpec = FixedVarianceSpec()
    scale: Scale = "per_example"


class WelschSpec(SpecModel):
    """1/2 (1 - exp(-u)), u = d2 / sigma2: bounded, and flat far out sooner than geman_mcclure."""

    kind: Literal["welsch"] = "welsch"
    variance: VarianceSpec = FixedVarianceSpec()
    scale: Scale = "per_example"


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


class ModelTeacherSpec(SpecModel):
    """A finished model with the same outputs."""

    kind: Literal["model"] = "model"
    model: Annotated[str, Field(pattern=MODEL_PATTERN)] | None = None
    """Its id; null where the model itself is handed to `train`."""


class EmaTeacherSpec(SpecModel):
    """The moving average of the job's own weights over its steps."""

    kind: Literal["ema"] = "ema"
    decay: Annotated[Number, Field(ge=0.0, lt=1.0)] = 0.999
    """What is kept of the average at a step; less in the first steps, at most (1 + step) / (10 + step)."""


class TeacherSpec(SpecModel):
    """Distillation: towards a teacher's outputs. Training only; evaluation measures the base."""

    kind: Literal["teacher"] = "teacher"
    source: Annotated[ModelTeacherSpec | EmaTeacherSpec, Field(discriminator="kind"), default_kind("model")] = (
        ModelTeacherSpec()
    )
    temperature: Annotated[Number, Field(ge=0.01, le=100.0)] = 1.0
    """Divides the logits of both; for bases of classes and labels."""
    variance: FixedVarianceSpec = FixedVarianceSpec()
    """sigma2 of both; for bases of real values."""


class TwinSpec(SpecModel):
    """R-Drop: two passes with other dropout masks are to agree. Training only; evaluation measures the base."""

    kind: Literal["twin"] = "twin"
    variance: FixedVarianceSpec = FixedVarianceSpec()
    """sigma2; for bases of real values."""


DivergenceSpec = Annotated[
    ArticleSpec
    | InflationSpec
    | SampleProgramSpec
    | GaussianSpec
    | CauchySpec
    | GemanMcClureSpec
    | WelschSpec
    | CategoricalSpec
    | UniformSpec
    | TeacherSpec
    | TwinSpec,
    Field(discriminator="kind"),
    default_kind("article"),
]
