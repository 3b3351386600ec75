"""Which network goes with which data and which batches, and why the others do not."""

from __future__ import annotations

from softreg_core.spec.inputs import InputShape
from softreg_core.spec.net import NetSpec

__all__ = ["misfit_of_batches", "misfit_of_net"]

_TAKES = {"mlp": ("table",)}


def misfit_of_net(net: NetSpec, shape: InputShape) -> str | None:
    """Why `net` does not take what `shape` says; None when it does."""
    takes = _TAKES[net.kind]
    if shape.kind not in takes:
        return f"net '{net.kind}' takes inputs of kind {', '.join(takes)}, not {shape.kind}"
    if shape.kind == "table" and shape.levels:
        return f"net '{net.kind}' takes no columns of categories"
    return None


def misfit_of_batches(net: NetSpec, train_rows: int, batch_size: int) -> str | None:
    """Why `net` cannot be trained on batches of this size; None when it can.

    Args:
        net: which network.
        train_rows: rows of one epoch.
        batch_size: rows of one optimiser step; the last batch of an epoch may be smaller.
    """
    if getattr(net, "norm", "none") != "batch":
        return None
    train_rows = max(1, train_rows)
    batch_size = min(batch_size, train_rows)
    if batch_size > 1 and train_rows % batch_size != 1:
        return None
    last = "every batch" if batch_size == 1 else "the last batch of an epoch"
    return (
        f"norm 'batch' takes statistics over a batch, and {last} has 1 row: {train_rows} training rows in batches of "
        f"{batch_size}; choose {_other_batch_size(train_rows, batch_size)}norm 'layer'"
    )


def _other_batch_size(train_rows: int, batch_size: int) -> str:
    """The nearest size that leaves no batch of one row, if there is one."""
    sizes = sorted(range(2, min(train_rows, 2 * batch_size + 2) + 1), key=lambda size: abs(size - batch_size))
    found = next((size for size in sizes if train_rows % size != 1), None)
    return "" if found is None else f"batch_size {found} or "
