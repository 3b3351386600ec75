"""A CSV or TSV file as a table; NumPy only."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import BinaryIO

from softreg_core.data.formats.csv_columns import CsvColumn
from softreg_core.data.formats.csv_rows import open_csv
from softreg_core.data.formats.parsed import ParsedTable, parsed_table
from softreg_core.data.request import Format, ParseLimits
from softreg_core.errors import DataError

__all__ = ["read_csv", "read_tsv"]

_CELLS_PER_BLOCK = 2**18
"""Cells held as Python strings at a time: some 60 bytes each, and enough to drown the cost of a block."""
_CHARACTERS_PER_BLOCK = 2**24


def read_csv(stream: BinaryIO, limits: ParseLimits) -> ParsedTable:
    """Read a CSV file with a header (rules for cells: softreg_core.data.formats.csv_columns).

    Raises:
        DataError: the file's form is wrong, or it passes a limit; the reason is a stable word.
    """
    return _read(stream, limits, "csv", ",")


def read_tsv(stream: BinaryIO, limits: ParseLimits) -> ParsedTable:
    """Read a TSV file: as CSV, with tabs for commas.

    Raises:
        DataError: as for CSV.
    """
    return _read(stream, limits, "tsv", "\t")


def _read(stream: BinaryIO, limits: ParseLimits, file_format: Format, delimiter: str) -> ParsedTable:
    names, rows = open_csv(stream, limits, delimiter)
    columns = [CsvColumn(name) for name in names]
    count = 0
    while block := _block(rows, len(columns)):
        count += len(block)
        for column, cells in zip(columns, zip(*block, strict=True), strict=True):
            column.add(cells)
    if not count:
        raise DataError("the file has a header and no rows", "no_rows")
    columns.reverse()
    # Popped, so that a column's blocks are gone before the next column's are joined.
    finished = [columns.pop().finish() for _ in names]
    return parsed_table(finished, file_format=file_format, rows=count, warnings=_header_warnings(names))


def _block(rows: Iterator[list[str]], width: int) -> list[list[str]]:
    """The next rows, as many as should be in memory as strings at once; empty at the end of the file."""
    block: list[list[str]] = []
    characters = 0
    for row in itertools.islice(rows, max(1, _CELLS_PER_BLOCK // width)):
        block.append(row)
        characters += sum(map(len, row))
        if characters > _CHARACTERS_PER_BLOCK:
            break
    return block


def _header_warnings(names: list[str]) -> list[str]:
    try:
        looks_like_data = all(math.isfinite(float(name)) for name in names)
    except ValueError:
        return []
    return ["every column name is a number: is the header missing?"] if looks_like_data else []
