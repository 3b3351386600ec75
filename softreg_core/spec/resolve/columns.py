"""Which columns of the dataset are learned, from which others."""

from __future__ import annotations

from softreg_core.data.report import ColumnReport, DatasetReport
from softreg_core.spec.data import SplitSpec, TaskSpec
from softreg_core.spec.net_fit import TAKES, reads_only
from softreg_core.spec.problems import nearest
from softreg_core.spec.resolve.findings import Findings
from softreg_core.spec.train import TrainSpec

__all__ = ["HOLDS", "feature_columns", "split_columns", "target_columns", "weight_columns"]

HOLDS = {"text": "texts", "image": "images", "sound": "sounds", "sequence": "sequences"}
_ALONE = tuple(HOLDS)
_MOST_HINTS = 5
_TABLE = ("numeric", "category")
_SHORT_TEXTS = ("category",)
# What is looked for, in this order, for each `task.input`.
_WANTED: dict[str, tuple[tuple[str, ...], ...]] = {
    "auto": (("image",), ("sound",), ("sequence",), _TABLE, ("text",)),
    "table": (_TABLE,),
    "image": (("image",), ("numeric",)),
    "sequence": (("sequence",),),
    "text": (("text",), ("category",)),
    "sound": (("sound",),),
}


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


def weight_columns(task: TaskSpec, report: DatasetReport, findings: Findings) -> list[ColumnReport]:
    """The column that says how much each row weighs, if the spec names one."""
    if task.weight is None:
        return []
    found = _found((task.weight,), report, "/task/weight", findings)
    for column in found:
        if column.kind != "numeric":
            findings.refuse("/task/weight", f"column '{column.name}' holds {column.kind}; weights are numbers")
        elif (column.minimum or 0.0) < 0.0 or (column.maximum or 0.0) <= 0.0:
            low, high = column.minimum or 0.0, column.maximum or 0.0
            what = "a weight is not negative, and not all are 0"
            findings.refuse("/task/weight", f"column '{column.name}' has numbers from {low:g} to {high:g}: {what}")
    return found


def feature_columns(
    spec: TrainSpec,
    report: DatasetReport,
    targets: list[ColumnReport],
    others: list[ColumnReport],
    findings: Findings,
) -> list[ColumnReport]:
    """The columns to learn from, all of kinds that go together; `others` are no features unless named as such."""
    target_names = {column.name for column in targets}
    if spec.task.features == "auto":
        taken = target_names | {column.name for column in others}
        return _auto_features(spec, [column for column in report.columns if column.name not in taken], findings)
    found = _found(spec.task.features, report, "/task/features", findings)
    for column in found:
        if column.name in target_names:
            message = f"column '{column.name}' is the target; it cannot also be a feature"
            findings.refuse("/task/features", message)
    if len(found) > 1:
        for column in found:
            if column.kind not in ("numeric", "category"):
                holds = f"holds {HOLDS[column.kind]}"
                message = f"column '{column.name}' {holds}: such a column is the only feature, or none"
                findings.refuse("/task/features", message)
    return found


def _auto_features(spec: TrainSpec, rest: list[ColumnReport], findings: Findings) -> list[ColumnReport]:
    """Of the kind that the spec asks for; else images, sounds or sequences before a table, and a table before texts."""
    wanted = "auto" if spec.task.input == "auto" else spec.task.input.kind
    chosen: list[ColumnReport] = []
    for kinds in _wanted(spec):
        chosen = [column for column in rest if column.kind in kinds and (column.tensor or column.kind != "text")]
        if kinds == _SHORT_TEXTS:
            chosen = [column for column in chosen if len(rest) == 1 or _resembles_text(column)]
        if chosen:
            break
    if not chosen:
        expected = "numeric column" if wanted in ("auto", "table") else f"column to be seen as {wanted}"
        findings.refuse("/task/features", f"the dataset has no {expected} besides the target")
        return []
    if chosen[0].kind in _ALONE and len(chosen) > 1:
        names = ", ".join(f"'{column.name}'" for column in chosen[:5])
        findings.refuse("/task/features", f"several columns hold {HOLDS[chosen[0].kind]}: name one of {names}")
        chosen = chosen[:1]
    for column in chosen if wanted == "auto" and not reads_only(spec.net) else ():
        if _resembles_text(column):
            message = f"column '{column.name}' has {column.distinct} different texts, and is read as categories; "
            message += "to have it read as text, set task.input to kind text"
            findings.advise("categories_resemble_text", "/task/input", message)
    taken = {column.name for column in chosen}
    left_out = [column.name for column in rest if column.name not in taken]
    if left_out:
        some = ", ".join(left_out[:5]) + (", ..." if len(left_out) > 5 else "")
        is_numeric = all(column.kind == "numeric" for column in chosen)
        reason = "not numeric and therefore not used" if is_numeric else "of another kind and therefore not used"
        findings.advise("columns_left_out", "/task/features", f"{reason}: {some}")
    return chosen


def _wanted(spec: TrainSpec) -> list[tuple[str, ...]]:
    """What to look for, in order: what the spec says; else what the network takes comes first."""
    if spec.task.input != "auto":
        return list(_WANTED[spec.task.input.kind])
    takes = TAKES[spec.net.kind]
    wanted = sorted(_WANTED["auto"], key=lambda kinds: ("table" if kinds == _TABLE else kinds[0]) not in takes)
    if reads_only(spec.net):
        wanted.insert(wanted.index(("text",)) + 1, _SHORT_TEXTS)
    return wanted


def _resembles_text(column: ColumnReport) -> bool:
    """Whether most rows have a text of their own: a file of few rows, not a column of categories."""
    return column.kind == "category" and 2 * (column.distinct or 0) > sum(column.level_counts or ())


def _found(names: tuple[str, ...], report: DatasetReport, pointer: str, findings: Findings) -> list[ColumnReport]:
    by_name = {column.name: column for column in report.columns}
    groups: dict[str | None, list[ColumnReport]] = {}
    for column in report.columns:
        groups.setdefault(column.group, []).append(column)
    found: list[ColumnReport] = []
    unknown = 0
    for index, name in enumerate(names):
        at = f"{pointer}/{index}" if len(names) > 1 or pointer.endswith("features") else pointer
        if name in by_name:
            found.append(by_name[name])
        elif name in groups:
            found.extend(groups[name])
        else:
            unknown += 1
            # Thousands of names among thousands of columns would take minutes to compare.
            hint = nearest(name, by_name) if unknown <= _MOST_HINTS else ""
            findings.refuse(at, f"the dataset has no column '{name}'{hint}")
    return found
