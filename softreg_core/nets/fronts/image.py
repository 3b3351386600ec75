"""Images."""

# B examples, C channels, H rows, W columns

from __future__ import annotations

import torch
from torch import Tensor

from softreg_core.nets.fronts.scale import Scaled

__all__ = ["Pixels"]


class Pixels(Scaled):
    """(x - mean) / std per channel, of x = pixels / 255 where they are uint8."""

    def forward(self, pixels_BCHW: Tensor) -> tuple[Tensor, None]:
        """uint8 or floats; of the network's dtype, and no mask."""
        x = pixels_BCHW.to(self.mean.dtype)
        if pixels_BCHW.dtype == torch.uint8:
            x = x / 255.0
        return (x - self.mean.view(-1, 1, 1)) / self.std.view(-1, 1, 1), None
