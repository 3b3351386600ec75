"""What goes into a loss besides tensors, and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from torch import Tensor

__all__ = ["DataMeta", "LossParts"]


@dataclass(frozen=True, slots=True)
class DataMeta:
    """What a loss may know of the data and the run: the prediction's width, what the target is, how long it goes."""

    outputs: int
    task: Literal["classification", "multilabel", "regression"]
    total_steps: int | None = None
    """Optimiser steps of the whole run; needed in training by an alpha that changes over it."""
    target_variance: float | None = None
    """Of the training targets, averaged over the outputs; needed by variance `target`. See `target_variance`."""
    are_targets_checked: bool = False
    """Every class code and label was looked at when the data was prepared: no call looks again, which would wait for
    the device and cannot be traced."""


class LossParts(NamedTuple):
    """A loss per example, shape (B,), and the parts that it is made of; not reduced."""

    total: Tensor
    """base + alpha * divergence; with combine convex (1 - alpha) * base + alpha * divergence."""
    base: Tensor
    divergence: Tensor | None
    """Before it is weighed by alpha; None when there is none or alpha is 0 throughout."""
