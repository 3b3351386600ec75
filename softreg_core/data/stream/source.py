"""A Parquet file that is larger than memory's share, read in parts; torch-free."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pyarrow import parquet

from softreg_core.data.formats.parquet_table import parquet_parts
from softreg_core.data.report import DatasetReport
from softreg_core.data.request import ParseLimits
from softreg_core.data.stream.chunks import Chunks
from softreg_core.data.stream.merge import ReportMerger
from softreg_core.data.table import Table
from softreg_core.errors import DataError

__all__ = ["ParquetChunks", "is_larger_than", "scan"]

_NUMBERS_PER_CHUNK = 2**21
"""16 MiB as float64; while a chunk is read it is held about three times."""
_LEAST_ROWS = 64
_LIMITS = ParseLimits(rows=1_000_000_000, cells=10**12)


@dataclass(frozen=True, slots=True)
class ParquetChunks:
    """The parts of one file, the same ones each time; see `Chunks`."""

    path: Path

    def __call__(self) -> Iterator[Table]:
        """Read the file from its start."""
        with self.path.open("rb") as stream:
            for part in parquet_parts(stream, _LIMITS, self._rows()):
                yield Table(part.report, part.tensors)

    def _rows(self) -> int:
        schema = parquet.read_schema(self.path)
        width = sum(getattr(kind, "list_size", 1) for kind in schema.types)
        return max(_LEAST_ROWS, _NUMBERS_PER_CHUNK // max(1, width))


def scan(chunks: Chunks) -> DatasetReport:
    """The report of a whole file, whose parts are read one after the other.

    Raises:
        DataError: the file cannot be read, or a column changes its kind on the way.
    """
    merger = ReportMerger()
    for chunk in chunks():
        merger.add(chunk.report)
    return merger.finish()


def is_larger_than(path: Path, share_bytes: int) -> bool:
    """Whether a Parquet file would take more memory than that as a table: its cells, unpacked, as numbers.

    Raises:
        DataError: it is no Parquet file.
    """
    try:
        metadata = parquet.read_metadata(path)
    except (OSError, ValueError) as error:
        raise DataError("this is no Parquet file", "not_parquet") from error
    unpacked = sum(metadata.row_group(index).total_byte_size for index in range(metadata.num_row_groups))
    return bool(max(unpacked, 8 * metadata.num_rows * metadata.num_columns) > share_bytes)
