"""Normalisation by statistics of the training rows, which are part of a network and are not trained."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["Scaled"]


class Scaled(nn.Module):
    """A front with `mean` and `std`, one number each per channel; 0 and 1 until `build_net` fills them."""

    mean: Tensor
    std: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("std", torch.ones(channels))
