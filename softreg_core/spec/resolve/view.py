"""How the features are seen: `task.input` without `auto`, and the shape that the network will be given."""

from __future__ import annotations

import math

from softreg_core.data.report import ColumnReport, DatasetReport
from softreg_core.errors import Problem
from softreg_core.spec.cells import flawed_cells, indicated_columns
from softreg_core.spec.data import ImputeSpec, PreprocessSpec, TaskSpec
from softreg_core.spec.inputs import (
    ImageShape,
    InputShape,
    SequenceShape,
    SoundShape,
    TableShape,
    TextShape,
    sound_shape,
)
from softreg_core.spec.net_fit import reads_only
from softreg_core.spec.resolve.findings import Findings
from softreg_core.spec.task_input import ImageInput, InputSpec, SequenceInput, SoundInput, TableInput, TextInput
from softreg_core.spec.train import TrainSpec

__all__ = ["check_cells", "filled_imputation", "resolved_input"]

RARE_ROWS = 10
"""A category with fewer rows may have none among the training rows."""
# What `auto` takes at most, so that one long row or a large photograph does not decide the cost of all.
_MOST_PIXELS, _MOST_STEPS, _MOST_WORDS, _MOST_BYTES = 224, 1024, 256, 1024
_MOST_SECONDS, _MOST_RATE, _MOST_MELS = 10.0, 16_000, 40
_OF_KIND: dict[str, InputSpec] = {
    "numeric": TableInput(),
    "category": TableInput(),
    "image": ImageInput(),
    "sequence": SequenceInput(),
    "text": TextInput(),
    "sound": SoundInput(),
}


def resolved_input(
    spec: TrainSpec, features: list[ColumnReport], findings: Findings
) -> tuple[InputSpec, InputShape | None]:
    """`task.input` without `auto`, and the shape; a vocabulary's size and lengths are upper bounds.

    The shape is None where it cannot be told, which is a problem then, or follows from one.
    """
    task = spec.task
    if not features:
        return (TableInput() if task.input == "auto" else task.input), None
    view = _seen(spec, features) if task.input == "auto" else task.input
    match view:
        case TableInput():
            return view, _table_shape(view, spec, features, findings)
        case ImageInput():
            return _image(view, features, findings)
        case SequenceInput():
            return _sequence(view, features, findings)
        case TextInput():
            return _text(view, features, findings)
        case SoundInput():
            return _sound(view, features, findings)


def _seen(spec: TrainSpec, features: list[ColumnReport]) -> InputSpec:
    """As what they are; one column of categories before a network that takes none is text."""
    is_category = len(features) == 1 and features[0].kind == "category"
    return TextInput() if is_category and reads_only(spec.net) else _OF_KIND[features[0].kind]


def filled_imputation(
    preprocess: PreprocessSpec, task: TaskSpec, view: InputSpec, features: list[ColumnReport], findings: Findings
) -> PreprocessSpec:
    """The policies for missing and unknown cells without `auto`."""
    impute = preprocess.impute
    if task.missing == "impute":
        impute = impute or ImputeSpec()
    elif impute is not None:
        findings.refuse("/preprocess/impute", "used with task.missing 'impute' only")
    unknown = preprocess.unknown
    if unknown == "auto":
        rare = [column.name for column in features if view.kind == "table" and _is_rare(column, view)]
        unknown = "other" if rare else "error"
        if rare:
            some = ", ".join(rare[:5]) + (", ..." if len(rare) > 5 else "")
            message = f"categories with fewer than {RARE_ROWS} rows, so unknown ones are read as 'other': {some}"
            findings.advise("rare_categories", "/preprocess/unknown", message)
    return preprocess.model_copy(update={"impute": impute, "unknown": unknown})


