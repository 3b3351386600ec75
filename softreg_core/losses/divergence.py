"""The divergences of residuals as modules: a formula, and the sigma2 that it is computed with."""

# B examples, C outputs

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from softreg_core.losses.gaussian import gaussian_of_two
from softreg_core.losses.logits import Classes
from softreg_core.losses.parts import DataMeta
from softreg_core.losses.residual import Residual
from softreg_core.losses.variance import Variance
from softreg_core.spec.divergences import GaussianSpec

__all__ = ["Formula", "GaussianDivergence", "OfProbabilities", "RatioDivergence"]

Formula = Callable[[Tensor, int, "float | Tensor"], Tensor]
"""Of d2 (B,), the number of outputs and sigma2."""


class RatioDivergence(nn.Module):
    """A function of u = d2 / sigma2, or of d2 / (C sigma2)."""

    def __init__(self, formula: Formula, variance: Variance, *, is_per_output: bool = False) -> None:
        super().__init__()
        self.formula = formula
        self.variance = variance
        self.is_per_output = is_per_output

    def forward(self, pair: Residual) -> Tensor:
        """(B,), not reduced."""
        outputs = pair.prediction.shape[1]
        sigma2 = self.variance(pair)
        return self.formula(pair.squared, outputs, outputs * sigma2 if self.is_per_output else sigma2)


class GaussianDivergence(nn.Module):
    """`gaussian_of_two` with a variance of the prediction that is one number to learn, or predicted."""

    def __init__(self, spec: GaussianSpec, variance: Variance, data_meta: DataMeta | None) -> None:
        super().__init__()
        self.spec = spec
        self.variance = variance
        self.log_variance: nn.Parameter | None = None
        if spec.prediction_variance == "learned":
            # It starts at what a constant prediction would be off by.
            known = None if data_meta is None else data_meta.target_variance
            start = 0.0 if known is None else math.log(max(known, spec.prediction_floor))
            self.log_variance = nn.Parameter(torch.tensor(start, dtype=torch.float32))

    def forward(self, pair: Residual) -> Tensor:
        """(B,), not reduced."""
        sigma2 = self.variance(pair)
        predicted = pair.variance if self.log_variance is None else self.spec.prediction_floor + self.log_variance.exp()
        if predicted is None:
            raise ValueError("'variance' is needed: the network predicts it, and `split` takes it from the output")
        return gaussian_of_two(pair, predicted, sigma2, self.spec.direction, beta=self.spec.beta)


class OfProbabilities(nn.Module):
    """A divergence of residuals, of those between probabilities and one-hot rows."""

    def __init__(self, divergence: Callable[[Residual], Tensor]) -> None:
        super().__init__()
        self.divergence = divergence

    def forward(self, pair: Classes) -> Tensor:
        """(B,), not reduced."""
        return self.divergence(pair.residual())
