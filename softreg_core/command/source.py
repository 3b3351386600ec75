"""From the name of a file or a sample to a table."""

from __future__ import annotations

import hashlib
from pathlib import Path

from softreg_core.data.parse import read_table_file
from softreg_core.data.sample import load_sample
from softreg_core.data.table import Table

__all__ = ["load_source", "sha256_of_source"]

_SAMPLE = "sample:"


def load_source(name: str) -> Table:
    """Read `name` in a confined child: a file whose ending tells its format, or `sample:NAME`.

    Raises:
        DataError: there is no such file or sample, or it cannot be read.
    """
    return load_sample(name.removeprefix(_SAMPLE)) if name.startswith(_SAMPLE) else read_table_file(Path(name))


def sha256_of_source(name: str) -> str | None:
    """Of the file's bytes; None for a sample, which its name says all of."""
    if name.startswith(_SAMPLE):
        return None
    with Path(name).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
