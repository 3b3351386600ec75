"""All of it in order, and the spec without `auto` that comes out."""

from __future__ import annotations

from dataclasses import dataclass

from softreg_core.data.report import ColumnReport, DatasetReport
from softreg_core.spec.advice import Advice, advise
from softreg_core.spec.beside import misfit_of_twin
from softreg_core.spec.cells import oversized_cells
from softreg_core.spec.data import PreprocessSpec
from softreg_core.spec.estimate import parameter_count, passes_per_step, steps_per_epoch
from softreg_core.spec.fit import link_is_log, misfit_of_monitor, misfit_of_task
from softreg_core.spec.formula import describe
from softreg_core.spec.heads import extra_outputs
from softreg_core.spec.inputs import InputShape
from softreg_core.spec.resolve.columns import feature_columns, split_columns, target_columns, weight_columns
from softreg_core.spec.resolve.controls import (
    check_class_weights,
    check_controls,
    filled_monitors,
    with_monitor_of_stopping,
)
from softreg_core.spec.resolve.findings import Findings
from softreg_core.spec.resolve.network import check_network
from softreg_core.spec.resolve.parts import check_classes_of_parts, check_groups, check_roles, filled_split, part_sizes
from softreg_core.spec.resolve.target import (
    TaskKind,
    check_counts,
    check_target_values,
    class_labels,
    expected_variance,
    task_kind,
)
from softreg_core.spec.resolve.view import check_cells, filled_imputation, resolved_input
from softreg_core.spec.split import SplitSizes
from softreg_core.spec.task_input import InputSpec
from softreg_core.spec.train import TrainSpec
from softreg_core.spec.training import CheckpointsSpec

__all__ = ["Resolution", "resolve"]


@dataclass(frozen=True, slots=True)
class Resolution:
    """A spec that fits its data, and what follows from the two together."""

    spec: TrainSpec
    """No `auto` left except `resources.device`, which the claiming worker decides."""
    shape: InputShape
    """Upper bounds where only the training rows tell: categories, words, lengths."""
    outputs: int
    labels: tuple[str, ...] | None
    """Class labels in code order; for multilabel the labels' names; None for regression."""
    sizes: SplitSizes
    """Of grouped rows as near to these as the groups allow."""
    parameters: int
    """Of the shape, so an upper bound too."""
    total_steps: int
    passes_per_step: int
    """Times that a step goes through the network, forward and back."""
    formula: str
    advice: tuple[Advice, ...]


def resolve(spec: TrainSpec, report: DatasetReport) -> Resolution:
    """Fill every `auto` of `spec` from the dataset's report.

    Raises:
        SpecError: the spec does not fit the data; every problem found is in it.
    """
    spec = with_monitor_of_stopping(spec)
    findings = Findings()
    targets = target_columns(spec.task, report, findings)
    others = [*split_columns(spec.split, report, findings), *weight_columns(spec.task, report, findings)]
    features = feature_columns(spec, report, targets, others, findings)
    findings.problems += check_cells(spec.task, report, features, [*targets, *others])
    sizes = part_sizes(spec.split, report, findings)
    check_roles(spec, targets, features, findings)
    check_groups(spec.split, report, sizes, findings)
    if not targets and spec.task.kind == "auto":
        raise findings.refusal()  # whatever else there is depends on the task, which is not known
    kind = task_kind(spec.task, targets, findings)
    labels = class_labels(kind, targets, findings)
    check_target_values(kind, targets, findings)
    check_counts(spec.loss.base, targets, findings)
    view, shape = resolved_input(spec, features, findings)
    filled = filled_monitors(_filled(spec, report, kind, targets, features, view, sizes, findings))
    _check_sizes_of_values(filled, targets, features, findings)
    check_classes_of_parts(filled, targets, sizes, findings)
    check_class_weights(filled, labels, findings)
    if shape is not None:
        check_network(filled, shape, sizes, findings)
        check_controls(filled, shape, sizes, findings)
    if findings.problems or shape is None:
        raise findings.refusal()
    outputs = len(labels) if labels else len(targets)
    return Resolution(
        spec=filled,
        shape=shape,
        outputs=outputs,
        labels=labels,
        sizes=sizes,
        parameters=parameter_count(filled.net, shape, outputs + extra_outputs(filled.loss, outputs)),
        total_steps=steps_per_epoch(sizes.train, filled.training.batch_size) * filled.training.epochs,
        passes_per_step=passes_per_step(filled.loss),
        formula=describe(filled.loss),
        advice=(
            *advise(filled, outputs=outputs, target_variance=expected_variance(filled, targets)),
            *findings.advice,
        ),
    )


