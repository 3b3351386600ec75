"""From a map or from steps to flat rows, for fully connected layers."""

# B examples, T steps, D values of a step

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["Flat", "MaskedMean"]


class Flat(nn.Module):
    """The numbers of a map one after the other."""

    def forward(self, given: tuple[Tensor, Tensor | None]) -> Tensor:
        """A map (B, C, H, W) without a mask; (B, C H W)."""
        return given[0].flatten(1)


class MaskedMean(nn.Module):
    """The mean over the steps within each row."""

    def forward(self, given: tuple[Tensor, Tensor]) -> Tensor:
        """Values (B, T, D) and a mask bool (B, T), true somewhere in each row; (B, D)."""
        values_BTD, mask_BT = given
        weight_BT1 = mask_BT.unsqueeze(2).to(values_BTD.dtype)
        return (values_BTD * weight_BT1).sum(1) / weight_BT1.sum(1)
