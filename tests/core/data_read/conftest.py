"""Readers in this process, for cases that need no child; the child itself is met in test_child.py."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from softreg_core.data.csv_table import read_csv
from softreg_core.data.npz_table import read_npz
from softreg_core.data.parsed import ParsedTable
from softreg_core.data.request import ParseLimits

Reader = Callable[..., ParsedTable]


@pytest.fixture(scope="session")
def csv_table() -> Reader:
    """`csv_table(text_or_bytes, rows=10)` reads a CSV file under the default limits, but for those named."""

    def read(content: str | bytes, **limits: Any) -> ParsedTable:
        data = content.encode() if isinstance(content, str) else content
        return read_csv(io.BytesIO(data), ParseLimits(**limits))

    return read


@pytest.fixture(scope="session")
def npz_table() -> Reader:
    """`npz_table(bytes)` reads an NPZ file; `npz_table(features=..., target=...)` one that NumPy wrote."""

    def read(content: bytes | None = None, limits: ParseLimits | None = None, **arrays: Any) -> ParsedTable:
        if content is None:
            buffer = io.BytesIO()
            np.savez(buffer, **arrays)
            content = buffer.getvalue()
        return read_npz(io.BytesIO(content), limits or ParseLimits())

    return read