def check_cells(
    task: TaskSpec, report: DatasetReport, features: list[ColumnReport], others: list[ColumnReport]
) -> list[Problem]:
    """Cells that no policy takes; `others` are the target's and those that divide the rows."""
    taken = {"missing"} if task.missing == "impute" else set()
    if taken and report.format == "npz":
        taken.add("non_finite")  # an array of floats has no other word for missing than NaN
    eased = []
    for column in features:
        flaws = [flaw for flaw in column.flaws if flaw.kind not in taken or column.kind not in _IMPUTED]
        # Most columns have no flaw: a copy of each of thousands would be most of what a submit costs.
        is_same = len(flaws) == len(column.flaws)
        eased.append(column if is_same else column.model_copy(update={"flaws": tuple(flaws)}))
    columns = {column.name: column for column in [*eased, *others]}
    empty = [column.name for column in features if taken and column.kind == "numeric" and _is_empty(column, report)]
    unfillable = [Problem("/task/features", f"column '{name}' has no number to fill its cells with") for name in empty]
    return [*flawed_cells(columns.values()), *unfillable]


def _is_empty(column: ColumnReport, report: DatasetReport) -> bool:
    return sum(flaw.count for flaw in column.flaws) >= report.rows


_IMPUTED = ("numeric", "category", "text")


def _is_rare(column: ColumnReport, view: InputSpec) -> bool:
    is_category = column.kind == "category" or (isinstance(view, TableInput) and column.name in view.categories)
    return is_category and min(column.level_counts or (0,)) < RARE_ROWS


def _table_shape(
    view: TableInput, spec: TrainSpec, features: list[ColumnReport], findings: Findings
) -> TableShape | None:
    is_imputed = spec.task.missing == "impute"
    indicated = indicated_columns(spec, features)
    names = {column.name for column in features}
    for index, name in enumerate(view.categories):
        if name not in names:
            findings.refuse(f"/task/input/categories/{index}", f"'{name}' is not a feature")
    numbers, levels, count = 0, [], len(findings.problems)
    for column in features:
        if column.kind == "category" or column.name in view.categories:
            if column.levels is None:
                message = f"column '{column.name}' has too many different values, or fractions, to be categories"
                findings.refuse("/task/input/categories", message)
            levels.append(1 + len(column.levels or ()) + is_imputed)
        elif column.kind == "numeric":
            numbers += 1 + (column.name in indicated)
        else:
            message = f"column '{column.name}' holds {column.kind}: a table has numbers and categories"
            findings.refuse("/task/features", message)
    return TableShape(numbers=numbers, levels=tuple(levels)) if len(findings.problems) == count else None


def _one_column(features: list[ColumnReport], kinds: tuple[str, ...], what: str, findings: Findings) -> bool:
    """Whether there is one feature, of one of these kinds."""
    if len(features) == 1 and features[0].kind in kinds:
        return True
    found = f"a {features[0].kind} column" if len(features) == 1 else f"{len(features)} columns"
    findings.refuse("/task/features", f"task.input '{what}' takes one column of {_listed(kinds)}, not {found}")
    return False


def _listed(kinds: tuple[str, ...]) -> str:
    return " or ".join(f"kind {kind}" for kind in kinds)


def _image(view: ImageInput, features: list[ColumnReport], findings: Findings) -> tuple[ImageInput, ImageShape | None]:
    if all(column.kind == "numeric" for column in features) and len(features) > 1:
        return _pixels(view, len(features), findings)
    if not _one_column(features, ("image", "sequence"), "image", findings):
        return view, None
    (column,) = features
    if column.kind == "sequence":
        if column.shortest != column.longest:
            findings.refuse("/task/input/kind", f"column '{column.name}' has sequences of several lengths, no images")
            return view, None
        own = (1, column.longest or 1, column.channels or 1)
    else:
        own = (column.channels or 1, (column.heights or (1,))[0], (column.widths or (1,))[0])
    channels = own[0] if view.channels == "auto" else view.channels
    height = min(own[1], _MOST_PIXELS) if view.height == "auto" else view.height
    width = min(own[2], _MOST_PIXELS) if view.width == "auto" else view.width
    if column.kind == "image" and ((height, height) != column.heights or (width, width) != column.widths):
        findings.advise("images_resized", "/task/input", f"images are resized to {height} x {width} pixels")
    view = view.model_copy(update={"channels": channels, "height": height, "width": width})
    return view, ImageShape(channels=channels, height=height, width=width)


