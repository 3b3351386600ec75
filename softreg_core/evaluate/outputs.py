"""A network's outputs and losses on rows, in batches: outputs are kept, inputs are not."""

# N rows, C outputs

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from softreg_core.data.part import Rows
from softreg_core.evaluate.measure import evaluation_rows
from softreg_core.keyed import draws
from softreg_core.losses import Loss

__all__ = ["Outputs", "collect", "sampled_rows"]

# Bounds on what is kept, and with it the memory and time of a report.
_MOST_ROWS = 524_288
_MOST_NUMBERS = 2_097_152


@dataclass(frozen=True, slots=True, eq=False)
class Outputs:
    """What a network says to some rows."""

    prediction: NDArray[np.float32]
    """(N, C): raw outputs, for values in the scale of the target."""
    target: NDArray[Any]
    """int64 class codes (N,); or float32 (N, C): scaled values, or labels, 0 or 1."""
    losses: dict[str, NDArray[np.float64]]
    """`loss`, `base` and, where there is one, `divergence`, each (N,)."""
    variance: NDArray[np.float32] | None
    """(N, C): predicted, of the scaled targets; None where none is predicted."""
    of_rows: int
    """Rows that there are; more than N when these are a sample."""


@torch.no_grad()
def collect(net: nn.Module, loss: Loss[Any], rows: Rows, *, outputs: int, seed: int) -> Outputs:
    """Run a network in evaluation over rows.

    Args:
        net: called as `net(*inputs)`; returns float32 (N, C), or more columns where `loss` says so.
        loss: as from `build_loss`; an alpha that changes over a run has its value at the end of the run.
        rows: what the network takes and what it should say, N at least 1.
        outputs: C.
        seed: of the sample that is drawn where there are too many rows.

    Returns:
        Of all rows, or of the sample.
    """
    net.eval()
    loss.eval()
    of_rows = rows.rows
    drawn = sampled_rows(of_rows, outputs, seed)
    if drawn is not None:
        rows = rows.take(torch.from_numpy(drawn).to(rows.target.device))
    predictions: list[Tensor] = []
    variances: list[Tensor] = []
    losses: dict[str, list[Tensor]] = {}
    for batch in rows.batches(evaluation_rows(net)):
        prediction, variance = loss.split(net(*batch.inputs))
        predictions.append(loss.values(prediction).float())
        if variance is not None:
            variances.append(loss.predictive_variance(variance).expand_as(prediction).float())
        for name, part in loss(prediction, batch.target, variance=variance)._asdict().items():
            if part is not None:
                losses.setdefault("loss" if name == "total" else name, []).append(part.double())
    return Outputs(
        torch.cat(predictions).cpu().numpy(),
        rows.target.cpu().numpy(),
        {name: torch.cat(parts).cpu().numpy() for name, parts in losses.items()},
        variance=torch.cat(variances).cpu().numpy() if variances else None,
        of_rows=of_rows,
    )


def sampled_rows(rows: int, outputs: int, seed: int) -> NDArray[np.int64] | None:
    """Which rows are measured where all of them would be too many, ascending; None for all.

    One row, drawn at random, from each of as many stretches of equal length: rows that are sorted by anything are
    sampled evenly, and nothing as long as the rows is drawn.
    """
    most = max(1, min(_MOST_ROWS, _MOST_NUMBERS // outputs))
    if rows <= most:
        return None
    share = (draws(0, most, seed, "evaluated rows", rows) >> np.uint64(11)) * 2.0**-53
    return np.minimum((np.arange(most) + share) * (rows / most), rows - 1).astype(np.int64)
