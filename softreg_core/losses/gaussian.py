"""Divergences of two normal distributions around prediction and target, and the likelihood of one."""

# B examples, C outputs, G groups of outputs that share a variance: 1 group of C outputs, or C groups of one

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from softreg_core.losses.residual import Residual

__all__ = ["GaussianDirection", "gaussian", "gaussian_nll", "gaussian_of_two"]

GaussianDirection = Literal["prediction_to_target", "target_to_prediction"]


def gaussian(squared_B: Tensor, variance: float | Tensor = 1.0) -> Tensor:
    """KL between N(yhat, sigma2) and N(y, sigma2); with one variance for both, either way round.

    K = d2 / (2 sigma2)

    Args:
        squared_B: float (B,), d2, not negative, in squared units of the target.
        variance: sigma2 above 0, in the same units; a number, or a tensor that broadcasts to (B,).

    Returns:
        float (B,), dimensionless, not reduced.

    Source:
        The article, the definitions of sections 3.1 and 3.3.
    Differs:
        The article derives its closed formula from this definition; the two are not equal.
    """
    return squared_B / (2.0 * variance)


def gaussian_of_two(
    pair: Residual,
    predicted: Tensor,
    variance: float | Tensor = 1.0,
    direction: GaussianDirection = "target_to_prediction",
    *,
    beta: float = 0.0,
) -> Tensor:
    """KL between P = N(yhat, sp2 I) and Q = N(y, sigma2 I), in either direction.

    prediction_to_target, KL(P to Q): 1/2 [ C ln(sigma2 / sp2) + (C sp2 + d2) / sigma2 - C ]
    target_to_prediction, KL(Q to P): 1/2 [ C ln(sp2 / sigma2) + (C sigma2 + d2) / sp2 - C ]

    With a variance for each output, the sum over the outputs of the same with C = 1.

    Args:
        pair: checked prediction and target; see `residual`.
        predicted: sp2 above 0, in squared units of the target; (B, 1), (B, C), or of no dimension.
        variance: sigma2 above 0, in the same units; a number, or of no dimension.
        direction: which way round.
        beta: target_to_prediction only: each group's value is multiplied by sp2^beta, through which no gradient flows.

    Returns:
        float (B,), dimensionless, not negative, not reduced. The first has its optimum over sp2 at sigma2, whatever
        the residual; the second at sigma2 + d2 / C.

    Source:
        The article, sections 3.3 (the first) and 3.1 (the second). beta: Seitzer et al. 2022, equation 5.
    """
    half_BG, size, predicted_BG = _groups(pair, predicted)
    sigma2 = torch.as_tensor(variance, dtype=predicted_BG.dtype, device=predicted_BG.device)
    if direction == "prediction_to_target":
        gap_BG = sigma2.log() - predicted_BG.log() + predicted_BG / sigma2 - 1.0
        return (0.5 * size * gap_BG + half_BG / sigma2).sum(1)
    gap_BG = predicted_BG.log() - sigma2.log() + sigma2 / predicted_BG - 1.0
    return _weighed(0.5 * size * gap_BG + half_BG / predicted_BG, predicted_BG, beta)


def gaussian_nll(pair: Residual, predicted: Tensor, *, beta: float = 0.0) -> Tensor:
    """Minus the log likelihood of the target under N(yhat, sp2 I), up to a constant.

    1/2 [ C ln sp2 + d2 / sp2 ]; with a variance for each output, 1/2 sum_c [ ln sp2_c + (y_c - yhat_c)^2 / sp2_c ]

    Args:
        pair: checked prediction and target; see `residual`.
        predicted: sp2 above 0, in squared units of the target; (B, 1) or (B, C).
        beta: each group's value is multiplied by sp2^beta, through which no gradient flows.

    Returns:
        float (B,), not reduced. Not bounded below: sp2 to 0 where the residual is 0.

    Source:
        Nix and Weigend 1994. beta: Seitzer et al. 2022, equation 5.
    Differs:
        torch.nn.GaussianNLLLoss adds a constant when asked, and clamps the variance, through which it then gives a
        gradient that is not the value's.
    """
    half_BG, size, predicted_BG = _groups(pair, predicted)
    return _weighed(0.5 * size * predicted_BG.log() + half_BG / predicted_BG, predicted_BG, beta)


def _groups(pair: Residual, predicted: Tensor) -> tuple[Tensor, int, Tensor]:
    """Half the squared residual of each group, its number of outputs, its variance.

    Halved before it is divided: the quotient may be twice the largest number that there is.
    """
    outputs = pair.prediction.shape[1]
    predicted = predicted.to(pair.squared.dtype)
    if predicted.ndim == 0 or predicted.shape[1] == 1:
        return 0.5 * pair.squared.unsqueeze(1), outputs, predicted.expand(pair.squared.shape[0], 1)
    return 0.5 * (pair.prediction - pair.target).square(), 1, predicted


def _weighed(value_BG: Tensor, predicted_BG: Tensor, beta: float) -> Tensor:
    if beta != 0.0:
        value_BG = value_BG * predicted_BG.detach().pow(beta)
    return value_BG.sum(1)
