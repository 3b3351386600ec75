"""Which fit a resolved spec asks for."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from softreg_core.data.encode.image import ImageEncoding, ImageFit
from softreg_core.data.encode.sequence import SequenceEncoding, SequenceFit
from softreg_core.data.encode.sound import SoundEncoding, SoundFit
from softreg_core.data.encode.table import TableEncoding, TableFit
from softreg_core.data.encode.text import TextEncoding, TextFit
from softreg_core.data.report import ColumnReport, DatasetReport
from softreg_core.spec.cells import indicated_columns
from softreg_core.spec.inputs import sound_shape
from softreg_core.spec.task_input import ImageInput, SequenceInput, SoundInput, TableInput, TextInput
from softreg_core.spec.train import TrainSpec

__all__ = ["Encoding", "Fit", "begin_fit"]

Encoding = Annotated[
    TableEncoding | ImageEncoding | SequenceEncoding | TextEncoding | SoundEncoding,
    Field(discriminator="kind"),
]
Fit = TableFit | ImageFit | SequenceFit | TextFit | SoundFit


def begin_fit(spec: TrainSpec, report: DatasetReport) -> Fit:
    """A fit that has seen no rows.

    Args:
        spec: resolved against `report`.
        report: the dataset's.
    """
    names = spec.task.features
    if names == "auto":
        raise ValueError("the spec is not resolved: it names no features; see softreg_core.spec.resolve")
    by_name = {column.name: column for column in report.columns}
    columns = [by_name[name] for name in names if name in by_name]
    # A job that was queued before there were other inputs than tables says `auto`.
    match TableInput() if spec.task.input == "auto" else spec.task.input:
        case ImageInput(channels=int(channels), height=int(height), width=int(width)):
            return ImageFit(names, channels, height, width)
        case SequenceInput(longest=int(longest)):
            return SequenceFit(names[0], _step_width(columns[0]), longest)
        case TextInput(longest=int(longest)) as view:
            has_missing = spec.task.missing == "impute"
            how = {"lowercase": view.lowercase, "has_missing": has_missing}
            return TextFit(names[0], view.vocabulary, view.size, longest, **how)
        case SoundInput(rate=int(rate), seconds=float(seconds), window=int(window), hop=int(hop), mels=int(mels)):
            return SoundFit(names[0], sound_shape(rate, seconds, window, hop, mels))
        case TableInput() as view:
            return _table_fit(spec, view, columns)
    raise ValueError("the spec is not resolved: it says 'auto' in task.input; see softreg_core.spec.resolve")


def _step_width(column: ColumnReport) -> int:
    """Values of one step; gray images are sequences of their rows."""
    if column.kind == "image" and column.widths is not None:
        return column.widths[0]
    return column.channels or 1


def _table_fit(spec: TrainSpec, view: TableInput, columns: list[ColumnReport]) -> TableFit:
    names = tuple(column.name for column in columns)
    categories = [column.name for column in columns if column.kind == "category" or column.name in view.categories]
    impute = spec.preprocess.impute
    return TableFit(
        names,
        categories,
        is_standardized=spec.preprocess.features == "standardize",
        unknown="other" if spec.preprocess.unknown == "other" else "error",
        fill=impute.numbers if impute is not None and spec.task.missing == "impute" else None,
        indicated=[name for name in indicated_columns(spec, columns) if name not in categories],
    )
