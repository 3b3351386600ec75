"""Residual networks for small images."""

# B examples, C outputs

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from softreg_core.nets.fronts import map_front
from softreg_core.nets.initialization import linear
from softreg_core.nets.maps import ConvNorm, halved_mask, mean_of_map
from softreg_core.nets.noise import Dropout, Noise
from softreg_core.spec.inputs import InputShape
from softreg_core.spec.net import ResnetSpec

__all__ = ["build_resnet"]


def build_resnet(spec: ResnetSpec, shape: InputShape, outputs: int, generator: torch.Generator) -> nn.Module:
    """Of images, or of log-mel spectra as images of one channel.

    Source: He et al. 2016, section 4.2, shortcuts of option A; 0.27 million numbers at depth 20 and width 16.
    Differs: any width; dropout, if asked for, before the output layer.
    """
    return _Resnet(spec, shape, outputs, generator)


class _Resnet(nn.Module):
    def __init__(self, spec: ResnetSpec, shape: InputShape, outputs: int, generator: torch.Generator) -> None:
        super().__init__()
        norm, how, width = spec.norm, spec.initialization, spec.width
        self.front = map_front(shape, halvings=2)
        self.first = ConvNorm(shape.channels if shape.kind == "image" else 1, width, norm, how, generator)
        self.blocks = nn.ModuleList()
        before = width
        for after in (width, 2 * width, 4 * width):
            for _ in range((spec.depth - 2) // 6):
                self.blocks.append(_Block(before, after, norm, how, generator))
                before = after
        self.dropout = Dropout(spec.dropout, Noise())
        self.output = linear(before, outputs, "torch", generator)

    def forward(self, *inputs: Tensor) -> Tensor:
        """The batch's tensors; (B, C)."""
        x, mask = self.front(*inputs)
        x = F.relu(self.first(x, mask, mask))
        for block in self.blocks:
            x, mask = block(x, mask)
        answer: Tensor = self.output(self.dropout(mean_of_map(x, mask)))
        return answer


class _Block(nn.Module):
    """Two convolutions and a shortcut; where channels double, rows and columns are halved."""

    def __init__(self, before: int, after: int, norm: str, how: str, generator: torch.Generator) -> None:
        super().__init__()
        self.more = after - before
        self.first = ConvNorm(before, after, norm, how, generator, stride=2 if self.more else 1)
        self.second = ConvNorm(after, after, norm, how, generator)

    def forward(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """A map and its mask; the same of the block's output."""
        after = halved_mask(mask) if self.more else mask
        y = self.second(F.relu(self.first(x, mask, after)), after, after)
        if self.more:
            # Every other place, and channels of zeros for those that are new: a shortcut without weights.
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, self.more))
        return F.relu(x + y), after
