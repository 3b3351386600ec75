"""From the name of a file or a sample to a table."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import get_args

from softreg_core.data.parse import parse_file, parse_sample
from softreg_core.data.request import FileFormat
from softreg_core.data.table import Table, load_table
from softreg_core.errors import DataError

__all__ = ["load_source"]

_FORMATS: tuple[FileFormat, ...] = get_args(FileFormat)
_SAMPLE = "sample:"


def load_source(name: str) -> Table:
    """Read `name` in a confined child: a file whose ending tells its format, or `sample:NAME`.

    Raises:
        DataError: there is no such file or sample, or it cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="softreg-data-") as folder:
        table = Path(folder) / "table.safetensors"
        if name.startswith(_SAMPLE):
            parse_sample(name.removeprefix(_SAMPLE), table)
        else:
            path = Path(name)
            if not path.is_file():
                raise DataError(f"there is no file {path}", "missing_file")
            parse_file(path, format=format_of(path), output=table)
        return load_table(table)


def format_of(path: Path) -> FileFormat:
    """What the ending of a file's name says.

    Raises:
        DataError: it says nothing known.
    """
    ending = path.suffix.lower().removeprefix(".")
    for known in _FORMATS:
        if ending == known:
            return known
    raise DataError(f"{path.name}: the formats read are {', '.join(_FORMATS)}", "unknown_format")
