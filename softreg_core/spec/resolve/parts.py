"""How many rows each part of the split gets, and what is known of the parts before rows are drawn."""

from __future__ import annotations

from softreg_core.data.report import ColumnReport, DatasetReport
from softreg_core.spec.data import SplitSpec
from softreg_core.spec.problems import nearest
from softreg_core.spec.resolve.findings import Findings
from softreg_core.spec.split import SplitSizes, class_sizes, fold_class_sizes, split_sizes
from softreg_core.spec.train import TrainSpec

__all__ = ["PARTS", "check_classes_of_parts", "check_groups", "check_roles", "filled_split", "part_sizes"]

PARTS = ("train", "validation", "test")
_OF_TRUTH = {"true": "train", "1": "train", "false": "validation", "0": "validation"}


def part_sizes(split: SplitSpec, report: DatasetReport, findings: Findings) -> SplitSizes:
    """Row counts; of grouped rows as near to them as the groups allow."""
    sizes = _column_sizes(split, report, findings) or split_sizes(report.rows, split)
    if split.folds is not None and report.rows - sizes.test < split.folds:
        findings.refuse("/split/folds", f"{report.rows - sizes.test} rows cannot fill {split.folds} folds")
    if sizes.train < 2:
        left = max(0, sizes.train)
        findings.refuse("/split", f"too few rows: {left} of {report.rows} left for training, 2 or more are needed")
    return sizes


def check_roles(spec: TrainSpec, targets: list[ColumnReport], features: list[ColumnReport], findings: Findings) -> None:
    """What says where a row goes, or how much it weighs, is neither learned nor learned from."""
    roles = (
        ("/split/column", spec.split.column),
        ("/split/group", spec.split.group),
        ("/task/weight", spec.task.weight),
    )
    for pointer, name in roles:
        if name is not None and any(column.name == name for column in targets):
            findings.refuse(pointer, f"column '{name}' is the target")
        # Rows of one group are never in two parts: learning from the group's name tells nothing of those to come.
        if name is not None and pointer != "/split/group" and any(column.name == name for column in features):
            findings.refuse(pointer, f"column '{name}' is also a feature")


def check_groups(split: SplitSpec, report: DatasetReport, sizes: SplitSizes, findings: Findings) -> None:
    """Whether there are enough groups, where the report counts them."""
    column = next((column for column in report.columns if column.name == split.group), None)
    if column is None or column.distinct is None:
        return
    parts = sum(size > 0 for size in sizes) if split.folds is None else split.folds + (sizes.test > 0)
    if column.distinct < parts:
        message = f"column '{column.name}' has {column.distinct} groups, and there are {parts} parts to fill"
        findings.refuse("/split/group", message)


def filled_split(
    split: SplitSpec, report: DatasetReport, sizes: SplitSizes, findings: Findings, kind: str
) -> SplitSpec:
    """Without `auto`, and with the shares that a column gives."""
    is_class = kind == "classification"
    if not is_class and split.stratify is True:
        findings.refuse("/split/stratify", f"only classes can be stratified; the task is {kind}")
    update: dict[str, object] = {}
    if split.stratify == "auto":
        update["stratify"] = is_class and split.column is None
    if split.column is not None:
        shares = {part: size / report.rows for part, size in zip(PARTS, sizes, strict=True)}
        given = {part for part in PARTS if part in split.model_fields_set}
        if any(abs(getattr(split, part) - shares[part]) > 1e-9 for part in given):
            findings.refuse("/split", "with column, the column gives the shares: leave train, validation and test out")
        update |= shares
    return split.model_copy(update=update)


def check_classes_of_parts(spec: TrainSpec, targets: list[ColumnReport], sizes: SplitSizes, findings: Findings) -> None:
    """What can be said of the classes of each part from counts alone; `prepare` looks at the rest.

    Args:
        spec: resolved.
        targets: the columns to learn.
        sizes: of the parts.
        findings: where problems go.
    """
    split = spec.split
    if spec.task.kind == "regression" and sizes.validation == 1:
        message = "one validation row has no R2: two or more are needed"
        findings.advise("r2_undefined", "/split/validation", message)
    counts = [count for column in targets for count in column.level_counts or () if count]
    is_known = spec.task.kind == "classification" and split.stratify and split.group is None
    if not is_known or len(counts) < 2 or sizes.train < 2:
        return
    if split.folds is None:
        trained = sum(share.train > 0 for share in class_sizes(counts, sizes))
        if trained < 2:
            findings.refuse("/split", f"of {len(counts)} classes only {trained} would have training rows")
        return
    shares = fold_class_sizes(counts, sizes.test, split.folds, split.fold)
    where = f"fold {split.fold} of {split.folds}"
    for part in ("train", "validation"):
        present = sum(getattr(share, part) > 0 for share in shares)
        if present < 2:
            rows = "training" if part == "train" else "validation"
            message = f"{where}: of {len(counts)} classes only {present} would have {rows} rows; take fewer folds"
            findings.refuse("/split/folds", message)


def _column_sizes(split: SplitSpec, report: DatasetReport, findings: Findings) -> SplitSizes | None:
    """Counted in the column that says where each row goes."""
    column = next((column for column in report.columns if column.name == split.column), None)
    if column is None:
        return None  # there is none, or it was not found
    if column.levels is None or column.level_counts is None:
        message = f"column '{column.name}' holds other values than train, validation and test"
        findings.refuse("/split/column", message)
        return None
    counts = dict.fromkeys(PARTS, 0)
    for level, count in zip(column.levels, column.level_counts, strict=True):
        part = level if level in PARTS else _OF_TRUTH.get(level) if column.kind == "numeric" else None
        if part is None:
            expected = "expected train, validation or test, or true for training and false for validation"
            message = f"column '{column.name}' holds '{level[:100]}': {expected}"
            findings.refuse("/split/column", message + nearest(level, PARTS))
            return None
        counts[part] += count
    return SplitSizes(counts["train"], counts["validation"], counts["test"])
