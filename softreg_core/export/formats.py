"""Building one more format beside a stored model, checking it against torch, and saying what was found."""

from __future__ import annotations

import contextlib
import logging
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from softreg_core.errors import ExportError
from softreg_core.export.document import ModelDocument
from softreg_core.export.graph import ExportGraph, example_inputs
from softreg_core.export.load import load
from softreg_core.export.meaning import output_names
from softreg_core.export.onnx import run_onnx, write_onnx
from softreg_core.export.pt2 import run_pt2, write_pt2
from softreg_core.spec.export import FILE_NAMES

__all__ = ["TOLERANCE", "ExportRecord", "export_model"]

TOLERANCE = 1e-4
"""A larger difference from torch, relative to the larger of 1 and the output itself, is a failed export."""
_ROWS = (1, 7)
_LONGEST_CHECK = 200

Run = Callable[[Path, tuple[Tensor, ...]], list[NDArray[Any]]]
FORMATS: dict[str, tuple[Callable[[ExportGraph, ModelDocument, Path], int | None], Run]] = {
    "onnx": (write_onnx, run_onnx),
    "pt2": (write_pt2, run_pt2),
}
# What torch's exporters say of themselves and we cannot mend; whatever else they say is heard.
_OWN_WORDS = (
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",
    r"_check_is_size will be removed",
    r"The tensor attributes? .*(_flat_weights|_weights)",
    r"# The axis name: \w+ will not be used",  # two inputs have the same batch, as they should
)
_REGISTRY_LOG = "torch.onnx._internal.exporter._registration"


@dataclass(frozen=True, slots=True)
class ExportRecord:
    """What was built and how far it is from torch."""

    format: str
    file: str
    outputs: tuple[str, ...]
    """`probabilities`, `scores` or `values`."""
    opset: int | None
    """Of ONNX."""
    shapes: tuple[tuple[int, ...], ...]
    """Rows, and for what has a length also its steps, of each batch that was compared."""
    largest_difference: float
    """From torch, over all of them; relative to the larger of 1 and the output (a standard deviation of the target)."""
    seconds: float
    """To build and compare."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def export_model(directory: str | Path, kind: str) -> ExportRecord:
    """Write `model.onnx` or `model.pt2` into the directory of a stored model, and compare it with torch.

    Args:
        directory: with `model.safetensors` and `model.json`.
        kind: `onnx` or `pt2`.

    Raises:
        ExportError: it cannot be built, or answers otherwise than torch; no file is left.
        DataError: the directory holds no model.
        IntegrityError: the weights are not those that model.json was written for.
    """
    began = time.perf_counter()
    model = load(directory)
    document, path = model.document, Path(directory) / FILE_NAMES[kind]
    graph = ExportGraph(document, model.net, model.loss).eval().requires_grad_(False)
    write, run = FORMATS[kind]
    try:
        with _quiet(), torch.no_grad():
            opset = write(graph, document, path)
            shapes = _checked_shapes(document)
            batches = [example_inputs(document, *shape) for shape in shapes]
            differences = [_difference(document, graph(*batch), run(path, batch)) for batch in batches]
    except Exception as error:
        path.unlink(missing_ok=True)
        if isinstance(error, MemoryError | OSError):
            raise
        # Whatever an exporter raises, the model itself is well: this format is not to be had, and this is why.
        raise ExportError(f"{kind}: {type(error).__name__}: {str(error)[:1000]}") from error
    largest = max(differences)
    if not largest <= TOLERANCE:
        path.unlink()
        raise ExportError(f"{kind}: it answers otherwise than torch, by {largest:.3g}; at most {TOLERANCE:g} is taken")
    has_time = "lengths" in document.shape.names
    return ExportRecord(
        format=kind,
        file=path.name,
        outputs=output_names(document),
        opset=opset,
        shapes=tuple(shape if has_time else shape[:1] for shape in shapes),
        largest_difference=largest,
        seconds=round(time.perf_counter() - began, 3),
    )


def _checked_shapes(document: ModelDocument) -> tuple[tuple[int, int], ...]:
    """A single row, seven, and seven of another length; without a length another number of rows."""
    longest = getattr(document.shape, "longest", None)
    if longest is None:
        return ((_ROWS[0], 1), (_ROWS[1], 1), (_ROWS[0] + _ROWS[1] * 3, 1))
    least = getattr(document.shape, "window", 1)
    long = max(least, min(longest, _LONGEST_CHECK * least))
    return ((_ROWS[0], long), (_ROWS[1], long), (_ROWS[1], max(least, long // 2)))


def _difference(document: ModelDocument, wanted: tuple[Tensor, ...], found: list[NDArray[Any]]) -> float:
    """The largest over all outputs, each in its own unit."""
    if [output.shape for output in found] != [tuple(output.shape) for output in wanted]:
        raise ExportError(f"its outputs have the shapes {[output.shape for output in found]}")
    largest = 0.0
    for name, ours, theirs in zip(output_names(document), wanted, found, strict=True):
        mean, scale = _units(document, name)
        a_BC, b_BC = ((values.astype(np.float64) - mean) / scale for values in (ours.numpy(), theirs))
        largest = max(largest, float((np.abs(b_BC - a_BC) / np.maximum(1.0, np.abs(a_BC))).max()))
        if np.isnan(b_BC).any() and not np.isnan(a_BC).any():
            raise ExportError(f"{name}: NaN where torch gives a number")
    return largest


def _units(document: ModelDocument, name: str) -> tuple[NDArray[Any] | float, NDArray[Any] | float]:
    """A target's own mean and deviation: beside a large mean every difference would look small."""
    if document.target is None or name not in ("values", "predictions", "variance"):
        return 0.0, 1.0
    scaling = document.target.scaling()
    return (scaling.mean, scaling.scale) if name != "variance" else (0.0, np.square(scaling.scale))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporters' words about themselves."""
    registry = logging.getLogger(_REGISTRY_LOG)
    level = registry.level
    registry.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            for words in _OWN_WORDS:
                warnings.filterwarnings("ignore", message=words)
            yield
    finally:
        registry.setLevel(level)
