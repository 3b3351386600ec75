"""Which base goes with which divergence and task, and why the others do not."""

from __future__ import annotations

from softreg_core.spec.bases import BaseSpec
from softreg_core.spec.divergences import DivergenceSpec

__all__ = ["misfit_of_divergence", "misfit_of_task"]

_OF_CLASSES = ("cross_entropy", "brier", "generalized_cross_entropy", "symmetric_cross_entropy", "focal")
# Those whose residual a divergence of residuals works on too; brier's is that of the probabilities.
_WITH_RESIDUALS = ("half_squared_error", "huber", "absolute_error", "brier")


def misfit_of_divergence(base: BaseSpec, divergence: DivergenceSpec) -> str | None:
    """Why `divergence` cannot be added to `base`; None when it can."""
    if divergence.kind in ("categorical", "uniform"):
        if base.kind not in _OF_CLASSES:
            return (
                f"divergence '{divergence.kind}' compares class distributions and goes with base "
                f"{_listed(_OF_CLASSES)}, not with {base.kind}: set divergence to null or choose such a base"
            )
    elif base.kind not in _WITH_RESIDUALS:
        return (
            f"divergence '{divergence.kind}' compares real values and goes with base {_listed(_WITH_RESIDUALS)}, "
            f"not with {base.kind}: set divergence to null or choose such a base"
        )
    return None


def misfit_of_task(base: BaseSpec, task: str) -> str | None:
    """Why `base` cannot be used for `task`; None when it can."""
    if task == "regression" and base.kind in _OF_CLASSES:
        return f"{base.kind} compares classes; the task is regression"
    if task == "classification" and base.kind == "quantile":
        return "quantile estimates a quantile of real values; a one-hot row has only 0 and 1"
    return None


def _listed(kinds: tuple[str, ...]) -> str:
    return ", ".join(kinds[:-1]) + f" or {kinds[-1]}"
