"""From the module to torch's graph of it, whose batch and time stay free."""

from __future__ import annotations

import torch
from torch.export import Dim, ExportedProgram

from softreg_core.export.document import ModelDocument
from softreg_core.export.graph import ExportGraph, dynamic_axes, example_inputs

__all__ = ["TRACE_ROWS", "trace_time", "traced"]

TRACE_ROWS = 3
"""Not 1, which the tracer would take for a constant."""
_TRACE_STEPS = 9


def trace_time(document: ModelDocument) -> int:
    """Steps of the example that is traced: enough that no size in the network is 0 or 1."""
    longest = getattr(document.shape, "longest", _TRACE_STEPS)
    return max(2, min(longest, _TRACE_STEPS * getattr(document.shape, "window", 1)))


def traced(graph: ExportGraph, document: ModelDocument) -> ExportedProgram:
    """The graph of a module in evaluation mode."""
    from torch.export._patches import register_gru_while_loop_decomposition, register_lstm_while_loop_decomposition

    # Without these a recurrent layer is written out step by step, for the example's number of steps alone.
    with register_lstm_while_loop_decomposition(), register_gru_while_loop_decomposition():
        return torch.export.export(
            graph,
            example_inputs(document, TRACE_ROWS, trace_time(document)),
            dynamic_shapes=(tuple(dict.fromkeys(axes, Dim.AUTO) for axes in dynamic_axes(document.shape).values()),),
            strict=False,
        )
