"""TrainSpec: everything that decides a training run besides the data."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from softreg_core.spec.base import SpecModel
from softreg_core.spec.data import PreprocessSpec, SplitSpec, TaskSpec
from softreg_core.spec.export import DEFAULT_EXPORT, ExportFormats
from softreg_core.spec.loss import LossSpec
from softreg_core.spec.net import MlpSpec, NetSpec
from softreg_core.spec.optimizer import AdamSpec, OptimizerSpec
from softreg_core.spec.penalties import PenaltiesSpec
from softreg_core.spec.schedule import ConstantScheduleSpec, ScheduleSpec
from softreg_core.spec.training import CheckpointsSpec, ResourcesSpec, TrainingSpec

__all__ = ["TrainSpec", "canonical_json", "sha256_of"]


def _exactly_one(value: Any) -> Any:
    """A `Literal` compares with ==, and True and 1.0 equal 1."""
    if type(value) is not int or value != 1:
        raise PydanticCustomError("spec_version", "expected 1, the only version of specs so far")
    return value


class TrainSpec(SpecModel):
    """A training run. Every field has a default: the article's run with the formula of its section 3.3."""

    spec_version: Annotated[Literal[1], BeforeValidator(_exactly_one)] = 1
    task: TaskSpec = TaskSpec()
    split: SplitSpec = SplitSpec()
    preprocess: PreprocessSpec = PreprocessSpec()
    net: NetSpec = MlpSpec()
    loss: LossSpec = LossSpec()
    optimizer: OptimizerSpec = AdamSpec()
    # Blocks that came later are left out of the canonical text when they say nothing.
    schedule: Annotated[ScheduleSpec, Field(exclude_if=lambda value: value == ConstantScheduleSpec())] = (
        ConstantScheduleSpec()
    )
    penalties: Annotated[PenaltiesSpec, Field(exclude_if=lambda value: value == PenaltiesSpec())] = PenaltiesSpec()
    training: TrainingSpec = TrainingSpec()
    checkpoints: CheckpointsSpec = CheckpointsSpec()
    export: Annotated[ExportFormats, Field(exclude_if=lambda formats: formats == DEFAULT_EXPORT)] = DEFAULT_EXPORT
    """Formats of the model besides model.json and the card; all but safetensors are built after training."""
    resources: ResourcesSpec = ResourcesSpec()

    @model_validator(mode="before")
    @classmethod
    def _default_base_follows_the_task(cls, value: Any) -> Any:
        """Several labels are compared by binary cross-entropy unless the loss names another base."""
        if not isinstance(value, dict):
            return value
        task, loss = value.get("task"), value.get("loss", {})
        kind = task.get("kind") if isinstance(task, dict) else getattr(task, "kind", None)
        if kind != "multilabel" or not isinstance(loss, dict):
            return value
        return value | {"loss": {"base": {"kind": "binary_cross_entropy"}} | loss}


def canonical_json(spec: SpecModel) -> str:
    """The spec with every default written out, keys sorted, no spaces: equal specs give equal text."""
    return json.dumps(spec.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), allow_nan=False)


def sha256_of(spec: SpecModel) -> str:
    """Hex digest of `canonical_json`."""
    return hashlib.sha256(canonical_json(spec).encode()).hexdigest()
