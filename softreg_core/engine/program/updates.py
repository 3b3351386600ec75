"""The optimisers as formulas over tensors, for programs; their state has the names and the meaning of torch's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from softreg_core.spec.optimizer import AdagradSpec, AdamSpec, AdamwSpec, RmspropSpec, SgdSpec

__all__ = ["UPDATES", "Moments", "Update", "biases", "moments_of"]

Moments = dict[str, Tensor]
"""What is kept of one parameter between steps, each of its shape."""

Update = Callable[[Any, Tensor, Tensor, Moments, Mapping[str, Tensor]], tuple[Tensor, Moments]]
"""From (spec, parameter, gradient, moments, numbers) to the parameter and the moments after the step. Numbers have no
dimension: `learning_rate` of this step; `weight_decay` of this parameter, where the optimiser has one; `count`, the
steps done with this one, float64, or what `biases` makes of it. Parameters of one group may come as one vector."""


def _adam(
    spec: AdamSpec | AdamwSpec, parameter: Tensor, gradient: Tensor, moments: Moments, numbers: Mapping[str, Tensor]
) -> tuple[Tensor, Moments]:
    rate, dtype = numbers["learning_rate"], parameter.dtype
    if "weight_decay" in numbers:
        parameter = parameter * (1.0 - rate * numbers["weight_decay"]).to(dtype)
    mean = moments["exp_avg"] + (1.0 - spec.beta1) * (gradient - moments["exp_avg"])
    square = spec.beta2 * moments["exp_avg_sq"] + (1.0 - spec.beta2) * gradient * gradient
    # In float64: 1 - beta^t is small at first, and the difference would lose digits.
    if "bias_of_mean" in numbers:
        size, correction = rate / numbers["bias_of_mean"], numbers["bias_of_root"]
    else:
        size = rate / (1.0 - spec.beta1 ** numbers["count"])
        correction = (1.0 - spec.beta2 ** numbers["count"]).sqrt()
    step = size.to(dtype) * mean / (square.sqrt() / correction.to(dtype) + spec.epsilon)
    return parameter - step, {"exp_avg": mean, "exp_avg_sq": square}


def _sgd(
    spec: SgdSpec, parameter: Tensor, gradient: Tensor, moments: Moments, numbers: Mapping[str, Tensor]
) -> tuple[Tensor, Moments]:
    rate, dtype = numbers["learning_rate"], parameter.dtype
    if "weight_decay" in numbers:
        parameter = parameter * (1.0 - rate * numbers["weight_decay"]).to(dtype)
    if spec.momentum == 0.0:
        return parameter - rate.to(dtype) * gradient, {}
    kept = spec.momentum * moments["momentum_buffer"] + gradient
    direction = gradient + spec.momentum * kept if spec.nesterov else kept
    return parameter - rate.to(dtype) * direction, {"momentum_buffer": kept}


def _rmsprop(
    spec: RmspropSpec, parameter: Tensor, gradient: Tensor, moments: Moments, numbers: Mapping[str, Tensor]
) -> tuple[Tensor, Moments]:
    rate = numbers["learning_rate"].to(parameter.dtype)
    after = {"square_avg": spec.smoothing * moments["square_avg"] + (1.0 - spec.smoothing) * gradient * gradient}
    spread = after["square_avg"]
    if spec.centered:
        after["grad_avg"] = moments["grad_avg"] + (1.0 - spec.smoothing) * (gradient - moments["grad_avg"])
        spread = spread - after["grad_avg"].square()
    direction = gradient / (spread.sqrt() + spec.epsilon)
    if spec.momentum > 0.0:
        direction = after["momentum_buffer"] = spec.momentum * moments["momentum_buffer"] + direction
    return parameter - rate * direction, after


def _adagrad(
    spec: AdagradSpec, parameter: Tensor, gradient: Tensor, moments: Moments, numbers: Mapping[str, Tensor]
) -> tuple[Tensor, Moments]:
    total = moments["sum"] + gradient * gradient
    rate = numbers["learning_rate"].to(parameter.dtype)
    return parameter - rate * gradient / (total.sqrt() + spec.epsilon), {"sum": total}


UPDATES: dict[str, Update] = {"adam": _adam, "adamw": _adam, "sgd": _sgd, "rmsprop": _rmsprop, "adagrad": _adagrad}
"""By kind; those of torch that orthogonalise matrices are not among them."""


def biases(spec: Any, count_S: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Numbers in place of `count`, by name: a power taken once, where a compiler would take it for each parameter.

    Args:
        spec: of an optimiser in `UPDATES`.
        count_S: of each step, steps done with it.
    """
    if spec.kind not in ("adam", "adamw"):
        return {}
    return {"bias_of_mean": 1.0 - spec.beta1**count_S, "bias_of_root": np.sqrt(1.0 - spec.beta2**count_S)}


def moments_of(spec: Any, parameter: Tensor) -> Moments:
    """Before the first step.

    Args:
        spec: of an optimiser in `UPDATES`.
        parameter: of any shape.
    """
    names = {
        "adam": ("exp_avg", "exp_avg_sq"),
        "adamw": ("exp_avg", "exp_avg_sq"),
        "sgd": ("momentum_buffer",) if spec.kind == "sgd" and spec.momentum else (),
        "rmsprop": _of_rmsprop(spec) if spec.kind == "rmsprop" else (),
        "adagrad": ("sum",),
    }
    return {name: torch.zeros_like(parameter) for name in names[spec.kind]}


def _of_rmsprop(spec: RmspropSpec) -> tuple[str, ...]:
    more = (("grad_avg", spec.centered), ("momentum_buffer", spec.momentum > 0.0))
    return ("square_avg", *(name for name, is_kept in more if is_kept))
