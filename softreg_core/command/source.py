"""From the name of a file or a sample to a table."""

from __future__ import annotations

from pathlib import Path

from softreg_core.data.parse import read_table_file
from softreg_core.data.sample import load_sample
from softreg_core.data.table import Table

__all__ = ["load_source"]

_SAMPLE = "sample:"


def load_source(name: str) -> Table:
    """Read `name` in a confined child: a file whose ending tells its format, or `sample:NAME`.

    Raises:
        DataError: there is no such file or sample, or it cannot be read.
    """
    return load_sample(name.removeprefix(_SAMPLE)) if name.startswith(_SAMPLE) else read_table_file(Path(name))
