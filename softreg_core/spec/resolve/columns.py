"""Which columns of the dataset are learned, from which others."""

from __future__ import annotations

from softreg_core.data.report import ColumnReport, DatasetReport
from softreg_core.spec.data import SplitSpec, TaskSpec
from softreg_core.spec.problems import nearest
from softreg_core.spec.resolve.findings import Findings

__all__ = ["feature_columns", "split_columns", "target_columns"]


def target_columns(task: TaskSpec, report: DatasetReport, findings: Findings) -> list[ColumnReport]:
    """The columns to learn; none when they cannot be found, which is a problem then."""
    if task.target != "auto":
        names = (task.target,) if isinstance(task.target, str) else task.target
        return _found(names, report, "/task/target", findings)
    grouped = [column for column in report.columns if column.group == "target"]
    if grouped:
        return grouped
    named = [column for column in report.columns if column.name == "target"]
    if named:
        return named
    if report.format == "npz":  # its arrays have no order that a writer would think of
        findings.refuse("/task/target", "the file has no array 'target': name the column to learn")
        return []
    last = report.columns[-1]
    message = f"no column is named 'target', so the last one, '{last.name}', is taken"
    findings.advise("target_assumed", "/task/target", message)
    return [last]


def split_columns(split: SplitSpec, report: DatasetReport, findings: Findings) -> list[ColumnReport]:
    """The columns that say how rows are divided; they are no features unless they are named as such."""
    found = []
    for field, name in (("column", split.column), ("group", split.group)):
        if name is not None:
            found += _found((name,), report, f"/split/{field}", findings)
    return found


def feature_columns(
    task: TaskSpec,
    report: DatasetReport,
    targets: list[ColumnReport],
    dividing: list[ColumnReport],
    findings: Findings,
) -> list[ColumnReport]:
    """The columns to learn from."""
    target_names = {column.name for column in targets}
    if task.features == "auto":
        taken = target_names | {column.name for column in dividing}
        return _auto_features([column for column in report.columns if column.name not in taken], findings)
    found = _found(task.features, report, "/task/features", findings)
    for column in found:
        if column.name in target_names:
            message = f"column '{column.name}' is the target; it cannot also be a feature"
            findings.refuse("/task/features", message)
        if column.kind != "numeric":
            findings.refuse("/task/features", f"column '{column.name}' holds text; features are numbers")
    return found


def _auto_features(rest: list[ColumnReport], findings: Findings) -> list[ColumnReport]:
    numeric = [column for column in rest if column.kind == "numeric"]
    left_out = [column.name for column in rest if column.kind != "numeric"]
    if left_out:
        some = ", ".join(left_out[:5]) + (", ..." if len(left_out) > 5 else "")
        findings.advise("columns_left_out", "/task/features", f"not numeric and therefore not used: {some}")
    if not numeric:
        findings.refuse("/task/features", "the dataset has no numeric column besides the target")
    return numeric


def _found(names: tuple[str, ...], report: DatasetReport, pointer: str, findings: Findings) -> list[ColumnReport]:
    by_name = {column.name: column for column in report.columns}
    found: list[ColumnReport] = []
    for index, name in enumerate(names):
        group = [column for column in report.columns if column.group == name]
        at = f"{pointer}/{index}" if len(names) > 1 or pointer.endswith("features") else pointer
        if name in by_name:
            found.append(by_name[name])
        elif group:
            found.extend(group)
        else:
            findings.refuse(at, f"the dataset has no column '{name}'" + nearest(name, by_name))
    return found
