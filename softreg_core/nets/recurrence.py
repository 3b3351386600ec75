"""One direction of one recurrent layer, by torch's kernels, or as a loop that can be exported."""

# B examples, T steps, D values of a step, H hidden units, G gates

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch._higher_order_ops.scan import scan
from torch.nn import functional as F

from softreg_core.nets.initialization import with_memory

__all__ = ["Direction"]


class Direction(nn.Module):
    """From the first step to the last; a step's output depends on none after it."""

    def __init__(self, cell: str, inputs: int, hidden: int, how: str, generator: torch.Generator) -> None:
        super().__init__()
        kind = nn.LSTM if cell == "lstm" else nn.GRU
        # Created without memory first: the constructor would draw weights from the global generator.
        self.cell = with_memory(kind(inputs, hidden, batch_first=True, device="meta", dtype=torch.float32))
        _fill(self.cell, how, generator)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """(B, T, D); (B, T, H)."""
        # The kernels would be exported as so many steps as the example has.
        if torch.compiler.is_exporting():
            return self._scanned(x_BTD)
        y_BTH: Tensor = self.cell(x_BTD)[0]
        return y_BTH

    def _scanned(self, x_BTD: Tensor) -> Tensor:
        cell = self.cell
        weight_GD, weight_GH, bias_ih_G, bias_G = cell.parameters()
        weight_HG = weight_GH.t()
        given_TBG = F.linear(x_BTD, weight_GD, bias_ih_G).transpose(0, 1)
        start_BH = torch.zeros(x_BTD.shape[0], cell.hidden_size, dtype=x_BTD.dtype, device=x_BTD.device)

        def lstm(state: tuple[Tensor, Tensor], given_BG: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor]:
            enter, forget, new, leave = (given_BG + torch.addmm(bias_G, state[0], weight_HG)).chunk(4, 1)
            kept_BH = torch.sigmoid(forget) * state[1] + torch.sigmoid(enter) * torch.tanh(new)
            hidden_BH = torch.sigmoid(leave) * torch.tanh(kept_BH)
            # An output must not be the same tensor as a state.
            return (hidden_BH, kept_BH), hidden_BH.clone()

        def gru(state_BH: Tensor, given_BG: Tensor) -> tuple[Tensor, Tensor]:
            reset, update, new = given_BG.chunk(3, 1)
            reset_state, update_state, new_state = torch.addmm(bias_G, state_BH, weight_HG).chunk(3, 1)
            share_BH = torch.sigmoid(update + update_state)
            new_BH = torch.tanh(new + torch.sigmoid(reset + reset_state) * new_state)
            hidden_BH = (1.0 - share_BH) * new_BH + share_BH * state_BH
            return hidden_BH, hidden_BH.clone()

        if isinstance(cell, nn.LSTM):
            _, y_TBH = scan(lstm, (start_BH, start_BH.clone()), given_TBG)
        else:
            _, y_TBH = scan(gru, start_BH, given_TBG)
        y_BTH: Tensor = y_TBH.transpose(0, 1)
        return y_BTH


@torch.no_grad()
def _fill(cell: nn.LSTM | nn.GRU, how: str, generator: torch.Generator) -> None:
    hidden = cell.hidden_size
    if how == "torch":
        bound = 1.0 / math.sqrt(hidden)
        for parameter in cell.parameters():
            parameter.uniform_(-bound, bound, generator=generator)
        return
    weight_GD, weight_GH, bias_ih_G, bias_hh_G = cell.parameters()
    for of_inputs, of_state in zip(torch.split(weight_GD, hidden), torch.split(weight_GH, hidden), strict=True):
        nn.init.xavier_uniform_(of_inputs, generator=generator)
        nn.init.orthogonal_(of_state, generator=generator)
    bias_ih_G.zero_()
    bias_hh_G.zero_()
    if isinstance(cell, nn.LSTM):
        bias_ih_G[hidden : 2 * hidden] = 1.0
