"""What kind of task the target columns make, and whether they can be learned."""

from __future__ import annotations

from typing import Literal

from softreg_core.data.report import ColumnReport
from softreg_core.spec.bases import BaseSpec
from softreg_core.spec.cells import is_rounded
from softreg_core.spec.data import TaskSpec
from softreg_core.spec.fit import link_is_log
from softreg_core.spec.resolve.columns import HOLDS
from softreg_core.spec.resolve.findings import Findings
from softreg_core.spec.train import TrainSpec

__all__ = ["TaskKind", "check_counts", "check_target_values", "class_labels", "expected_variance", "task_kind"]

# A whole-number target with at most this many values is read as classes when the task is `auto`.
MOST_AUTO_CLASSES = 30
TaskKind = Literal["classification", "multilabel", "regression"]
_TRUTHS = (("0", "1"), ("false", "true"))


def task_kind(task: TaskSpec, targets: list[ColumnReport], findings: Findings) -> TaskKind:
    """As the spec says, or else as the target's values suggest."""
    if task.kind != "auto":
        return task.kind
    if len(targets) != 1:
        if targets and all(column.levels in _TRUTHS for column in targets):
            message = (
                "every target is 0 or 1 and is read as a quantity; if they are labels, set task.kind to multilabel"
            )
            findings.advise("targets_resemble_labels", "/task/kind", message)
        return "regression"
    column = targets[0]
    if column.kind != "numeric":
        return "classification"
    few = column.distinct is not None and column.distinct <= MOST_AUTO_CLASSES
    if column.integral and few and (column.levels is not None or is_rounded(column)):
        if column.distinct is not None and column.distinct > 2:
            findings.advise(
                "target_read_as_classes",
                "/task/kind",
                f"target '{column.name}' has {column.distinct} whole-number values and is read as classes; "
                "set task.kind to regression if it is a quantity",
            )
        return "classification"
    return "regression"


def class_labels(kind: TaskKind, targets: list[ColumnReport], findings: Findings) -> tuple[str, ...] | None:
    """Class labels in code order, or the names of labels that are true or false each by itself.

    None for regression, and where the target has none, which is a problem then.
    """
    if kind == "multilabel":
        return tuple(column.name for column in targets)
    if kind != "classification" or not targets:
        return None
    column = targets[0]
    if len(targets) > 1:
        findings.refuse("/task/target", "classification has one target column")
    elif is_rounded(column):
        findings.refuse(
            "/task/target",
            f"column '{column.name}' has whole numbers from 2^53 on, which were rounded: two classes may have "
            "become one; write the labels as text, or set task.kind to regression",
        )
    elif column.kind == "text" or (column.levels is None and column.kind not in HOLDS):
        findings.refuse(
            "/task/target",
            f"column '{column.name}' has too many different values, or fractions, to be a class; "
            "set task.kind to regression or choose another target",
        )
    return column.levels


def check_target_values(kind: TaskKind, targets: list[ColumnReport], findings: Findings) -> None:
    """Text has no quantity, and one value teaches nothing."""
    for column in targets:
        if column.kind in HOLDS and column.kind != "text":
            message = f"column '{column.name}' holds {HOLDS[column.kind]}; a target is a number or a category"
            findings.refuse("/task/target", message)
        elif kind == "regression" and column.kind != "numeric":
            hint = "; columns of two levels each are learned with task.kind multilabel" if len(targets) > 1 else ""
            findings.refuse("/task/kind", f"target '{column.name}' holds text; regression needs numbers{hint}")
        elif kind == "multilabel" and column.distinct != 1 and (column.distinct != 2 or len(column.levels or ()) != 2):
            several = "many" if column.distinct is None else str(column.distinct)
            message = f"target '{column.name}' has {several} different values; a label is true or false, and has two"
            findings.refuse("/task/target", message)
        elif column.distinct == 1:
            what = "a single value" if kind == "regression" else "a single class"
            findings.refuse("/task/target", f"target '{column.name}' has {what}: there is nothing to learn")


def check_counts(base: BaseSpec, targets: list[ColumnReport], findings: Findings) -> None:
    """What is modelled by the logarithm of its mean is not negative."""
    for column in targets:
        if link_is_log(base) and column.minimum is not None and column.minimum < 0.0:
            message = f"target '{column.name}' goes down to {column.minimum:g}; {base.kind} takes counts from 0 on"
            findings.refuse("/task/target", message)


def expected_variance(spec: TrainSpec, targets: list[ColumnReport]) -> float | None:
    """The training targets' variance, averaged over the outputs, as the whole dataset has it; for advice only.

    Args:
        spec: resolved.
        targets: the columns to learn.
    """
    if spec.task.kind == "multilabel":
        shares = [column.mean for column in targets if column.mean is not None]
        is_known = len(shares) == len(targets) and all(0.0 <= share <= 1.0 for share in shares)
        return sum(share * (1.0 - share) for share in shares) / len(targets) if is_known else None
    if spec.task.kind == "classification":
        counts = targets[0].level_counts or ()
        rows = sum(counts)
        return sum(count / rows * (1.0 - count / rows) for count in counts) / len(counts) if rows else None
    if spec.preprocess.target == "standardize":
        return 1.0
    deviations = [column.standard_deviation for column in targets if column.standard_deviation is not None]
    return sum(deviation**2 for deviation in deviations) / len(targets) if len(deviations) == len(targets) else None
