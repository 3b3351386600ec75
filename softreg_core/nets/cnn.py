"""Stages of convolutions, after VGG."""

# B examples, C outputs

from __future__ import annotations

import torch
from torch import Tensor, nn

from softreg_core.nets.chain import ACTIVATIONS
from softreg_core.nets.fronts import map_front
from softreg_core.nets.initialization import linear
from softreg_core.nets.maps import ConvNorm, halved_mask, mean_of_map, pooled
from softreg_core.nets.noise import Dropout, Noise
from softreg_core.spec.inputs import InputShape
from softreg_core.spec.net import CnnSpec

__all__ = ["build_cnn"]


def build_cnn(spec: CnnSpec, shape: InputShape, outputs: int, generator: torch.Generator) -> nn.Module:
    """Of images, or of log-mel spectra as images of one channel.

    Source: Simonyan and Zisserman 2015.
    Differs: norms, sizes for small images, and the mean over the last map instead of fully connected layers.
    """
    return _Cnn(spec, shape, outputs, generator)


class _Cnn(nn.Module):
    def __init__(self, spec: CnnSpec, shape: InputShape, outputs: int, generator: torch.Generator) -> None:
        super().__init__()
        self.front = map_front(shape, halvings=len(spec.channels) - 1)
        before = shape.channels if shape.kind == "image" else 1
        self.per_stage = spec.convolutions
        self.convolutions = nn.ModuleList()
        for after in spec.channels:
            for _ in range(spec.convolutions):
                self.convolutions.append(ConvNorm(before, after, spec.norm, spec.initialization, generator))
                before = after
        self.activation = ACTIVATIONS[spec.activation]()
        self.dropout = Dropout(spec.dropout, Noise())
        self.output = linear(before, outputs, "torch", generator)

    def forward(self, *inputs: Tensor) -> Tensor:
        """The batch's tensors; (B, C)."""
        x, mask = self.front(*inputs)
        for index, convolution in enumerate(self.convolutions):
            if index and index % self.per_stage == 0:
                x, mask = pooled(x, mask), halved_mask(mask)
            x = self.activation(convolution(x, mask, mask))
        answer: Tensor = self.output(self.dropout(mean_of_map(x, mask)))
        return answer
