"""What stands in model.json, beside the weights in model.safetensors."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, FiniteFloat, model_validator

from softreg_core.data.encode import Encoding, numbers_only
from softreg_core.data.preprocessing import Preprocessing, Scaling
from softreg_core.evaluate.document import EvaluationReport
from softreg_core.spec.inputs import InputShape
from softreg_core.spec.net import NetSpec
from softreg_core.spec.train import TrainSpec

__all__ = [
    "CARD_NAME",
    "DOCUMENT_NAME",
    "WEIGHTS_NAME",
    "DataDocument",
    "ManifestDocument",
    "ModelDocument",
    "ScalingDocument",
    "WeightsDocument",
]

CARD_NAME = "README.md"
DOCUMENT_NAME = "model.json"
WEIGHTS_NAME = "model.safetensors"


def _finite_or_none(value: Any) -> Any:
    """JSON has no NaN and no infinity."""
    return value if isinstance(value, float) and np.isfinite(value) else None


def _not_zero(value: float) -> float:
    if value == 0.0:
        raise ValueError("a scale of 0")
    return value


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class ScalingDocument(_Document):
    """Per column: scaled = (value - mean) / scale."""

    names: tuple[str, ...]
    mean: tuple[FiniteFloat, ...]
    scale: tuple[Annotated[FiniteFloat, AfterValidator(_not_zero)], ...]

    @model_validator(mode="after")
    def _same_length(self) -> ScalingDocument:
        if not len(self.names) == len(self.mean) == len(self.scale):
            raise ValueError("names, mean and scale differ in length")
        return self

    @classmethod
    def of(cls, scaling: Scaling) -> ScalingDocument:
        """To be written."""
        return cls(names=scaling.names, mean=tuple(scaling.mean.tolist()), scale=tuple(scaling.scale.tolist()))

    def scaling(self) -> Scaling:
        """To be applied."""
        return Scaling(self.names, np.array(self.mean), np.array(self.scale))


class DataDocument(_Document):
    """Which data it was."""

    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    """Of the file that was given."""
    rows: int
    """Of all parts together."""


class WeightsDocument(_Document):
    """The file of the weights."""

    file: Literal["model.safetensors"] = "model.safetensors"
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    size: int


class ManifestDocument(_Document):
    """The same spec and data give the same weights, bit for bit and interrupted or not, where all of this is the same.

    softreg_core.engine.manifest says what each field is.
    """

    torch: str
    device: str
    processor: str
    cuda: str | None
    threads: int
    precision: Literal["float32", "float64", "bfloat16"]
    tier: str
    tier_reason: str = ""
    pack: tuple[str, ...]
    order: str = "each epoch permutes all rows"
    is_deterministic: bool
    not_claimed: tuple[str, ...]
    parts: int = 1


class ModelDocument(_Document):
    """A model without its weights: what goes in, what comes out, how it was trained, what it reached."""

    format: Literal["softreg model 1"] = "softreg model 1"
    task: Literal["classification", "multilabel", "regression"]
    net: NetSpec
    """The architecture; the same as `spec.net`, at the top for a reader who rebuilds the network elsewhere."""
    shape: InputShape
    """What the network takes."""
    outputs: int
    features: ScalingDocument
    """Columns of numbers in order, as the user names them and in the user's units; after them what `inputs` adds."""
    inputs: Annotated[Encoding | None, Field(exclude_if=lambda value: value is None)] = None
    """From the user's cells to the network's tensors, where there is more to it than `features`."""
    target_names: tuple[str, ...]
    target: ScalingDocument | None
    """For regression: how outputs become values in the user's units."""
    labels: tuple[str, ...] | None
    """For classification: the label of each output; the largest output wins. For multilabel: the label's name."""
    truths: Annotated[tuple[tuple[str, str], ...] | None, Field(exclude_if=lambda value: value is None)] = None
    """For multilabel: how each label's column spells false and true. A label is true where its output is above 0, or
    above 1/2 where the base of the loss compares values and not logits."""
    metrics: dict[str, Annotated[float | None, BeforeValidator(_finite_or_none)]]
    """Null where a metric is NaN or infinite."""
    report: EvaluationReport | None = None
    """The model on training, validation and test rows, in full."""
    spec: TrainSpec
    """Resolved."""
    loss_state: dict[str, FiniteFloat] = {}
    """What the loss followed or learned in training, by name: variances."""
    data: Annotated[DataDocument | None, Field(exclude_if=lambda value: value is None)] = None
    weights: WeightsDocument
    versions: dict[str, str]
    manifest: ManifestDocument | None = None
    """What the claim of equal bits holds for; null in models from before it was written."""

    @model_validator(mode="after")
    def _parts_fit(self) -> ModelDocument:
        is_regression = self.task == "regression"
        if is_regression != (self.labels is None) or is_regression == (self.target is None):
            raise ValueError("classes have labels and regression a target scaling")
        is_multilabel = self.task == "multilabel"
        if is_multilabel != (self.truths is not None) or (is_multilabel and self.labels != self.target_names):
            raise ValueError("labels are named as their columns, and each has its two truths")
        if self.truths is not None and len(self.truths) != len(self.target_names):
            raise ValueError("truths and labels differ in length")
        if self.net != self.spec.net:
            raise ValueError("net differs from spec.net")
        if ScalingDocument.of(self.preprocessing().features) != self.features:
            raise ValueError("features differ from the numbers of inputs")
        if (self.shape, self.outputs) != (self.preprocessing().shape, self.preprocessing().outputs):
            raise ValueError("shape and outputs differ from the columns and labels")
        return self

    def preprocessing(self) -> Preprocessing:
        """From the user's numbers to the network's and back."""
        target = None if self.target is None else self.target.scaling()
        inputs = numbers_only(self.features.scaling()) if self.inputs is None else self.inputs
        return Preprocessing(inputs, self.target_names, target, self.labels, self.truths)
