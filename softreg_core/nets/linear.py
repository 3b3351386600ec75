"""One linear layer."""

# B examples, C outputs, D columns of numbers, K columns of categories

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from softreg_core.nets.chain import Chain
from softreg_core.nets.fronts import flat_front
from softreg_core.nets.fronts.steps import within
from softreg_core.nets.initialization import linear
from softreg_core.spec.inputs import InputShape
from softreg_core.spec.net import LinearSpec
from softreg_core.spec.widths import flat_width

__all__ = ["build_linear"]


def build_linear(spec: LinearSpec, shape: InputShape, outputs: int, generator: torch.Generator) -> nn.Module:
    """A chain whose last module is `output`."""
    how = spec.initialization
    if shape.kind == "table" and shape.levels:
        output = linear(shape.numbers + sum(shape.levels), outputs, how, generator)
        return _OneHot(output, shape.numbers, shape.levels)
    if shape.kind == "text":
        return _Shares(linear(shape.vocabulary, outputs, how, generator))
    layers = flat_front(shape, generator)
    layers["output"] = linear(flat_width(shape), outputs, how, generator)
    return Chain(layers)


class _OneHot(nn.Module):
    """A linear layer over numbers and one-hot rows, which are never formed: each picks a column of the weights."""

    offsets: Tensor

    def __init__(self, output: nn.Linear, numbers: int, levels: tuple[int, ...]) -> None:
        super().__init__()
        self.output = output
        self.numbers = numbers
        begins = [numbers, *itertools.accumulate(levels[:-1], initial=numbers)][1:]
        self.register_buffer("offsets", torch.tensor(begins), persistent=False)

    def forward(self, *inputs: Tensor) -> Tensor:
        """`numbers` if there are any, and `codes`; (B, C)."""
        weight_FC = self.output.weight.t()
        picked_BC: Tensor = nn.functional.embedding(inputs[-1] + self.offsets, weight_FC).sum(1) + self.output.bias
        if not self.numbers:
            return picked_BC
        return picked_BC + inputs[0] @ weight_FC[: self.numbers]


class _Shares(nn.Module):
    """A linear layer over the share that each token of the vocabulary has in a text."""

    def __init__(self, output: nn.Linear) -> None:
        super().__init__()
        self.output = output

    def forward(self, tokens_BT: Tensor, lengths_B: Tensor) -> Tensor:
        """Both int64; (B, C)."""
        mask_BT1 = within(lengths_B, tokens_BT.shape[1]).unsqueeze(2)
        picked_BTC = nn.functional.embedding(tokens_BT, self.output.weight.t()) * mask_BT1
        shares: Tensor = picked_BTC.sum(1) / mask_BT1.sum(1) + self.output.bias
        return shares
