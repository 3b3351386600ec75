"""The service's sample datasets in a notebook: the same tables, through the same reader."""

from __future__ import annotations

import tempfile
from pathlib import Path

from softreg_core.data.parse import parse_sample
from softreg_core.data.table import Table, load_table

__all__ = ["load_sample"]


def load_sample(name: str) -> Table:
    """The table behind `sample:NAME`: digits, diabetes, breast_cancer, wine or iris. Needs scikit-learn.

    Raises:
        DataError: there is no such sample.
    """
    with tempfile.TemporaryDirectory(prefix="softreg-sample-") as folder:
        path = Path(folder) / "table.safetensors"
        parse_sample(name, path)
        return load_table(path)
