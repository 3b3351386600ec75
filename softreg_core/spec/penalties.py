"""What keeps a network from fitting its rows too well, beside the loss: alone, together, or with a divergence."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from softreg_core.spec.base import Flag, Number, SpecModel

__all__ = ["PenaltiesSpec"]

Strength = Annotated[Number, Field(ge=0.0, le=1e9)]


class PenaltiesSpec(SpecModel):
    """Every one is off at 0. docs/training.md has the formulas; l1 and l2 together are the elastic net."""

    l1: Strength = 0.0
    """Adds l1 * sum |w| to the mean loss."""
    l2: Strength = 0.0
    """Adds l2/2 * sum w^2 to the mean loss, whose gradient is l2 * w."""
    include_biases: Flag = False
    """Let l1 and l2 count biases and the parameters of normalisation layers too."""
    label_smoothing: Annotated[Number, Field(ge=0.0, lt=1.0)] = 0.0
    """Each label keeps 1 - label_smoothing of itself and gives the rest to all classes alike."""
    mixup: Annotated[Number, Field(ge=0.0, le=1e3)] = 0.0
    """Each batch is mixed with itself in another order, by a share from Beta(mixup, mixup)."""
    input_noise: Annotated[Number, Field(ge=0.0, le=1e6)] = 0.0
    """Standard deviation of normal noise added to the numbers that enter the network, in their (scaled) units."""
