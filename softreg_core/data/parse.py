"""Reading an untrusted file in a child process with limits and without credentials: the parent's side; torch-free."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, ValidationError

import softreg_core
from softreg_core.data.report import DatasetReport
from softreg_core.data.request import FILE_FORMATS, SAMPLES, FileFormat, Format, ParseLimits, ParseRequest, format_of
from softreg_core.errors import DataError, ResourceError, ServiceError

if TYPE_CHECKING:
    from softreg_core.data.table import Table

__all__ = ["parse_file", "parse_sample", "read_table_file"]

DEFAULT_LIMITS = ParseLimits()
# What the kernel sends for too much processor time, memory or output, and what a parser's crash looks like.
_LIMIT_SIGNALS = {signal.SIGXCPU, signal.SIGKILL, signal.SIGXFSZ, signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS}


def parse_file(
    path: Path,
    *,
    format: FileFormat,  # noqa: A002 - the word of the HTTP surface and of the report
    output: Path,
    limits: ParseLimits = DEFAULT_LIMITS,
) -> DatasetReport:
    """Read `path` in a child process and store its table at `output` (see softreg_core.data.read).

    Raises:
        DataError: the file is refused; `reason` is a stable word, `too_expensive` when it met a limit.
        ServiceError: the child could not do its work (ResourceError: it could not start); the file may be good.
    """
    return _read(format, str(path.resolve(strict=True)), output, limits)


def parse_sample(name: str, output: Path, limits: ParseLimits = DEFAULT_LIMITS) -> DatasetReport:
    """Store the sample `name` (one of `SAMPLES` of softreg_core.data.request) at `output`.

    Raises:
        DataError: there is no such sample (reason `unknown_sample`).
        ServiceError: the child could not do its work.
    """
    if name not in SAMPLES:
        raise DataError(f"there is no sample '{name}'; there are: {', '.join(SAMPLES)}", "unknown_sample")
    return _read("sample", name, output, limits)


def read_table_file(path: Path, limits: ParseLimits = DEFAULT_LIMITS) -> Table:
    """The table in a file whose ending tells its format, read in a child process; for notebooks and scripts.

    Raises:
        DataError: there is no such file, its ending is unknown (`unknown_format`), or it is refused.
        ServiceError: the child could not do its work.
    """
    from softreg_core.data.table import load_table  # NumPy, which the API, where files are stored, does without

    if not path.is_file():
        raise DataError(f"there is no file {path}", "missing_file")
    file_format = format_of(path.name)
    if file_format is None:
        raise DataError(f"{path.name}: the formats read are {', '.join(FILE_FORMATS)}", "unknown_format")
    with tempfile.TemporaryDirectory(prefix="softreg-data-") as folder:
        table = Path(folder, "table")
        parse_file(path, format=file_format, output=table, limits=limits)
        return load_table(table)


class _Failure(BaseModel):
    """Why the child refused the file."""

    model_config = ConfigDict(extra="forbid")

    message: str
    reason: str
    row: int | None
    column: str | None


class _Reply(BaseModel):
    """What the child prints. It has parsed hostile bytes, so its word is checked like any input."""

    model_config = ConfigDict(extra="forbid")

    report: DatasetReport | None = None
    error: _Failure | None = None


def _read(file_format: Format, source: str, output: Path, limits: ParseLimits) -> DatasetReport:
    request = ParseRequest(file_format, source, output.absolute(), limits, os.getpid())
    stored = False
    try:
        status, printed = _run_child(request)
        report = _report(status, printed)
        stored = True
    except OSError as error:
        raise ResourceError(f"no process can be started to read the file: {error.strerror}") from error
    finally:
        if not stored:
            output.unlink(missing_ok=True)
    return report


def _run_child(request: ParseRequest) -> tuple[int, bytes]:
    """Exit status and standard output of the child; it is gone when this returns."""
    limits = request.limits
    deadline = time.monotonic() + limits.wall_seconds
    with (
        tempfile.TemporaryDirectory(prefix="read-", dir=request.output.parent) as scratch,
        subprocess.Popen(
            # -P: never import from the scratch directory; -s: nor from the user's site directory.
            [sys.executable, "-P", "-s", "-m", "softreg_core.data.read", request.to_json()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=scratch,
            env=_child_environment(),
            start_new_session=True,
        ) as child,
    ):
        try:
            # The reply wraps the report in a few bytes; an error's text is short.
            printed = _read_until(child, deadline, limits.report_bytes + 64 * 1024)
            return child.wait(timeout=max(0.0, deadline - time.monotonic())), printed
        except (TimeoutError, subprocess.TimeoutExpired) as error:
            raise DataError(f"reading the file takes longer than {limits.wall_seconds:g} s", "too_expensive") from error
        finally:
            # Its own session, so nothing of it stays behind; until it is waited for, the id cannot be reused.
            if child.returncode is None:
                os.killpg(child.pid, signal.SIGKILL)


def _child_environment() -> dict[str, str]:
    """All that the child may know: where the package lies, and to use one thread. No credentials, no PATH."""
    return {
        "PYTHONPATH": str(Path(softreg_core.__file__).parent.parent),
        "LANG": "C.UTF-8",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        # Arrow: the C library's allocator, which the limit on memory is made for, and no threads.
        "ARROW_DEFAULT_MEMORY_POOL": "system",
        "ARROW_IO_THREADS": "1",
        "MALLOC_ARENA_MAX": "1",
    }


def _read_until(child: subprocess.Popen[bytes], deadline: float, most_bytes: int) -> bytes:
    """Everything the child prints, at most `most_bytes`; TimeoutError at the deadline."""
    assert child.stdout is not None  # noqa: S101 - it was started with a pipe
    descriptor = child.stdout.fileno()
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    printed = bytearray()
    while True:
        left = deadline - time.monotonic()
        if left <= 0.0 or not poll.poll(left * 1000.0):
            raise TimeoutError
        block = os.read(descriptor, 65536)
        if not block:
            return bytes(printed)
        printed += block
        if len(printed) > most_bytes:
            raise ServiceError("the reading process printed more than a report")


def _report(status: int, printed: bytes) -> DatasetReport:
    """The report in what the child printed, or the error that its end means."""
    if status < 0:
        if -status in _LIMIT_SIGNALS:
            raise DataError("reading the file needs more time or memory than is allowed", "too_expensive")
        raise ServiceError(f"the reading process was ended by signal {-status}")
    try:
        reply = _Reply.model_validate_json(printed)
    except ValidationError as error:
        raise ServiceError(f"the reading process ended with status {status} and without a report") from error
    if reply.error is not None:
        failure = reply.error
        raise DataError(failure.message, failure.reason, failure.row, failure.column)
    if status != 0 or reply.report is None:
        raise ServiceError(f"the reading process ended with status {status} and without a report")
    return reply.report
