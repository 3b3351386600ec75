"""From the bytes of a CSV or TSV file to rows of texts: UTF-8, RFC 4180 quotes, a header; standard library only.

Whatever is wrong with the file's form ends here with a typed error that names the line or the data row.
"""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterator
from typing import BinaryIO

from softreg_core.data.formats.column_names import check_names
from softreg_core.data.request import ParseLimits
from softreg_core.errors import DataError

__all__ = ["open_csv"]

_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}


def open_csv(stream: BinaryIO, limits: ParseLimits, delimiter: str = ",") -> tuple[list[str], Iterator[list[str]]]:
    """The column names, and the data rows, each with one text per column.

    Sets the process-wide field limit of the csv module: this runs in a process that reads one file.

    Raises:
        DataError: from here for the header, and from the iterator for the rows.
    """
    csv.field_size_limit(limits.field_characters)
    reader = csv.reader(_lines(stream, limits), delimiter=delimiter, strict=True)
    try:
        header = next(reader, None)
    except csv.Error as error:
        raise _malformed(error, None, reader.line_num) from error
    if header is None:
        raise DataError("the file is empty", "empty")
    names = _names(header, limits, delimiter)
    return names, _rows(reader, len(names), limits)


def _lines(stream: BinaryIO, limits: ParseLimits) -> Iterator[str]:
    """The file's lines with their ends. Read as bytes, so that the line of a wrong byte is known."""
    number = 0
    while line := stream.readline(limits.line_bytes + 1):
        number += 1
        if len(line) > limits.line_bytes:
            raise DataError(f"line {number} is longer than {limits.line_bytes} bytes", "line_too_long")
        if number == 1:
            line = line.removeprefix(codecs.BOM_UTF8)
        if b"\0" in line:
            raise DataError(f"line {number} has a NUL byte: this is no CSV file, or it is UTF-16", "nul")
        try:
            yield line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"line {number} is not UTF-8: save the file as UTF-8", "encoding") from error


def _names(header: list[str], limits: ParseLimits, delimiter: str) -> list[str]:
    """The header's cells as column names, after every check on them."""
    names = [cell.strip() for cell in header]
    if not any(names):
        raise DataError("the first line is blank: it must name the columns", "header")
    if len(names) == 1:
        for other, word in _DELIMITERS.items():
            if other != delimiter and other in header[0]:
                message = f"the columns are separated by {word}: separate them by {_DELIMITERS[delimiter]}"
                raise DataError(message, "delimiter")
    check_names(names, limits, hint=" (from pandas: to_csv(..., index=False))")
    return names


def _rows(reader: Iterator[list[str]], width: int, limits: ParseLimits) -> Iterator[list[str]]:
    """The data rows; blank lines at the end of the file are left out."""
    number = 0
    is_blank = False
    try:
        for row in reader:
            if not row:
                is_blank = True
                continue
            if is_blank:
                raise DataError(f"there is a blank line before data row {number + 1}", "ragged", row=number + 1)
            number += 1
            if len(row) != width:
                message = f"data row {number} and the header differ in their number of cells: {len(row)} and {width}"
                raise DataError(message, "ragged", row=number)
            if number > limits.rows:
                raise DataError(f"more than {limits.rows} rows", "too_many_rows")
            yield row
    except csv.Error as error:
        raise _malformed(error, number + 1, reader.line_num) from error  # type: ignore[attr-defined]


def _malformed(error: csv.Error, row: int | None, line: int) -> DataError:
    """What the csv module found, in our words: its own are the only thing that tells the cases apart."""
    text = str(error)
    if "unexpected end of data" in text:
        return DataError("the file ends inside a quoted cell: it is torn, or a quote is not closed", "torn", row=row)
    if "field limit" in text:
        return DataError(f"a cell near line {line} is too long", "field_too_large", row=row)
    if "new-line character" in text:
        return DataError(f"line {line} has a bare carriage return: end lines with \\n or \\r\\n", "line_end", row=row)
    return DataError(f"line {line} has text after a closing quote", "quoting", row=row)