def _pixels(view: ImageInput, count: int, findings: Findings) -> tuple[ImageInput, ImageShape | None]:
    """Columns of numbers, one for each pixel."""
    channels = 1 if view.channels == "auto" else view.channels
    height, width = view.height, view.width
    if height == "auto" and width == "auto":
        height = width = max(1, math.isqrt(count // channels))
    elif height == "auto" and width != "auto":
        height = max(1, count // (channels * width))
    elif width == "auto" and height != "auto":
        width = max(1, count // (channels * height))
    if height == "auto" or width == "auto" or channels * height * width != count:
        message = f"{count} columns of numbers are no image of {channels} x {height} x {width} pixels"
        findings.refuse("/task/input", f"{message}: set channels, height and width")
        return view, None
    view = view.model_copy(update={"channels": channels, "height": height, "width": width})
    return view, ImageShape(channels=channels, height=height, width=width)


def _sequence(
    view: SequenceInput, features: list[ColumnReport], findings: Findings
) -> tuple[SequenceInput, SequenceShape | None]:
    if not _one_column(features, ("sequence", "image"), "sequence", findings):
        return view, None
    (column,) = features
    if column.kind == "image":
        is_steps = column.channels == 1 and column.widths is not None and column.widths[0] == column.widths[1]
        if not is_steps or column.widths is None or column.heights is None:
            findings.refuse("/task/input/kind", f"column '{column.name}': only gray images of one width are sequences")
            return view, None
        channels, longest = column.widths[0], column.heights[1]
    else:
        channels, longest = column.channels or 1, column.longest or 1
    longest = min(longest, _MOST_STEPS) if view.longest == "auto" else view.longest
    return view.model_copy(update={"longest": longest}), SequenceShape(channels=channels, longest=longest)


def _text(view: TextInput, features: list[ColumnReport], findings: Findings) -> tuple[TextInput, TextShape | None]:
    if not _one_column(features, ("text", "category"), "text", findings):
        return view, None
    (column,) = features
    if column.tensor is None:
        findings.refuse("/task/features", f"column '{column.name}' holds texts that were not stored")
        return view, None
    longest = view.longest
    if longest == "auto":
        characters = column.longest or max(map(len, column.levels or ("",)))
        longest = min(characters, _MOST_WORDS) if view.vocabulary == "word" else min(4 * characters, _MOST_BYTES)
        longest = max(1, longest)
    words = 256 if view.vocabulary == "byte" else view.size
    return view.model_copy(update={"longest": longest}), TextShape(vocabulary=2 + words, longest=longest)


def _sound(view: SoundInput, features: list[ColumnReport], findings: Findings) -> tuple[SoundInput, SoundShape | None]:
    if not _one_column(features, ("sound",), "sound", findings):
        return view, None
    (column,) = features
    rate = max(100, min(max(column.rates or (_MOST_RATE,)), _MOST_RATE)) if view.rate == "auto" else view.rate
    longest_seconds = (column.seconds or (0.0, _MOST_SECONDS))[1]
    seconds = max(1 / rate, min(longest_seconds, _MOST_SECONDS)) if view.seconds == "auto" else view.seconds
    window = max(16, round(0.025 * rate)) if view.window == "auto" else view.window
    hop = max(1, round(0.010 * rate)) if view.hop == "auto" else view.hop
    mels = min(_MOST_MELS, window // 2 + 1) if view.mels == "auto" else view.mels
    view = view.model_copy(update={"rate": rate, "seconds": seconds, "window": window, "hop": hop, "mels": mels})
    return view, sound_shape(rate, seconds, window, hop, mels)
