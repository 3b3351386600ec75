"""What a model's outputs mean; torch-free."""

from __future__ import annotations

from softreg_core.export.document import ModelDocument
from softreg_core.spec.fit import has_logits
from softreg_core.spec.heads import extra_outputs

__all__ = ["output_names"]


def output_names(document: ModelDocument) -> tuple[str, ...]:
    """Of the exported graphs' outputs, in order.

    `values` for regression, or `predictions` where those are of sequences, whose graph takes `values`; for classes and
    labels `probabilities`, or `scores` where the base of the loss compares real values. Then `variance`, where the
    network predicts it.
    """
    if document.task == "regression":
        first = "predictions" if "values" in document.shape.names else "values"
    else:
        first = "probabilities" if has_logits(document.spec.loss.base) else "scores"
    return (first,) if extra_outputs(document.spec.loss, document.outputs) == 0 else (first, "variance")
