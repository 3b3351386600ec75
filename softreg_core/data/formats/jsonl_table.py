"""A JSONL file as a table: one object a line; torch-free (rules for values: jsonl_columns, beside this)."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from typing import Any, BinaryIO, NoReturn

from softreg_core.data.formats.column_names import check_names
from softreg_core.data.formats.jsonl_columns import JsonColumn
from softreg_core.data.formats.parsed import ParsedTable, parsed_table
from softreg_core.data.request import ParseLimits
from softreg_core.errors import DataError

__all__ = ["read_jsonl"]

_CELLS_PER_BLOCK = 2**16
_BYTES_PER_BLOCK = 2**24


def read_jsonl(stream: BinaryIO, limits: ParseLimits) -> ParsedTable:
    """Read a JSONL file: UTF-8, one object a line; a key that an object has not is a missing cell.

    Raises:
        DataError: a line or a value is not as it must be, or the file passes a limit; the reason is a stable word.
    """
    columns: dict[str, JsonColumn] = {}
    rows = 0
    objects = _objects(stream, limits)
    while block := _block(objects, len(columns)):
        # In the order of their first appearance; a dict, for the thousandth row must not cost more than the first.
        names = dict.fromkeys(name for row in block for name in row)
        if not names.keys() <= columns.keys():
            check_names([*columns, *(name for name in names if name not in columns)], limits)
            columns |= {name: JsonColumn(name, limits, rows) for name in names if name not in columns}
        if (rows + len(block)) * len(columns) > limits.cells:
            raise DataError(f"rows times columns are more than {limits.cells}", "too_large")
        for name, column in columns.items():
            column.add([row.get(name) for row in block])
        rows += len(block)
    if not rows:
        raise DataError("the file is empty", "empty")
    if not columns:
        raise DataError("the objects have no keys", "no_columns")
    remarks = [remark for column in columns.values() for remark in column.remarks()]
    finished = [columns.pop(name).finish() for name in [*columns]]
    return parsed_table(finished, file_format="jsonl", rows=rows, warnings=remarks)


def _block(objects: Iterator[tuple[dict[str, Any], int]], width: int) -> list[dict[str, Any]]:
    """The next rows, as many as should be in memory as objects at once; empty at the end of the file."""
    block: list[dict[str, Any]] = []
    cells = size = 0
    for row, length in objects:
        block.append(row)
        cells += max(len(row), width, 1)
        size += length
        if cells >= _CELLS_PER_BLOCK or size >= _BYTES_PER_BLOCK:
            break
    return block


def _objects(stream: BinaryIO, limits: ParseLimits) -> Iterator[tuple[dict[str, Any], int]]:
    """Each line's object, and the line's length; blank lines at the end of the file are left out."""
    decoder = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_no_constant)
    row, is_blank = 0, False
    for read in iter(lambda: stream.readline(limits.line_bytes + 1), b""):
        line = read if row else read.removeprefix(codecs.BOM_UTF8)
        if not line.strip():
            is_blank = True
            continue
        row += 1
        if is_blank:
            raise DataError(f"there is a blank line before row {row}", "ragged", row=row)
        if row > limits.rows:
            raise DataError(f"more than {limits.rows} rows", "too_many_rows")
        if len(line) > limits.line_bytes:
            raise DataError(f"row {row} is longer than {limits.line_bytes} bytes", "line_too_long", row=row)
        yield _parsed(decoder, line, row), len(line)


def _parsed(decoder: json.JSONDecoder, line: bytes, row: int) -> dict[str, Any]:
    try:
        value = decoder.decode(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise DataError(f"row {row} is not UTF-8: save the file as UTF-8", "encoding", row=row) from error
    except RecursionError as error:
        raise DataError(f"row {row}: lists or objects lie too deep in each other", "nested", row=row) from error
    # Also: more digits than Python reads, NaN, Infinity, a key twice.
    except ValueError as error:
        raise DataError(f"row {row} is not JSON, or has NaN, Infinity or a key twice", "json", row=row) from error
    if not isinstance(value, dict):
        raise DataError(f"row {row} is no JSON object: write one object a line", "not_object", row=row)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError
    return found


def _no_constant(_text: str) -> NoReturn:
    raise ValueError
