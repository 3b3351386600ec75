"""Which base goes with which divergence and task, and why the others do not."""

from __future__ import annotations

from softreg_core.spec.bases import BaseSpec
from softreg_core.spec.divergences import DivergenceSpec, FixedVarianceSpec, TeacherSpec, TwinSpec

__all__ = [
    "couples_a_batch",
    "has_logits",
    "label_threshold",
    "link_is_log",
    "misfit_of_divergence",
    "misfit_of_monitor",
    "misfit_of_task",
]

_OF_CLASSES = ("cross_entropy", "brier", "generalized_cross_entropy", "symmetric_cross_entropy", "focal")
# Their outputs are logits: of one class among several, or of labels that are true or false each by itself.
_OF_LOGITS = (*_OF_CLASSES, "binary_cross_entropy")
# Those whose residual a divergence of residuals works on too; brier's is that of the probabilities.
_WITH_RESIDUALS = ("half_squared_error", "huber", "absolute_error", "gaussian_nll", "brier")

_TASKS_OF_METRICS = {
    "val.accuracy": ("classification", "multilabel"),
    "val.subset_accuracy": ("multilabel",),
    "val.nll": ("classification",),
    "val.r2": ("regression",),
    "val.mae": ("regression",),
    "val.rmse": ("regression",),
}


def misfit_of_divergence(base: BaseSpec, divergence: DivergenceSpec) -> str | None:
    """Why `divergence` cannot be added to `base`; None when it can."""
    if divergence.kind in ("teacher", "twin"):
        return _misfit_beside(base, divergence)
    if divergence.kind in ("categorical", "uniform"):
        if base.kind not in _OF_LOGITS:
            return (
                f"divergence '{divergence.kind}' compares class distributions and goes with base "
                f"{_listed(_OF_LOGITS)}, not with {base.kind}: set divergence to null or choose such a base"
            )
    elif base.kind not in _WITH_RESIDUALS:
        return (
            f"divergence '{divergence.kind}' compares real values and goes with base {_listed(_WITH_RESIDUALS)}, "
            f"not with {base.kind}: set divergence to null or choose such a base"
        )
    elif base.kind == "gaussian_nll" and divergence.kind == "gaussian" and divergence.prediction_variance != "same":
        return (
            "gaussian_nll has a predicted variance of its own, and one prediction cannot have two: set "
            "prediction_variance to same or choose base half_squared_error"
        )
    return None


def _misfit_beside(base: BaseSpec, divergence: TeacherSpec | TwinSpec) -> str | None:
    """They go with every base and take its form; what the form does not use is refused."""
    if base.kind == "gaussian_nll":
        return (
            f"divergence '{divergence.kind}' compares predictions of one variance and goes with base "
            "half_squared_error or another that predicts no variance, not with gaussian_nll"
        )
    if has_logits(base):
        if divergence.variance != FixedVarianceSpec():
            return f"variance is of real values; with base {base.kind} '{divergence.kind}' compares probabilities"
    elif isinstance(divergence, TeacherSpec) and divergence.temperature != 1.0:
        return f"temperature divides logits; the outputs of base {base.kind} are values: choose a variance instead"
    return None


def misfit_of_task(base: BaseSpec, task: str) -> str | None:
    """Why `base` cannot be used for `task`; None when it can."""
    if task == "regression" and base.kind in _OF_LOGITS:
        return f"{base.kind} compares classes; the task is regression"
    if task != "regression" and base.kind == "quantile":
        row = "one-hot row" if task == "classification" else "label"
        return f"quantile estimates a quantile of real values; a {row} has only 0 and 1"
    if task != "regression" and base.kind in ("poisson", "gaussian_nll"):
        what = "counts" if base.kind == "poisson" else "real values and their variance"
        return f"{base.kind} models {what}; the task is {task}"
    if task == "classification" and base.kind == "binary_cross_entropy":
        # A model with one logit for two classes would be a second form of the same thing, with other shapes.
        return (
            "binary_cross_entropy compares labels that are true or false each by itself, and a class excludes the "
            "others: choose cross_entropy, or task.kind multilabel, which takes a single column of two levels too"
        )
    if task == "multilabel" and base.kind in _OF_CLASSES:
        return f"{base.kind} compares classes of which one is true; for several labels choose binary_cross_entropy"
    return None


def misfit_of_monitor(monitor: str, task: str, base: BaseSpec) -> str | None:
    """Why `monitor` is not measured in each epoch; None when it is."""
    tasks = _TASKS_OF_METRICS.get(monitor)
    if tasks is not None and task not in tasks:
        return f"{monitor} does not exist for {task}"
    if monitor == "val.nll" and not has_logits(base):
        return f"{monitor} needs probabilities, and the outputs of base {base.kind} are none"
    return None


def has_logits(base: BaseSpec) -> bool:
    """Whether outputs become probabilities, by softmax over classes or by the sigmoid of each label."""
    return base.kind in _OF_LOGITS


def label_threshold(base: BaseSpec) -> float:
    """The output above which a label is true: a logit of 0, or half way between the values 0 and 1."""
    return 0.0 if has_logits(base) else 0.5


def couples_a_batch(divergence: DivergenceSpec | None) -> bool:
    """Whether an example's value depends on the others of its batch: parts of a batch then do not add up to it."""
    if divergence is None:
        return False
    variance = getattr(divergence, "variance", None)
    return divergence.kind == "sample_program" or (variance is not None and variance.kind == "output")


def link_is_log(base: BaseSpec) -> bool:
    """Whether the net's output is the logarithm of what is predicted; such targets are not standardised."""
    return base.kind == "poisson"


def _listed(kinds: tuple[str, ...]) -> str:
    return ", ".join(kinds[:-1]) + f" or {kinds[-1]}"
