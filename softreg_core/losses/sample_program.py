"""The article's sample program, section 4: the variance is what the batch's own predictions hold."""

# B examples, C outputs

from __future__ import annotations

import torch
from torch import Tensor, nn

from softreg_core.losses.residual import Residual
from softreg_core.losses.rows import kept_mean

__all__ = ["FLOOR", "SampleProgram", "prediction_energy", "sample_program"]

FLOOR = 1e-6
"""Of the prediction energy, in units of the targets' mean square."""


class SampleProgram(nn.Module):
    """`sample_program`, or the same with energies that are known."""

    given: Tensor | None = None
    """(N,), in place of the batch's: rows of several batches can then be computed at once."""

    def forward(self, pair: Residual) -> Tensor:
        """(B,), not reduced."""
        return sample_program(pair, self.given)


def sample_program(pair: Residual, energy: Tensor | None = None) -> Tensor:
    """Prediction energy drawn toward residual energy.

    K_b = 1/2 [ ln s + d2_b / s - 1 ], s = `prediction_energy`

    Args:
        pair: checked prediction and target; see `residual`.
        energy: float (B,), s where it is known.

    Returns:
        float (B,), not reduced. The gradient flows through s, so every example's value depends on its batch.

    Source:
        The article, section 4.
    Differs:
        s has a floor; the program divides by zero when all predictions are zero.
    """
    s = prediction_energy(pair) if energy is None else energy
    return 0.5 * (s.log() + pair.squared / s - 1.0)


def prediction_energy(pair: Residual) -> Tensor:
    """Mean of yhat^2 over the outputs and over the batch's kept, weighted rows; not below 1e-6 mean(y^2).

    The floor takes the targets' scale, because 0 of what unit is small depends on it. Where the targets are all
    zero too, a last floor keeps d2 / s and its gradient finite.
    """
    weight_B = pair.weight
    predicted = kept_mean(pair.prediction.square(), weight_B).mean()
    with torch.no_grad():
        floor = (FLOOR * kept_mean(pair.target.square(), weight_B).mean()).clamp(
            min=torch.finfo(predicted.dtype).tiny ** 0.5
        )
    return torch.maximum(predicted, floor)
