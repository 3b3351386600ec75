"""Encoder of tokens: columns of a table, words, steps, frames."""

# B examples, T tokens, W width, N heads, C outputs

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from softreg_core.nets.chain import ACTIVATIONS
from softreg_core.nets.fronts import step_front
from softreg_core.nets.fronts.flat import MaskedMean
from softreg_core.nets.fronts.table import ColumnTokens
from softreg_core.nets.initialization import linear
from softreg_core.nets.noise import Dropout, Noise
from softreg_core.spec.inputs import InputShape
from softreg_core.spec.net import TransformerSpec
from softreg_core.spec.widths import step_width

__all__ = ["build_transformer"]


def build_transformer(spec: TransformerSpec, shape: InputShape, outputs: int, generator: torch.Generator) -> nn.Module:
    """The answer is read from the token of no column for a table, else from the mean over the tokens.

    Source: Vaswani et al. 2017, its sines for positions; norms before the branches (Xiong et al. 2020); for tables
    Gorishniy et al. 2021.
    Differs: attention weights are not dropped.
    """
    return _Transformer(spec, shape, outputs, generator)


class _Transformer(nn.Module):
    def __init__(self, spec: TransformerSpec, shape: InputShape, outputs: int, generator: torch.Generator) -> None:
        super().__init__()
        width, noise = spec.width, Noise()
        self.project: nn.Module | None = None
        self.positions: nn.Module | None = None
        if shape.kind == "table":
            self.front: nn.Module = ColumnTokens(shape, width, generator)
        else:
            self.front = step_front(shape, width, generator)
            self.positions = _Positions(width)
            if shape.kind != "text":
                self.project = linear(step_width(shape, width), width, spec.initialization, generator)
        self.dropout = Dropout(spec.dropout, noise)
        self.layers = nn.ModuleList(_Layer(spec, noise, generator) for _ in range(spec.layers))
        self.norm = nn.LayerNorm(width)
        self.mean = None if shape.kind == "table" else MaskedMean()
        self.output = linear(width, outputs, spec.initialization, generator)

    def forward(self, *inputs: Tensor) -> Tensor:
        """The batch's tensors; (B, C)."""
        x_BTW, mask_BT = self.front(*inputs)
        if self.project is not None:
            x_BTW = self.project(x_BTW)
        if self.positions is not None:
            x_BTW = self.positions(x_BTW)
        x_BTW = self.dropout(x_BTW)
        seen = None if mask_BT is None else mask_BT[:, None, None, :]
        for layer in self.layers:
            x_BTW = layer(x_BTW, seen)
        pooled_BW = self.norm(x_BTW[:, 0]) if self.mean is None else self.mean((self.norm(x_BTW), mask_BT))
        answer: Tensor = self.output(pooled_BW)
        return answer


class _Positions(nn.Module):
    """Adds sin(t / 10000^(2 i / W)), and as many cosines: a function, so that rows may be of any length."""

    frequencies: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        frequencies = torch.exp(torch.arange(0, width, 2) * (-math.log(10_000.0) / width))
        self.register_buffer("frequencies", frequencies, persistent=False)

    def forward(self, x_BTW: Tensor) -> Tensor:
        """The same shape."""
        step_T1 = torch.arange(x_BTW.shape[1], device=x_BTW.device).unsqueeze(1)
        angle = step_T1 * self.frequencies
        return x_BTW + torch.cat([angle.sin(), angle.cos()], dim=1)


class _Layer(nn.Module):
    """x + attention(norm(x)), then x + hidden(norm(x))."""

    def __init__(self, spec: TransformerSpec, noise: Noise, generator: torch.Generator) -> None:
        super().__init__()
        width, hidden, how = spec.width, spec.expansion * spec.width, spec.initialization
        self.heads = spec.heads
        self.attention_norm = nn.LayerNorm(width)
        self.queries_keys_values = linear(width, 3 * width, how, generator)
        self.joined = linear(width, width, how, generator)
        self.hidden_norm = nn.LayerNorm(width)
        self.hidden = linear(width, hidden, how, generator)
        self.activation = ACTIVATIONS[spec.activation]()
        self.back = linear(hidden, width, how, generator)
        self.dropout = Dropout(spec.dropout, noise)

    def forward(self, x_BTW: Tensor, seen: Tensor | None) -> Tensor:
        """Tokens, and which of them others see, bool (B, 1, 1, T); the same shape."""
        x_BTW = x_BTW + self.dropout(self._attended(self.attention_norm(x_BTW), seen))
        hidden = self.dropout(self.activation(self.hidden(self.hidden_norm(x_BTW))))
        answer: Tensor = x_BTW + self.dropout(self.back(hidden))
        return answer

    def _attended(self, x_BTW: Tensor, seen: Tensor | None) -> Tensor:
        split = self.queries_keys_values(x_BTW).unflatten(2, (3, self.heads, -1))
        queries_BNT_, keys_BNT_, values_BNT_ = split.permute(2, 0, 3, 1, 4).unbind(0)
        attended = F.scaled_dot_product_attention(queries_BNT_, keys_BNT_, values_BNT_, attn_mask=seen)
        joined: Tensor = self.joined(attended.transpose(1, 2).flatten(2))
        return joined
