"""The full report of a model, as it stands in model.json and in the API's replies; torch-free."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

__all__ = [
    "LARGEST_MATRIX",
    "Calibration",
    "ClassMeasures",
    "Confusion",
    "EvaluationReport",
    "Gap",
    "IntervalMethod",
    "Measure",
    "MistakenPair",
    "PartReport",
    "ReliabilityBin",
]

LARGEST_MATRIX = 100
"""With more classes, a confusion matrix is replaced by the pairs that were confused most often."""


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Measure(_Document):
    """A metric: its value, a 95 % interval, and why one of them is missing."""

    value: FiniteFloat | None
    lower: FiniteFloat | None = None
    """Lower end of the interval."""
    upper: FiniteFloat | None = None
    """Upper end of the interval."""
    reason: str | None = None
    """Why `value` is null, or, where there is a value, why there is no interval."""


class ClassMeasures(_Document):
    """One class, or one label, against all others."""

    label: str
    rows: int
    """Rows that are of it."""
    precision: FiniteFloat | None
    """Null when it was never predicted."""
    recall: FiniteFloat | None
    """Null when no row is of it."""
    f1: FiniteFloat | None
    """Null when no row is of it and it was never predicted."""
    roc_auc: FiniteFloat | None
    """Null when all rows or none are of it."""

    @classmethod
    def of(cls, label: str, hits: int, actual: int, predicted: int, roc_auc: float | None) -> ClassMeasures:
        """From counts of rows: of it and predicted so, of it, predicted so."""
        return cls(
            label=label,
            rows=actual,
            precision=hits / predicted if predicted else None,
            recall=hits / actual if actual else None,
            f1=2.0 * hits / (actual + predicted) if actual + predicted else None,
            roc_auc=roc_auc,
        )


class MistakenPair(_Document):
    """Rows of one class that were taken for another."""

    actual: str
    predicted: str
    rows: int


class Confusion(_Document):
    """Which class was taken for which."""

    labels: tuple[str, ...]
    """In the order of the matrix; empty where there is none."""
    matrix: tuple[tuple[int, ...], ...] | None
    """Rows by actual (first index) and predicted class (second); null with more than 100 classes."""
    most_confused: tuple[MistakenPair, ...]
    """The pairs of different classes with the most rows, at most 20, the largest first."""


class ReliabilityBin(_Document):
    """Rows of about equal confidence."""

    rows: int
    confidence: FiniteFloat
    """Mean probability of the predicted class."""
    accuracy: FiniteFloat


class Calibration(_Document):
    """How well the probability of the predicted class tells how often it is right."""

    ece: FiniteFloat
    """Expected calibration error: |accuracy - confidence|, averaged over the bins by their rows."""
    ece_if_calibrated: FiniteFloat
    """The bias: the mean `ece` that a perfectly calibrated model with these confidences, rows and bins would show."""
    ece_if_calibrated_95: FiniteFloat
    """The value that such a model's `ece` stays under in 95 of 100 cases: a smaller `ece` shows no miscalibration."""
    bins: tuple[ReliabilityBin, ...]
    """Of equal numbers of rows, by ascending confidence."""
    method: str


class PartReport(_Document):
    """A model on some rows."""

    rows: int
    """Rows measured, each counting once whatever its weight in training."""
    of_rows: int
    """Rows that there are; more than `rows` where a sample of them was measured, drawn by the seed."""
    metrics: dict[str, Measure]
    """In the user's units, averaged over the targets where there are several; docs/evaluation.md defines each."""
    targets: dict[str, dict[str, Measure]] | None = None
    """For regression: the metrics of each target."""
    classes: tuple[ClassMeasures, ...] | None = None
    """For classes, up to 100 of them."""
    confusion: Confusion | None = None
    calibration: Calibration | None = None
    """Null where the outputs are no probabilities, or are not finite."""


class Gap(_Document):
    """What the training rows look better by: the metric on them minus the metric on unseen rows.

    A loss or error that is negative here, or an accuracy or R2 that is positive, is worse on unseen rows.
    """

    train_minus_validation: Measure | None = None
    train_minus_test: Measure | None = None


class IntervalMethod(_Document):
    """How the intervals were made."""

    method: Literal["percentile bootstrap"] = "percentile bootstrap"
    level: FiniteFloat = 0.95
    resamples: int
    most_units: int
    """Rows are drawn with replacement one by one up to so many; more rows are drawn in so many random groups."""
    seed: int


class EvaluationReport(_Document):
    """The delivered model on each part of its data."""

    format: Literal["softreg report 1"] = "softreg report 1"
    task: str
    headline: str
    """The metric to name when one number is asked for."""
    scores: Annotated[str, Field(examples=["softmax"])]
    """What the network's outputs are: `softmax`, `sigmoid`, `values` (of classes: no probabilities) or `targets`."""
    is_weighted: Literal[False] = False
    """Weights of rows or classes shape the training loss; no metric here is weighted by them."""
    intervals: IntervalMethod
    parts: dict[str, PartReport]
    """`train`, `validation` and `test`, as far as they have rows. All three by the delivered model in evaluation."""
    gaps: dict[str, Gap]
    """Of the loss and of the headline."""
