"""Writing a model."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save

import softreg_core
from softreg_core.data.encode import is_numbers_only
from softreg_core.engine.events import TrainedModel
from softreg_core.evaluate.document import EvaluationReport
from softreg_core.export.card import card
from softreg_core.export.document import (
    CARD_NAME,
    DOCUMENT_NAME,
    WEIGHTS_NAME,
    DataDocument,
    ManifestDocument,
    ModelDocument,
    ScalingDocument,
    WeightsDocument,
)

__all__ = ["save_model"]


def save_model(
    model: TrainedModel,
    directory: Path,
    metrics: Mapping[str, float],
    report: EvaluationReport | None = None,
    *,
    data: DataDocument | None = None,
) -> tuple[Path, Path, Path]:
    """Write `model.safetensors`, `model.json` and the model card `README.md` into an existing directory.

    The second names the sha256 of the first, so that no one can use weights with another model's description.

    Args:
        model: what `Finished` carries.
        directory: where to.
        metrics: the model's own; written into model.json.
        report: the same in full, as `Finished` carries it.
        data: which data it was trained on, where that is known.

    Returns:
        The paths: weights, description, card.
    """
    weights = save(model.tensors)
    document = _document(model, metrics, report, weights, data)
    paths = directory / WEIGHTS_NAME, directory / DOCUMENT_NAME, directory / CARD_NAME
    paths[0].write_bytes(weights)
    paths[1].write_text(document.model_dump_json(indent=2) + "\n", encoding="utf-8")
    paths[2].write_text(card(document), encoding="utf-8")
    return paths


def _document(
    model: TrainedModel,
    metrics: Mapping[str, float],
    report: EvaluationReport | None,
    weights: bytes,
    data: DataDocument | None,
) -> ModelDocument:
    preprocessing = model.preprocessing
    return ModelDocument(
        task=preprocessing.task,
        net=model.spec.net,
        shape=preprocessing.shape,
        outputs=preprocessing.outputs,
        features=ScalingDocument.of(preprocessing.features),
        inputs=None if is_numbers_only(preprocessing.inputs) else preprocessing.inputs,
        target_names=preprocessing.target_names,
        target=None if preprocessing.target is None else ScalingDocument.of(preprocessing.target),
        labels=preprocessing.labels,
        truths=preprocessing.truths,
        metrics=dict(metrics),
        report=report,
        spec=model.spec,
        loss_state={name: tensor.item() for name, tensor in model.loss.items() if tensor.ndim == 0},
        data=data,
        weights=WeightsDocument(sha256=hashlib.sha256(weights).hexdigest(), size=len(weights)),
        versions={
            "softreg": softreg_core.__version__,
            "torch": str(torch.__version__),
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        manifest=None if model.manifest is None else ManifestDocument(**asdict(model.manifest)),
    )
