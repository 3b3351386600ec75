"""Spec meets dataset report: every `auto` filled, every misfit found at once, before anything is queued."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from softreg_core.data.report import ColumnReport, DatasetReport
from softreg_core.errors import Problem, SpecError
from softreg_core.spec.advice import Advice, advise
from softreg_core.spec.cells import flawed_cells, is_rounded, oversized_cells
from softreg_core.spec.data import TaskSpec
from softreg_core.spec.estimate import parameter_count, steps_per_epoch
from softreg_core.spec.fit import misfit_of_task
from softreg_core.spec.formula import describe
from softreg_core.spec.inputs import InputShape, TableShape
from softreg_core.spec.problems import nearest
from softreg_core.spec.split import SplitSizes, class_sizes, split_sizes
from softreg_core.spec.train import TrainSpec

__all__ = ["Resolution", "resolve"]

# A whole-number target with at most this many values is read as classes when the task is `auto`.
MOST_AUTO_CLASSES = 30
TaskKind = Literal["classification", "regression"]


@dataclass(frozen=True, slots=True)
class Resolution:
    """A spec that fits its data, and what follows from the two together."""

    spec: TrainSpec
    """No `auto` left except `resources.device`, which the claiming worker decides."""
    shape: InputShape
    outputs: int
    labels: tuple[str, ...] | None
    """Class labels in code order; None for regression."""
    sizes: SplitSizes
    parameters: int
    total_steps: int
    formula: str
    advice: tuple[Advice, ...]


def resolve(spec: TrainSpec, report: DatasetReport) -> Resolution:
    """Fill every `auto` of `spec` from the dataset's report.

    Raises:
        SpecError: the spec does not fit the data; every problem found is in it.
    """
    return _Resolver(spec, report).resolution()


class _Resolver:
    """One pass over spec and report; problems and advice gather on the way."""

    def __init__(self, spec: TrainSpec, report: DatasetReport) -> None:
        self.spec = spec
        self.report = report
        self.columns = {column.name: column for column in report.columns}
        self.problems: list[Problem] = []
        self.advice: list[Advice] = advise(spec)

    def resolution(self) -> Resolution:
        targets = self._targets()
        features = self._features(targets)
        self.problems += flawed_cells([*targets, *features])
        sizes = self._sizes()
        if not targets and self.spec.task.kind == "auto":
            raise self._refusal()  # whatever else there is depends on the task, which is not known
        kind = self._task_kind(targets)
        labels = self._labels(kind, targets)
        self._check_target_values(kind, targets)
        spec = self._filled(kind, targets, features)
        self._check_sizes_of_values(spec, targets, features)
        self._check_parts(spec, targets, sizes)
        if self.problems:
            raise self._refusal()
        shape, outputs = TableShape(numbers=len(features)), len(labels) if labels else len(targets)
        return Resolution(
            spec=spec,
            shape=shape,
            outputs=outputs,
            labels=labels,
            sizes=sizes,
            parameters=parameter_count(spec.net, shape, outputs),
            total_steps=steps_per_epoch(sizes.train, spec.training.batch_size) * spec.training.epochs,
            formula=describe(spec.loss),
            advice=tuple(self.advice),
        )

    def _refusal(self) -> SpecError:
        count = len(self.problems)
        return SpecError(f"the job does not fit its dataset: {count} problem{'s' * (count > 1)}", self.problems)

    def _problem(self, pointer: str, message: str) -> None:
        self.problems.append(Problem(pointer, message))

    def _find(self, names: tuple[str, ...], pointer: str) -> list[ColumnReport]:
        found: list[ColumnReport] = []
        for index, name in enumerate(names):
            group = [column for column in self.report.columns if column.group == name]
            at = f"{pointer}/{index}" if len(names) > 1 or pointer.endswith("features") else pointer
            if name in self.columns:
                found.append(self.columns[name])
            elif group:
                found.extend(group)
            else:
                self._problem(at, f"the dataset has no column '{name}'" + nearest(name, self.columns))
        return found

    def _targets(self) -> list[ColumnReport]:
        wanted = self.spec.task.target
        if wanted != "auto":
            return self._find((wanted,) if isinstance(wanted, str) else wanted, "/task/target")
        grouped = [column for column in self.report.columns if column.group == "target"]
        if grouped:
            return grouped
        if "target" in self.columns:
            return [self.columns["target"]]
        if self.report.format == "npz":  # its arrays have no order that a writer would think of
            self._problem("/task/target", "the file has no array 'target': name the column to learn")
            return []
        last = self.report.columns[-1]
        message = f"no column is named 'target', so the last one, '{last.name}', is taken"
        self.advice.append(Advice("target_assumed", "/task/target", message))
        return [last]

    def _features(self, targets: list[ColumnReport]) -> list[ColumnReport]:
        target_names = {column.name for column in targets}
        wanted = self.spec.task.features
        if wanted == "auto":
            rest = [column for column in self.report.columns if column.name not in target_names]
            numeric = [column for column in rest if column.kind == "numeric"]
            left_out = [column.name for column in rest if column.kind != "numeric"]
            if left_out:
                some = ", ".join(left_out[:5]) + (", ..." if len(left_out) > 5 else "")
                self.advice.append(
                    Advice("columns_left_out", "/task/features", f"not numeric and therefore not used: {some}")
                )
            if not numeric:
                self._problem("/task/features", "the dataset has no numeric column besides the target")
            return numeric
        found = self._find(wanted, "/task/features")
        for column in found:
            if column.name in target_names:
                self._problem("/task/features", f"column '{column.name}' is the target; it cannot also be a feature")
            if column.kind != "numeric":
                self._problem("/task/features", f"column '{column.name}' holds text; features are numbers")
        return found

    def _task_kind(self, targets: list[ColumnReport]) -> TaskKind:
        if self.spec.task.kind != "auto":
            return self.spec.task.kind
        if len(targets) != 1:
            return "regression"
        column = targets[0]
        if column.kind != "numeric":
            return "classification"
        few = column.distinct is not None and column.distinct <= MOST_AUTO_CLASSES
        if column.integral and few and (column.levels is not None or is_rounded(column)):
            if column.distinct is not None and column.distinct > 2:
                self.advice.append(
                    Advice(
                        "target_read_as_classes",
                        "/task/kind",
                        f"target '{column.name}' has {column.distinct} whole-number values and is read as classes; "
                        "set task.kind to regression if it is a quantity",
                    )
                )
            return "classification"
        return "regression"

    def _labels(self, kind: TaskKind, targets: list[ColumnReport]) -> tuple[str, ...] | None:
        if kind != "classification" or not targets:
            return None
        column = targets[0]
        if len(targets) > 1:
            self._problem("/task/target", "classification has one target column")
        elif is_rounded(column):
            self._problem(
                "/task/target",
                f"column '{column.name}' has whole numbers from 2^53 on, which were rounded: two classes may have "
                "become one; write the labels as text, or set task.kind to regression",
            )
        elif column.kind == "text" or column.levels is None:
            self._problem(
                "/task/target",
                f"column '{column.name}' has too many different values, or fractions, to be a class; "
                "set task.kind to regression or choose another target",
            )
        return column.levels

    def _sizes(self) -> SplitSizes:
        sizes = split_sizes(self.report.rows, self.spec.split)
        if sizes.train < 2:
            left = max(0, sizes.train)
            self._problem(
                "/split", f"too few rows: {left} of {self.report.rows} left for training, 2 or more are needed"
            )
        return sizes

    def _check_sizes_of_values(
        self, spec: TrainSpec, targets: list[ColumnReport], features: list[ColumnReport]
    ) -> None:
        self.problems += oversized_cells(features, is_standardized=spec.preprocess.features == "standardize")
        if spec.task.kind == "regression":
            self.problems += oversized_cells(targets, is_standardized=spec.preprocess.target == "standardize")

    def _check_parts(self, spec: TrainSpec, targets: list[ColumnReport], sizes: SplitSizes) -> None:
        """What is known of the parts before rows are drawn; `prepare` looks at the rest."""
        if spec.task.kind == "regression" and sizes.validation == 1:
            message = "one validation row has no R2: two or more are needed"
            self.advice.append(Advice("r2_undefined", "/split/validation", message))
        counts = [count for column in targets for count in column.level_counts or () if count]
        if spec.task.kind == "classification" and spec.split.stratify and len(counts) > 1 and sizes.train > 1:
            trained = sum(share.train > 0 for share in class_sizes(counts, sizes))
            if trained < 2:
                self._problem("/split", f"of {len(counts)} classes only {trained} would have training rows")

    def _check_target_values(self, kind: TaskKind, targets: list[ColumnReport]) -> None:
        for column in targets:
            if kind == "regression" and column.kind != "numeric":
                self._problem("/task/kind", f"target '{column.name}' holds text; regression needs numbers")
            elif column.distinct == 1:
                what = "a single class" if kind == "classification" else "a single value"
                self._problem("/task/target", f"target '{column.name}' has {what}: there is nothing to learn")

    def _filled(self, kind: TaskKind, targets: list[ColumnReport], features: list[ColumnReport]) -> TrainSpec:
        spec = self.spec
        is_class = kind == "classification"
        misfit = misfit_of_task(spec.loss.base, kind)
        if misfit is not None:
            self._problem("/loss/base/kind", misfit)
        if is_class and spec.preprocess.target == "standardize":
            self._problem("/preprocess/target", "class labels cannot be standardised")
        if not is_class and spec.split.stratify is True:
            self._problem("/split/stratify", "only classes can be stratified; the task is regression")
        monitor, keep_best = self._monitor(is_class=is_class)
        return spec.model_copy(
            update={
                "task": TaskSpec.model_construct(
                    kind=kind,
                    target=tuple(column.name for column in targets),
                    features=tuple(column.name for column in features),
                    missing=spec.task.missing,
                ),
                "split": spec.split.model_copy(
                    update={"stratify": is_class if spec.split.stratify == "auto" else spec.split.stratify}
                ),
                "preprocess": spec.preprocess.model_copy(
                    update={
                        "target": ("none" if is_class else "standardize")
                        if spec.preprocess.target == "auto"
                        else spec.preprocess.target
                    }
                ),
                "checkpoints": spec.checkpoints.model_copy(update={"monitor": monitor, "keep_best": keep_best}),
            }
        )

    def _monitor(self, *, is_class: bool) -> tuple[str, bool]:
        checkpoints = self.spec.checkpoints
        own = "val.accuracy" if is_class else "val.r2"
        foreign = {"val.r2", "val.mae"} if is_class else {"val.accuracy"}
        monitor = own if checkpoints.monitor == "auto" else checkpoints.monitor
        if monitor in foreign:
            task = "classification" if is_class else "regression"
            self._problem("/checkpoints/monitor", f"{monitor} does not exist for {task}")
        if self.spec.split.validation == 0.0 and checkpoints.keep_best:
            if checkpoints.monitor != "auto":
                self._problem("/checkpoints/monitor", "there are no validation rows to monitor")
            self.advice.append(
                Advice("no_validation", "/split/validation", "no validation rows: the last epoch's model is delivered")
            )
            return monitor, False
        return monitor, checkpoints.keep_best
