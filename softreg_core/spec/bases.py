"""The bases: what is minimised without a divergence. docs/methods/ has a card for each kind."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from softreg_core.spec.base import Head, Number, SpecModel, default_kind

__all__ = [
    "AbsoluteErrorSpec",
    "BarronSpec",
    "BaseSpec",
    "BinaryCrossEntropySpec",
    "BrierSpec",
    "CrossEntropySpec",
    "FocalSpec",
    "GaussianNllSpec",
    "GeneralizedCrossEntropySpec",
    "HalfSquaredErrorSpec",
    "HuberSpec",
    "PoissonSpec",
    "QuantileSpec",
    "StudentTSpec",
    "SymmetricCrossEntropySpec",
]


class HalfSquaredErrorSpec(SpecModel):
    """Half the squared error, summed over the outputs; for classes, of the raw outputs against one-hot rows."""

    kind: Literal["half_squared_error"] = "half_squared_error"


class HuberSpec(SpecModel):
    """Squared up to delta, linear beyond; summed over the outputs."""

    kind: Literal["huber"] = "huber"
    delta: Annotated[Number, Field(ge=1e-6, le=1e6)] = 1.0
    """In units of the (standardised) target."""


class AbsoluteErrorSpec(SpecModel):
    """The absolute error, summed over the outputs: its best constant is the median."""

    kind: Literal["absolute_error"] = "absolute_error"


class QuantileSpec(SpecModel):
    """The pinball loss, summed over the outputs: its best constant is the tau quantile; regression only."""

    kind: Literal["quantile"] = "quantile"
    tau: Annotated[Number, Field(gt=0.0, lt=1.0)] = 0.5


class StudentTSpec(SpecModel):
    """Minus a Student t log likelihood of unit scale, per output."""

    kind: Literal["student_t"] = "student_t"
    nu: Annotated[Number, Field(ge=1e-3, le=1e6)] = 4.0
    """Degrees of freedom: the smaller, the less an outlier weighs."""


class BarronSpec(SpecModel):
    """Barron's family of unit scale, per output: 2 is squared error, 1 Charbonnier, 0 Cauchy, -2 Geman-McClure."""

    kind: Literal["barron"] = "barron"
    shape: Annotated[Number, Field(ge=-10.0, le=2.0)] = 1.0


class PoissonSpec(SpecModel):
    """exp(eta) - y eta, summed over the outputs: minus a Poisson log likelihood; for counts, regression only.

    The net's output eta is the logarithm of the expected count, and a prediction is exp(eta). Targets stay as they
    are: they are not standardised, and none may be negative.
    """

    kind: Literal["poisson"] = "poisson"


class GaussianNllSpec(SpecModel):
    """Minus a normal log likelihood whose variance the net predicts too, by a second head; regression only."""

    kind: Literal["gaussian_nll"] = "gaussian_nll"
    head: Head = "shared"
    """One variance for all outputs of an example, or one for each."""
    floor: Annotated[Number, Field(ge=1e-12, le=1e12)] = 1e-6
    """sp2 is this and the exponential of the second head; in squared units of the (standardised) target."""
    beta: Annotated[Number, Field(ge=0.0, le=1.0)] = 0.0
    """Weighs an example by sp2^beta, so that the mean is learned where sp2 is large."""


class CrossEntropySpec(SpecModel):
    """Minus the log probability of the true class, from logits; classification only."""

    kind: Literal["cross_entropy"] = "cross_entropy"


class BinaryCrossEntropySpec(SpecModel):
    """Minus the log probability of each label's truth, from logits, summed over the labels; multi-label only."""

    kind: Literal["binary_cross_entropy"] = "binary_cross_entropy"


class BrierSpec(SpecModel):
    """Half the squared distance of the probabilities from the one-hot row; classification only."""

    kind: Literal["brier"] = "brier"


class GeneralizedCrossEntropySpec(SpecModel):
    """(1 - p^q) / q of the true class's probability p: cross-entropy for q to 0, absolute error for q = 1."""

    kind: Literal["generalized_cross_entropy"] = "generalized_cross_entropy"
    q: Annotated[Number, Field(gt=0.0, le=1.0)] = 0.7


class SymmetricCrossEntropySpec(SpecModel):
    """A weighted sum of cross-entropy and reverse cross-entropy; classification only."""

    kind: Literal["symmetric_cross_entropy"] = "symmetric_cross_entropy"
    forward_weight: Annotated[Number, Field(ge=0.0, le=1e6)] = 0.1
    reverse_weight: Annotated[Number, Field(ge=0.0, le=1e6)] = 1.0
    log_zero: Annotated[Number, Field(ge=-1e3, lt=0.0)] = -4.0
    """What stands for the logarithm of the one-hot row's zeros."""


class FocalSpec(SpecModel):
    """Cross-entropy times (1 - p)^gamma: examples that are right already weigh less; classification only."""

    kind: Literal["focal"] = "focal"
    gamma: Annotated[Number, Field(ge=0.0, le=10.0)] = 2.0


BaseSpec = Annotated[
    HalfSquaredErrorSpec
    | HuberSpec
    | AbsoluteErrorSpec
    | QuantileSpec
    | StudentTSpec
    | BarronSpec
    | PoissonSpec
    | GaussianNllSpec
    | CrossEntropySpec
    | BinaryCrossEntropySpec
    | BrierSpec
    | GeneralizedCrossEntropySpec
    | SymmetricCrossEntropySpec
    | FocalSpec,
    Field(discriminator="kind"),
    default_kind("half_squared_error"),
]
