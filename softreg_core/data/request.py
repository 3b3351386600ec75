"""What the parent asks of the reading child, and the limits it reads under; standard library only.

The child reads this before it limits itself, and only then imports NumPy: so nothing heavy belongs here.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

__all__ = [
    "DISTINCT_LIMIT",
    "FILE_FORMATS",
    "LONGEST_LEVEL",
    "SAMPLES",
    "FileFormat",
    "Format",
    "ParseLimits",
    "ParseRequest",
    "format_of",
]

DISTINCT_LIMIT = 1000
"""A column with more different values than this is neither a category nor a list of classes."""
LONGEST_LEVEL = 255
"""Characters of a category's longest text."""
SAMPLES = ("digits", "diabetes", "breast_cancer", "wine", "iris")
"""Datasets that need no upload; they come with scikit-learn and are read in the same child."""
MIB = 2**20

FileFormat = Literal["csv", "tsv", "jsonl", "parquet", "npz"]
"""What an uploaded file may be."""
FILE_FORMATS: tuple[FileFormat, ...] = get_args(FileFormat)
Format = Literal[FileFormat, "sample"]
"""Whatever the child reads."""


def format_of(file_name: str) -> FileFormat | None:
    """What the ending of a file's name says; None when it says nothing known."""
    ending = Path(file_name).suffix.lower().removeprefix(".")
    if ending == "ndjson":
        return "jsonl"
    return next((known for known in FILE_FORMATS if ending == known), None)


@dataclass(frozen=True, slots=True)
class ParseLimits:
    """How much a file may ask for. Past any of these it is refused with a reason, never read in part."""

    rows: int = 10_000_000
    columns: int = 10_000
    cells: int = 2**29
    """Rows times columns: a line of JSONL or a page of Parquet can ask for thousands of missing cells with one byte."""
    field_characters: int = MIB
    line_bytes: int = 16 * MIB
    """A line of CSV, TSV or JSONL; base64 of the largest cell fits in."""
    cell_bytes: int = 8 * MIB
    """An encoded image or sound."""
    image_pixels: int = 2**25
    """Height times width of an image, before it is decoded."""
    image_side: int = 512
    """Images with a longer side are made smaller."""
    sound_seconds: float = 300.0
    sound_rate: int = 384_000
    """Samples a second."""
    steps: int = 1_000_000
    """Steps of one row of a sequence."""
    channels: int = 10_000
    """Values of one step of a sequence."""
    name_characters: int = 255
    arrays: int = 1_000
    """Members of an NPZ file."""
    header_bytes: int = 64 * 1024
    """Header of one array in an NPZ file."""
    unpacked_bytes: int = 1024 * MIB
    """All arrays of an NPZ file together, counted while unpacking."""
    unpacked_ratio: int = 500
    """Unpacked bytes per byte of the NPZ file; the first 16 MiB are free, for constant arrays compress without end."""
    report_bytes: int = 16 * MIB
    output_bytes: int = 2048 * MIB
    memory_bytes: int = 2048 * MIB
    """Address space of the child; its imports take up to 300 MiB of it."""
    cpu_seconds: int = 60
    wall_seconds: float = 120.0


@dataclass(frozen=True, slots=True)
class ParseRequest:
    """One file (or sample) to read, as the child's only argument."""

    format: Format
    source: str
    """Path of the file, or the sample's name."""
    output: Path
    limits: ParseLimits
    parent_pid: int
    """The child ends when this process does."""

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps({**dataclasses.asdict(self), "output": str(self.output)})

    @classmethod
    def from_json(cls, text: str) -> ParseRequest:
        """The inverse of `to_json`."""
        fields = json.loads(text)
        return cls(**{**fields, "output": Path(fields["output"]), "limits": ParseLimits(**fields["limits"])})
