"""Readers in this process, for cases that need no child; the child itself is met in test_child.py."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import soundfile
from PIL import Image
from pyarrow import parquet

from softreg_core.data.formats.csv_table import read_csv, read_tsv
from softreg_core.data.formats.jsonl_table import read_jsonl
from softreg_core.data.formats.npz_table import read_npz
from softreg_core.data.formats.parquet_table import read_parquet
from softreg_core.data.formats.parsed import ParsedTable
from softreg_core.data.request import ParseLimits
from softreg_core.data.table import Table

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


@pytest.fixture(scope="session")
def tsv_table() -> Reader:
    """`tsv_table(text)` reads a TSV file."""
    return lambda content: read_tsv(io.BytesIO(content.encode()), ParseLimits())


@pytest.fixture(scope="session")
def jsonl_table() -> Reader:
    """`jsonl_table(bytes)` reads a JSONL file; `jsonl_table([{...}, ...])` one that the json module wrote."""

    def read(content: bytes | list[Any], **limits: Any) -> ParsedTable:
        data = content if isinstance(content, bytes) else "\n".join(map(json.dumps, content)).encode()
        return read_jsonl(io.BytesIO(data), ParseLimits(**limits))

    return read


@pytest.fixture(scope="session")
def parquet_table() -> Reader:
    """`parquet_table(bytes)` reads a Parquet file; `parquet_table({"x": [...]})` one that pyarrow wrote."""

    def read(content: bytes | dict[str, Any], limits: ParseLimits | None = None, **options: Any) -> ParsedTable:
        if not isinstance(content, bytes):
            buffer = io.BytesIO()
            parquet.write_table(pa.table(content), buffer, **options)
            content = buffer.getvalue()
        return read_parquet(io.BytesIO(content), limits or ParseLimits())

    return read


@pytest.fixture(scope="session")
def as_table() -> Callable[[ParsedTable], Table]:
    """What was read as what training gets."""
    return lambda parsed: Table(parsed.report, parsed.tensors)


@pytest.fixture(scope="session")
def image_bytes() -> Callable[..., bytes]:
    """`image_bytes(pixels (H, W) or (H, W, C), "PNG")`: an encoded image; `mode=` converts it first."""

    def encode(pixels: Any, file_format: str = "PNG", mode: str | None = None, **options: Any) -> bytes:
        image = Image.fromarray(np.asarray(pixels))
        buffer = io.BytesIO()
        (image.convert(mode) if mode else image).save(buffer, file_format, **options)
        return buffer.getvalue()

    return encode


@pytest.fixture(scope="session")
def sound_bytes() -> Callable[..., bytes]:
    """`sound_bytes(samples, rate, "WAV")`: an encoded sound."""

    def encode(samples: Any, rate: int = 8000, file_format: str = "WAV", **options: Any) -> bytes:
        buffer = io.BytesIO()
        soundfile.write(buffer, np.asarray(samples), rate, format=file_format, **options)
        return buffer.getvalue()

    return encode
