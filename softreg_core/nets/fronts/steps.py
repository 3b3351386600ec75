"""Sequences and texts: rows of steps, of which the shorter ones are padded."""

# B examples, T steps, D values of a step

from __future__ import annotations

import torch
from torch import Tensor, nn

from softreg_core.nets.fronts.scale import Scaled

__all__ = ["Tokens", "Values", "within"]


def within(lengths_B: Tensor, steps: int) -> Tensor:
    """Which steps are within a row, bool (B, T); an empty row counts as one step of padding."""
    inside: Tensor = torch.arange(steps, device=lengths_B.device) < lengths_B.clamp(min=1).unsqueeze(1)
    return inside


class Values(Scaled):
    """(x - mean) / std per value of a step."""

    def forward(self, values_BTD: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        """float32 and int64; the scaled values, and which steps are within a row."""
        return (values_BTD - self.mean) / self.std, within(lengths_B, values_BTD.shape[1])


class Tokens(nn.Module):
    """A vector for each token."""

    def __init__(self, table: nn.Embedding) -> None:
        super().__init__()
        self.embedding = table

    def forward(self, tokens_BT: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        """Both int64; (B, T, D), and which tokens are within a row."""
        return self.embedding(tokens_BT), within(lengths_B, tokens_BT.shape[1])
