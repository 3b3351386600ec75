"""A model as a `.pt2` file, torch's own graph format, and what torch makes of it when it reads it back.

Reading such a file may run what it holds: only from people you trust. Here it happens to a file that was just written.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from softreg_core.export.document import ModelDocument
from softreg_core.export.graph import ExportGraph
from softreg_core.export.meaning import output_names
from softreg_core.export.trace import traced

__all__ = ["PT2_FORMAT", "run_pt2", "write_pt2"]

PT2_FORMAT = "softreg pt2 1"


def write_pt2(graph: ExportGraph, document: ModelDocument, path: Path) -> None:
    """Write the file."""
    facts = {
        "format": PT2_FORMAT,
        "model_sha256": document.weights.sha256,
        "inputs": document.shape.names,
        "outputs": output_names(document),
    }
    torch.export.save(traced(graph, document), path, extra_files={"softreg.json": json.dumps(facts)})


def run_pt2(path: Path, inputs: tuple[Tensor, ...]) -> list[NDArray[Any]]:
    """The outputs of the file read back."""
    return [output.numpy() for output in torch.export.load(path).module()(*inputs)]
