"""A model as an ONNX file, and what onnxruntime makes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from softreg_core.export.document import ModelDocument
from softreg_core.export.graph import ExportGraph, dynamic_axes, example_inputs
from softreg_core.export.meaning import output_names
from softreg_core.export.trace import TRACE_ROWS, trace_time

__all__ = ["ONNX_FORMAT", "OPSET", "run_onnx", "write_onnx"]

ONNX_FORMAT = "softreg onnx 1"
OPSET = 20


def write_onnx(graph: ExportGraph, document: ModelDocument, path: Path) -> int:
    """Write the file; inputs and outputs have their names, batch and time any size. Returns the opset."""
    axes = dynamic_axes(document.shape)
    program = torch.onnx.export(
        graph,
        example_inputs(document, TRACE_ROWS, trace_time(document)),
        dynamo=True,
        dynamic_shapes=(tuple(axes.values()),),  # one: `forward` takes them as *inputs
        input_names=list(axes),
        output_names=list(output_names(document)),
        opset_version=OPSET,
        verbose=False,
    )
    assert program is not None  # noqa: S101  # it is with dynamo
    program.model.metadata_props.update(
        {
            "softreg.format": ONNX_FORMAT,
            "softreg.model_sha256": document.weights.sha256,
            "softreg.task": document.task,
        }
    )
    program.save(path)
    return OPSET


def run_onnx(path: Path, inputs: tuple[Tensor, ...]) -> list[NDArray[Any]]:
    """The outputs of onnxruntime on the CPU, with one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_inputs()]
    fed = dict(zip(names, (tensor.numpy() for tensor in inputs), strict=True))
    return [np.asarray(output) for output in session.run(None, fed)]
