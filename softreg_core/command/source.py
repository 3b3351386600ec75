"""From the name of a file or a sample to data that can be trained on, in memory or streamed from disk."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from softreg_core.data.parse import read_table_file
from softreg_core.data.report import DatasetReport
from softreg_core.data.request import format_of
from softreg_core.data.sample import load_sample
from softreg_core.data.stream.source import ParquetChunks, is_larger_than, scan
from softreg_core.data.table import Table
from softreg_core.spec import TrainSpec

if TYPE_CHECKING:
    from softreg_core.data.tabular import PreparedData

__all__ = ["MEMORY_SHARE", "Source", "open_source", "sha256_of_source"]

_SAMPLE = "sample:"
MEMORY_SHARE = 0.25
"""A Parquet file that would take more than this share of the machine's memory is streamed."""


class Source(Protocol):
    """A dataset."""

    @property
    def report(self) -> DatasetReport:
        """What is known of it."""

    def prepare(self, spec: TrainSpec, scratch: Path) -> PreparedData:
        """What `train` takes; `scratch` is a new directory that stays as long as it is trained."""


@dataclass(frozen=True, slots=True)
class _InMemory:
    table: Table

    @property
    def report(self) -> DatasetReport:
        return self.table.report

    def prepare(self, spec: TrainSpec, scratch: Path) -> PreparedData:  # noqa: ARG002 - it needs no disk
        from softreg_core.data.tabular import prepare

        return prepare(spec, self.table)


@dataclass(frozen=True, slots=True)
class _OnDisk:
    chunks: ParquetChunks
    report: DatasetReport

    def prepare(self, spec: TrainSpec, scratch: Path) -> PreparedData:
        from softreg_core.data.large import prepare_large

        return prepare_large(spec, self.report, self.chunks, scratch)


def open_source(name: str, memory_bytes: int | None = None) -> Source:
    """Open `name`: a file whose ending tells its format, or `sample:NAME`.

    Files are read in a confined child, but for a Parquet file that would take more memory than it may: that one is
    streamed, in this process.

    Args:
        name: of a file or sample.
        memory_bytes: how much a dataset may take; a quarter of the machine's when not given.

    Raises:
        DataError: there is no such file or sample, or it cannot be read.
    """
    if name.startswith(_SAMPLE):
        return _InMemory(load_sample(name.removeprefix(_SAMPLE)))
    path = Path(name)
    share = _memory_share() if memory_bytes is None else memory_bytes
    if format_of(path.name) == "parquet" and path.is_file() and is_larger_than(path, share):
        chunks = ParquetChunks(path)
        return _OnDisk(chunks, scan(chunks))
    return _InMemory(read_table_file(path))


def _memory_share() -> int:
    return int(MEMORY_SHARE * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def sha256_of_source(name: str) -> str | None:
    """Of the file's bytes; None for a sample, which its name says all of."""
    if name.startswith(_SAMPLE):
        return None
    with Path(name).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
