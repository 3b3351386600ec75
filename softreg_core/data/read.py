"""The reading child: `python -m softreg_core.data.read REQUEST` reads one untrusted file; torch-free.

It limits itself first, imports the parsers then, writes the table to the file named in the request
and prints one JSON object: `{"report": ...}` or `{"error": {"message", "reason", "row", "column"}}`.
Nothing of the file's content goes to stderr. `softreg_core.data.parse` starts it.

The stored table is one safetensors file: `numbers` (rows, k) float64 with NaN for every unusable cell and
`codes` (rows, k) int32 with -1 for missing; from an NPZ file its arrays, each as (rows, k); columns of another kind as
softreg_core.data.table says. The report stands in its metadata under `softreg.report`.
"""

from __future__ import annotations

import gc
import json
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from softreg_core.data.confine import confine
from softreg_core.data.request import FileFormat, ParseLimits, ParseRequest
from softreg_core.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable

    from softreg_core.data.formats.parsed import ParsedTable

__all__ = ["main", "read_table"]


def read_table(request: ParseRequest) -> ParsedTable:
    """The table in the requested file, in memory.

    Raises:
        DataError: the file cannot be read; the reason is a stable word.
    """
    if request.format == "sample":
        from softreg_core.data.formats.sklearn_samples import read_sample

        return read_sample(request.source)
    read = _reader(request.format)
    with Path(request.source).open("rb") as stream:
        return read(stream, request.limits)


def _reader(file_format: FileFormat) -> Callable[[BinaryIO, ParseLimits], ParsedTable]:
    """Imported only when asked for: a CSV file has no business with the decoders of images."""
    match file_format:
        case "csv":
            from softreg_core.data.formats.csv_table import read_csv as read
        case "tsv":
            from softreg_core.data.formats.csv_table import read_tsv as read
        case "jsonl":
            from softreg_core.data.formats.jsonl_table import read_jsonl as read
        case "parquet":
            from softreg_core.data.formats.parquet_table import read_parquet as read
        case "npz":
            from softreg_core.data.formats.npz_table import read_npz as read
    return read


def main(arguments: list[str]) -> None:
    """Read the file that the one argument asks for and print the outcome."""
    request = ParseRequest.from_json(arguments[0])
    confine(request.limits, request.parent_pid)
    # Millions of short-lived rows hold no cycles: looking for some takes a fifth of the time of a CSV file.
    gc.disable()
    sys.stdout.write(_outcome(request))


def _outcome(request: ParseRequest) -> str:
    try:
        table = read_table(request)
        report = table.report_json(request.limits)
    except DataError as error:
        return _failure(error.message, error.reason, error.row, error.column)
    except MemoryError:
        return _failure("reading the file needs more memory than is allowed", "too_expensive")
    except ImportError:
        # A part of the installation is missing: the file is not to blame.
        raise
    except Exception as error:  # noqa: BLE001 - whatever a hostile file provokes, the caller gets a typed error
        return _failure(f"the file cannot be read ({_origin(error)})", "unreadable")
    # Outside the try: a full disk is not the file's fault; the status and the missing reply tell the parent.
    table.write(request.output, report)
    return f'{{"report": {report}}}'


def _failure(message: str, reason: str, row: int | None = None, column: str | None = None) -> str:
    error: dict[str, Any] = {"message": message, "reason": reason, "row": row, "column": column}
    return json.dumps({"error": error})


def _origin(error: Exception) -> str:
    """Which error was raised where; not its text, which may quote the file."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {Path(last.filename).name}, line {last.lineno}"


if __name__ == "__main__":
    main(sys.argv[1:])
