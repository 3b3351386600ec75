"""A Parquet file as a table, row group by row group and batch by batch; torch-free.

A file of a few hundred bytes can ask for gigabytes: what its metadata says is held against the limits first, pages are
read through a small buffer, and what a page unpacks to meets the process's own limit on memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import pyarrow as pa
from pyarrow import parquet

from softreg_core.data.formats.column_names import check_names
from softreg_core.data.formats.parquet_columns import arrow_column
from softreg_core.data.formats.parsed import ParsedTable, parsed_table
from softreg_core.data.request import ParseLimits
from softreg_core.errors import DataError

__all__ = ["open_parquet", "parquet_parts", "read_parquet"]

_BUFFER_BYTES = 64 * 1024
_CELLS_PER_BATCH = 2**18
_ROWS_PER_BATCH = 2**16
_HEAVY_ROWS_PER_BATCH = 1024
"""At most, of lists, images or sounds, of which one may be megabytes."""
_HEAVY_BYTES_PER_BATCH = 2**24
_THRIFT_STRING_BYTES = 16 * 2**20
_THRIFT_ITEMS = 1_000_000
_MARK = b"PAR1"


def read_parquet(stream: BinaryIO, limits: ParseLimits) -> ParsedTable:
    """Read a Parquet file (rules for types: softreg_core.data.formats.parquet_columns).

    Raises:
        DataError: the file is broken or holds what is not read, or it passes a limit; the reason is a stable word.
        MemoryError: it asks for more memory than the process may have.
    """
    with _typed_errors():
        (table,) = parquet_parts(stream, limits, limits.rows)
        return table


def parquet_parts(stream: BinaryIO, limits: ParseLimits, rows: int) -> Iterator[ParsedTable]:
    """The same file in parts of at most so many rows, each read when it is asked for and forgotten after it.

    Args:
        stream: at its start.
        limits: of the whole file.
        rows: of a part; the last one may be smaller.

    Raises:
        DataError: as `read_parquet`.
        MemoryError: as `read_parquet`.
    """
    with _typed_errors():
        file = open_parquet(stream, limits)
        schema = file.schema_arrow
        if not len(schema):
            raise DataError("the file has no columns", "no_columns")
        check_names(schema.names, limits)
        batches = _batches(file, limits, rows)
        while (table := _next_part(schema, batches, limits, rows)) is not None:
            yield table
        if file.metadata.num_rows == 0:
            raise DataError("the file has no rows", "no_rows")


@contextmanager
def _typed_errors() -> Iterator[None]:
    try:
        yield
    except pa.ArrowMemoryError as error:
        raise MemoryError from error
    except pa.ArrowNotImplementedError as error:
        raise DataError("the Parquet file uses what is not read: another encoding or encryption", "parquet") from error
    except (pa.ArrowException, OSError, ValueError, KeyError, IndexError, OverflowError, TypeError) as error:
        raise DataError("the Parquet file is torn or damaged", "torn") from error


def open_parquet(stream: BinaryIO, limits: ParseLimits) -> parquet.ParquetFile:
    """The file, after a look at its two marks and at what its metadata says.

    Raises:
        DataError: it is no Parquet file, or passes a limit.
        ArrowException: it is broken.
    """
    start = stream.read(4)
    if not start:
        raise DataError("the file is empty", "empty")
    if start != _MARK:
        raise DataError("this is no Parquet file", "not_parquet")
    # Never mapped into memory: an upload that shrinks meanwhile would end the process.
    file = parquet.ParquetFile(
        stream,
        memory_map=False,
        pre_buffer=False,
        buffer_size=_BUFFER_BYTES,
        thrift_string_size_limit=_THRIFT_STRING_BYTES,
        thrift_container_size_limit=_THRIFT_ITEMS,
    )
    if file.metadata.num_rows > limits.rows:
        raise DataError(f"more than {limits.rows} rows", "too_many_rows")
    if file.metadata.num_columns > limits.columns:
        raise DataError(f"{file.metadata.num_columns} columns, more than {limits.columns}", "too_many_columns")
    if file.metadata.num_rows * file.metadata.num_columns > limits.cells:
        raise DataError(f"rows times columns are more than {limits.cells}", "too_large")
    return file


def _next_part(
    schema: pa.Schema, batches: Iterator[pa.RecordBatch], limits: ParseLimits, rows: int
) -> ParsedTable | None:
    """The table of the next batches, or None when there are no more."""
    columns = [arrow_column(field, limits) for field in schema]
    filled = 0
    while filled < rows and (batch := next(batches, None)) is not None:
        _validate(batch)
        filled += batch.num_rows
        for column, array in zip(columns, batch.columns, strict=True):
            column.add(array)
    if not filled:
        return None
    remarks = [remark for column in columns for remark in column.remarks()]
    columns.reverse()
    # Popped, so that a column's batches are gone before the next column's are joined.
    finished = [part for _ in schema for part in columns.pop().finish()]
    check_names([column.name for column in finished], limits)
    return parsed_table(finished, file_format="parquet", rows=filled, warnings=remarks)


def _validate(batch: pa.RecordBatch) -> None:
    """What a damaged page decodes to may point outside of itself, and bytes may be called text that are none."""
    try:
        batch.validate(full=True)
    except pa.ArrowInvalid as error:
        if "UTF8" in str(error):
            raise DataError("a column of texts has bytes that are not UTF-8", "encoding") from error
        raise


def _heavy_rows(group: parquet.RowGroupMetaData) -> int:
    """How many rows should be in memory at once. If the metadata lies, the limit on memory says so."""
    bytes_per_row: int = max(1, group.total_byte_size // max(1, group.num_rows))
    return max(1, min(_HEAVY_ROWS_PER_BATCH, _HEAVY_BYTES_PER_BATCH // bytes_per_row))


def _batches(file: parquet.ParquetFile, limits: ParseLimits, rows: int) -> Iterator[pa.RecordBatch]:
    """The file's rows in order; a batch has at most `rows`."""
    columns = [arrow_column(field, limits) for field in file.schema_arrow]
    most = max(1, min(rows, _ROWS_PER_BATCH, _CELLS_PER_BATCH // len(columns)))
    is_heavy = any(column.is_heavy for column in columns)
    seen = 0
    for group in range(file.metadata.num_row_groups):
        size = min(most, _heavy_rows(file.metadata.row_group(group))) if is_heavy else most
        batches: Any = file.iter_batches(batch_size=size, row_groups=[group], use_threads=False)
        for batch in batches:
            seen += batch.num_rows
            if seen > limits.rows:
                raise DataError(f"more than {limits.rows} rows", "too_many_rows")
            yield batch
