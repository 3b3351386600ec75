"""Tables with columns of categories."""

# B examples, D columns of numbers, K columns of categories

from __future__ import annotations

import itertools
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from softreg_core.nets.initialization import embedding
from softreg_core.spec.inputs import TableShape

__all__ = ["ColumnTokens", "EmbeddedRows"]


class EmbeddedRows(nn.Module):
    """The numbers, and after them the vectors that stand for the categories, one table for each column."""

    def __init__(self, tables: Iterable[nn.Embedding], *, has_numbers: bool) -> None:
        super().__init__()
        self.embeddings = nn.ModuleList(tables)
        self.has_numbers = has_numbers

    def forward(self, *inputs: Tensor) -> Tensor:
        """`numbers` if there are any, and `codes`; (B, F)."""
        codes_BK = inputs[-1]
        vectors = [table(codes_BK[:, column]) for column, table in enumerate(self.embeddings)]
        return torch.cat([inputs[0], *vectors] if self.has_numbers else vectors, dim=1)


class ColumnTokens(nn.Module):
    """A token for each column, after one of no column, which gathers the answer.

    x_j weight_j + bias_j for a number, a vector for a category; all drawn uniformly from +-1/sqrt(W).

    Source: Gorishniy et al. 2021 (FT-Transformer), section 3.3.
    """

    offsets: Tensor

    def __init__(self, shape: TableShape, width: int, generator: torch.Generator) -> None:
        super().__init__()
        bound = width**-0.5
        self.answer = nn.Parameter(torch.empty(width).uniform_(-bound, bound, generator=generator))
        self.has_numbers = shape.numbers > 0
        if self.has_numbers:
            size = (shape.numbers, width)
            self.weight = nn.Parameter(torch.empty(size).uniform_(-bound, bound, generator=generator))
            self.bias = nn.Parameter(torch.empty(size).uniform_(-bound, bound, generator=generator))
        self.has_codes = bool(shape.levels)
        if self.has_codes:
            # One table for all columns: the codes of each begin where those of the one before it end.
            self.embedding = embedding(sum(shape.levels), width, generator)
            with torch.no_grad():
                self.embedding.weight.uniform_(-bound, bound, generator=generator)
            begins = [0, *itertools.accumulate(shape.levels[:-1])]
            self.register_buffer("offsets", torch.tensor(begins), persistent=False)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, None]:
        """`numbers` and `codes`, those that there are; (B, 1 + D + K, W), and no mask."""
        tokens = [self.answer.expand(inputs[0].shape[0], 1, -1)]
        if self.has_numbers:
            tokens.append(torch.addcmul(self.bias, inputs[0].unsqueeze(2), self.weight))
        if self.has_codes:
            tokens.append(self.embedding(inputs[-1] + self.offsets))
        return torch.cat(tokens, dim=1), None
