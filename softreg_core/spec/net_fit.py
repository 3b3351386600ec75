"""Which network goes with which data and which batches, and why the others do not."""

from __future__ import annotations

from softreg_core.spec.inputs import InputShape
from softreg_core.spec.net import NetSpec
from softreg_core.spec.widths import MOST_TOKENS, step_count

__all__ = ["TAKES", "has_dropout", "misfit_of_bands", "misfit_of_batches", "misfit_of_net", "reads_only"]

TAKES: dict[str, tuple[str, ...]] = {
    "linear": ("table", "image", "sequence", "text", "sound"),
    "mlp": ("table", "image", "sequence", "text", "sound"),
    "cnn": ("image", "sound"),
    "resnet": ("image", "sound"),
    "rnn": ("sequence", "text", "sound"),
    "transformer": ("table", "sequence", "text", "sound"),
}
"""By the kind of a network, the kinds of its inputs."""


def reads_only(net: NetSpec) -> bool:
    """Whether a column of short texts can be nothing but text to `net`, which takes no categories."""
    return "text" in TAKES[net.kind] and "table" not in TAKES[net.kind]


def misfit_of_net(net: NetSpec, shape: InputShape) -> str | None:
    """Why `net` does not take what `shape` says; None when it does."""
    takes = TAKES[net.kind]
    if shape.kind not in takes:
        others = " or ".join(kind for kind, taken in TAKES.items() if shape.kind in taken)
        return f"net '{net.kind}' takes inputs of kind {' or '.join(takes)}, not {shape.kind}: choose {others}"
    if net.kind == "transformer" and step_count(shape) > MOST_TOKENS:
        return (
            f"net 'transformer' takes rows of at most {MOST_TOKENS} tokens, and these have up to {step_count(shape)}: "
            "cut them off earlier, or choose another network"
        )
    return misfit_of_bands(shape)


def misfit_of_bands(shape: InputShape) -> str | None:
    """Why there is no such spectrum; None when there is, or when the inputs are no sounds."""
    if shape.kind == "sound" and shape.mels > shape.window // 2 + 1:
        return (
            f"{shape.mels} mel bands cannot be made of the {shape.window // 2 + 1} frequencies of a window of "
            f"{shape.window} samples"
        )
    return None


def has_dropout(net: NetSpec) -> bool:
    """Whether two passes over the same rows in training differ."""
    return net.kind != "linear" and net.dropout > 0.0 and not (net.kind == "mlp" and not net.hidden)


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
