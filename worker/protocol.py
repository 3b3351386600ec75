"""What supervisor and runner say to each other: one JSON object a line, bytes as files named in it.

Supervisor to runner: `run`, `control`, `export`. Runner to supervisor: `ready`, then for each run `started`, any
number of `progress`, `epoch` and `checkpoint`, and one of `finished`, `stopped`, `failed`; for each export `exported`
or `failed`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

__all__ = [
    "Action",
    "ExportRequest",
    "FileRef",
    "RunRequest",
    "RunnerStart",
    "decode",
    "encode",
    "file_ref",
    "sha256_of_file",
]

Action = Literal["cancel", "stop"]


@dataclass(frozen=True, slots=True)
class RunnerStart:
    """What a runner is told when it is started, for all its jobs; as JSON its one argument."""

    parent: int
    """Process id: it dies with it."""
    device: str
    """`cpu` or `cuda:0`: of CUDA devices a runner sees its own only."""
    threads: int
    """The most that a job may use."""
    data_bytes: int
    """The most that datasets kept from job to job may take."""

    @classmethod
    def from_argument(cls, text: str) -> RunnerStart:
        """What `as_argument` made."""
        return cls(**json.loads(text))

    def as_argument(self) -> str:
        """The argument."""
        return json.dumps(asdict(self))


@dataclass(frozen=True, slots=True)
class FileRef:
    """A file in the attempt's spool directory and the digest of its bytes."""

    path: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class RunRequest:
    """Train this: a resolved spec, the dataset, where to put files, and what to go on from."""

    directory: str
    device: str
    spec: dict[str, Any]
    dataset: FileRef
    resume: FileRef | None = None
    best: FileRef | None = None
    data_sha256: str = ""
    """Of the file that the dataset was made of: what its owner knows it by."""
    teacher: tuple[FileRef, ...] = ()
    """The model that the job learns from: its files, under their own names in a directory of their own."""

    @classmethod
    def from_message(cls, message: dict[str, Any]) -> RunRequest:
        """The request in a decoded `run` message."""
        files = {name: FileRef(**message[name]) if message[name] else None for name in ("dataset", "resume", "best")}
        plain = {name: message[name] for name in ("directory", "device", "spec", "data_sha256")}
        teacher = tuple(FileRef(**file) for file in message["teacher"])
        return cls(**plain, **files, teacher=teacher)  # type: ignore[arg-type]

    def as_message(self) -> dict[str, Any]:
        """The `run` message."""
        return {"type": "run", **asdict(self)}


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """Build a file of a stored model, whose other files lie in the directory under their own names."""

    directory: str
    kind: str
    sources: tuple[FileRef, ...]

    @classmethod
    def from_message(cls, message: dict[str, Any]) -> ExportRequest:
        """The request in a decoded `export` message."""
        sources = tuple(FileRef(**source) for source in message["sources"])
        return cls(directory=message["directory"], kind=message["kind"], sources=sources)

    def as_message(self) -> dict[str, Any]:
        """The `export` message."""
        return {"type": "export", **asdict(self)}


def encode(message: dict[str, Any]) -> bytes:
    """One line. NaN and Infinity pass: both ends are ours, and a metric may be either."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def decode(line: bytes) -> dict[str, Any]:
    """The message of one line.

    Raises:
        ValueError: it is not a JSON object with a `type`.
    """
    # PostgreSQL keeps no NUL, and a message may quote what a library said.
    message = json.loads(line.replace(rb"\u0000", rb"\ufffd"))
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise ValueError("not a message")  # noqa: TRY004  # the text is wrong, not its type
    return message


def sha256_of_file(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_ref(path: Path) -> FileRef:
    """A reference to a file as it is now."""
    return FileRef(str(path), sha256_of_file(path), path.stat().st_size)
