"""Recurrent networks whose answer does not depend on how far a row is padded."""

# B examples, T steps, D values of a step, H units of a direction, C outputs

from __future__ import annotations

import torch
from torch import Tensor, nn

from softreg_core.nets.fronts import step_front
from softreg_core.nets.fronts.flat import MaskedMean
from softreg_core.nets.initialization import linear
from softreg_core.nets.noise import Dropout, Noise
from softreg_core.nets.recurrence import Direction
from softreg_core.spec.inputs import InputShape
from softreg_core.spec.net import RnnSpec
from softreg_core.spec.widths import step_width

__all__ = ["build_rnn"]


def build_rnn(spec: RnnSpec, shape: InputShape, outputs: int, generator: torch.Generator) -> nn.Module:
    """Of sequences, text, or the frames of log-mel spectra.

    Source: Hochreiter and Schmidhuber 1997 with a forget gate (lstm), Cho et al. 2014 (gru), as in torch.
    Differs: each row is turned around within its own length for the backward direction, instead of packed, so that
    the network can be exported; the layers are single ones, with masks of our own between them.
    """
    return _Rnn(spec, shape, outputs, generator)


class _Rnn(nn.Module):
    def __init__(self, spec: RnnSpec, shape: InputShape, outputs: int, generator: torch.Generator) -> None:
        super().__init__()
        self.front = step_front(shape, spec.embedding, generator)
        before, noise = step_width(shape, spec.embedding), Noise()
        self.layers = nn.ModuleList()
        for _ in range(spec.layers):
            self.layers.append(_Layer(spec, before, noise, generator))
            before = spec.hidden * (1 + spec.bidirectional)
        self.hidden = spec.hidden
        self.mean = MaskedMean() if spec.pooling == "mean" else None
        how = "glorot_uniform" if spec.initialization == "orthogonal" else "torch"
        self.output = linear(before, outputs, how, generator)

    def forward(self, values: Tensor, lengths_B: Tensor) -> Tensor:
        """The batch's tensors; (B, C)."""
        x_BTD, mask_BT = self.front(values, lengths_B)
        for layer in self.layers:
            x_BTD = layer(x_BTD, mask_BT)
        pooled = self._last(x_BTD, mask_BT) if self.mean is None else self.mean((x_BTD, mask_BT))
        answer: Tensor = self.output(pooled)
        return answer

    def _last(self, x_BTD: Tensor, mask_BT: Tensor) -> Tensor:
        """What each direction knows where it ends: ahead at the last step, back at the first."""
        last_B11 = (mask_BT.sum(1) - 1).view(-1, 1, 1)
        ahead_BH = x_BTD[:, :, : self.hidden].gather(1, last_B11.expand(-1, 1, self.hidden)).squeeze(1)
        return torch.cat([ahead_BH, x_BTD[:, 0, self.hidden :]], dim=1)


class _Layer(nn.Module):
    """One or two directions side by side, a norm, dropout."""

    def __init__(self, spec: RnnSpec, inputs: int, noise: Noise, generator: torch.Generator) -> None:
        super().__init__()
        self.ahead = Direction(spec.cell, inputs, spec.hidden, spec.initialization, generator)
        self.back = (
            Direction(spec.cell, inputs, spec.hidden, spec.initialization, generator) if spec.bidirectional else None
        )
        self.norm = nn.LayerNorm(spec.hidden * (1 + spec.bidirectional)) if spec.norm == "layer" else None
        self.dropout = Dropout(spec.dropout, noise)

    def forward(self, x_BTD: Tensor, mask_BT: Tensor) -> Tensor:
        """Steps, and which of them are within a row; (B, T, H) or, of two directions, (B, T, 2 H)."""
        y: Tensor = self.ahead(x_BTD)
        if self.back is not None:
            y = torch.cat([y, _turned(self.back(_turned(x_BTD, mask_BT)), mask_BT)], dim=2)
        if self.norm is not None:
            y = self.norm(y)
        turned: Tensor = self.dropout(y)
        return turned


def _turned(x_BTD: Tensor, mask_BT: Tensor) -> Tensor:
    """The steps within each row in reverse order, those beyond it where they are."""
    step_T = torch.arange(x_BTD.shape[1], device=x_BTD.device)
    from_BT = torch.where(mask_BT, mask_BT.sum(1, keepdim=True) - 1 - step_T, step_T)
    return x_BTD.gather(1, from_BT.unsqueeze(2).expand(-1, -1, x_BTD.shape[2]))