def _filled(
    spec: TrainSpec,
    report: DatasetReport,
    kind: TaskKind,
    targets: list[ColumnReport],
    features: list[ColumnReport],
    view: InputSpec,
    sizes: SplitSizes,
    findings: Findings,
) -> TrainSpec:
    """The spec without `auto`."""
    misfit = misfit_of_task(spec.loss.base, kind)
    if misfit is not None:
        findings.refuse("/loss/base/kind", misfit)
    misfit = misfit_of_twin(spec.loss, spec.net)
    if misfit is not None:
        findings.refuse("/loss/divergence", misfit)
    task = {
        "kind": kind,
        "target": tuple(column.name for column in targets),
        "features": tuple(column.name for column in features),
        "input": view,
    }
    preprocess = filled_imputation(spec.preprocess, spec.task, view, features, findings)
    spec = spec.model_copy(update={"preprocess": preprocess})
    split = filled_split(spec.split, report, sizes, findings, kind)
    return spec.model_copy(
        update={
            "task": spec.task.model_copy(update=task),
            "split": split,
            "preprocess": _filled_preprocess(spec, findings, kind),
            "checkpoints": _filled_checkpoints(spec, findings, kind, is_validated=split.validation > 0.0),
        }
    )


def _filled_preprocess(spec: TrainSpec, findings: Findings, kind: TaskKind) -> PreprocessSpec:
    preprocess, is_class, is_count = spec.preprocess, kind != "regression", link_is_log(spec.loss.base)
    if preprocess.target == "standardize" and (is_class or is_count):
        what = "class labels cannot be standardised" if is_class else f"{spec.loss.base.kind} takes counts as they are"
        findings.refuse("/preprocess/target", what)
    if preprocess.target != "auto":
        return preprocess
    return preprocess.model_copy(update={"target": "none" if is_class or is_count else "standardize"})


def _filled_checkpoints(spec: TrainSpec, findings: Findings, kind: TaskKind, *, is_validated: bool) -> CheckpointsSpec:
    own = "val.r2" if kind == "regression" else "val.accuracy"
    checkpoints = spec.checkpoints
    monitor = own if checkpoints.monitor == "auto" else checkpoints.monitor
    misfit = misfit_of_monitor(monitor, kind, spec.loss.base)
    if misfit is not None:
        findings.refuse("/checkpoints/monitor", misfit)
    keep_best = checkpoints.keep_best
    if not is_validated and keep_best:
        if checkpoints.monitor != "auto":
            findings.refuse("/checkpoints/monitor", "there are no validation rows to monitor")
        message = "no validation rows: the last epoch's model is delivered"
        findings.advise("no_validation", "/split/validation", message)
        keep_best = False
    return checkpoints.model_copy(update={"monitor": monitor, "keep_best": keep_best})


def _check_sizes_of_values(
    spec: TrainSpec, targets: list[ColumnReport], features: list[ColumnReport], findings: Findings
) -> None:
    is_table = spec.task.input != "auto" and spec.task.input.kind == "table"
    is_standardized = is_table and spec.preprocess.features == "standardize"
    findings.problems += oversized_cells(features, is_standardized=is_standardized)
    if spec.task.kind == "regression":
        findings.problems += oversized_cells(targets, is_standardized=spec.preprocess.target == "standardize")
