"""The numbers of a spec that a program takes as tensors, so that other ones need no other program."""

from __future__ import annotations

from typing import Any

from softreg_core.engine.rates import Rates
from softreg_core.engine.step.terms import PENALTIES
from softreg_core.spec.alpha import alpha_at, largest_alpha
from softreg_core.spec.divergences import FixedVarianceSpec
from softreg_core.spec.train import TrainSpec

__all__ = ["number_names", "numbers_at", "structure_of"]

# Compared with something beside the network: their sigma2 is no part of a residual.
_BESIDE_KINDS = frozenset({"teacher", "twin"})


def number_names(spec: TrainSpec) -> tuple[str, ...]:
    """Those that the step of a spec has.

    `alpha` where the divergence ever counts, `sigma2` where it is a number, the penalties that are on, `learning_rate`,
    and `weight_decay` where the optimiser has one.
    """
    names = ["alpha"] if _has_divergence(spec) else []
    if _has_divergence(spec) and _fixed_sigma2(spec) is not None:
        names.append("sigma2")
    names += [name for name in PENALTIES if getattr(spec.penalties, name)]
    names.append("learning_rate")
    if getattr(spec.optimizer, "weight_decay", 0.0):
        names.append("weight_decay")
    return tuple(names)


def numbers_at(spec: TrainSpec, rates: Rates, step: int, total_steps: int) -> dict[str, float]:
    """What they are at a step.

    Args:
        spec: resolved.
        rates: of the run, as they are now.
        step: optimiser steps done.
        total_steps: of the whole run.
    """
    known: dict[str, Any] = {name: getattr(spec.penalties, name) for name in PENALTIES}
    known["learning_rate"] = spec.optimizer.learning_rate * (rates.at(step) if rates.is_changing else 1.0)
    known["weight_decay"] = getattr(spec.optimizer, "weight_decay", 0.0)
    known["sigma2"] = _fixed_sigma2(spec)
    if "alpha" in (names := number_names(spec)):
        alpha = spec.loss.alpha
        known["alpha"] = alpha if isinstance(alpha, float) else alpha_at(alpha, min(1.0, step / total_steps))
    return {name: float(known[name]) for name in names}


def structure_of(spec: TrainSpec) -> dict[str, Any]:
    """The rest of a step, as JSON: specs of one structure run the same program.

    The names of the numbers stand in it, their sizes do not. What decides only which rows come when, how often, and
    what is done between epochs, has no part in a step.
    """
    document = spec.model_dump(mode="json")
    step: dict[str, Any] = {name: document[name] for name in ("net", "loss", "optimizer")}
    step["task"] = document["task"]["kind"]
    step["loss"]["alpha"] = None
    if _fixed_sigma2(spec) is not None:
        step["loss"]["divergence"]["variance"]["value"] = None
    step["optimizer"]["learning_rate"] = None
    step["optimizer"].pop("weight_decay", None)
    step["net"].pop("initialization", None)
    training = spec.training
    step["training"] = {
        "gradient_clip": training.gradient_clip,
        "has_class_weights": training.class_weights is not None,
    }
    step["include_biases"] = spec.penalties.include_biases
    step["numbers"] = list(number_names(spec))
    return step


def _has_divergence(spec: TrainSpec) -> bool:
    return spec.loss.divergence is not None and largest_alpha(spec.loss.alpha) > 0.0


def _fixed_sigma2(spec: TrainSpec) -> float | None:
    divergence = spec.loss.divergence
    if divergence is None or divergence.kind in _BESIDE_KINDS:
        return None
    variance = getattr(divergence, "variance", None)
    return variance.value if isinstance(variance, FixedVarianceSpec) else None
