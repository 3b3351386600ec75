"""A file on its way in: streamed to a spool file that only this user can read, counted and hashed on the way."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from api.body import blocks
from api.refusals import InvalidRequestError, MalformedRequestError, TooLargeError
from softreg_core.errors import Problem
from softreg_jobs.settings import Settings
from softreg_jobs.spool import private_directory

__all__ = ["SPOOL_PREFIX", "Upload", "forget_leftovers", "received"]

FIELDS = ("name", "format")
_FIELD_BYTES = 1024
SPOOL_PREFIX = "upload-"
_LEFTOVER_SECONDS = 24 * 3600.0
# What a form adds around its file.
_FORM_BYTES = 64 * 1024


@dataclass(slots=True)
class Upload:
    """A received file in a directory of its own, which goes with the request."""

    directory: Path
    file_name: str | None = None
    """As the client calls it; for display only."""
    media_type: str = ""
    size: int = 0
    fields: dict[str, str] = field(default_factory=dict)
    """What the form says beside its file."""
    query: dict[str, str] = field(default_factory=dict)
    """The same as far as the query says it; the form goes first."""
    digest: hashlib._Hash = field(default_factory=hashlib.sha256)

    @property
    def source(self) -> Path:
        """The file's bytes."""
        return self.directory / "source"

    @property
    def table(self) -> Path:
        """Where what was read from it goes."""
        return self.directory / "table"


@asynccontextmanager
async def received(request: Request, settings: Settings) -> AsyncIterator[Upload]:
    """The file in a request's body: the part `file` of a form, or the body itself.

    Raises:
        TooLargeError: the file is larger than `settings.max_upload_bytes`.
        MalformedRequestError: the form is broken.
        InvalidRequestError: the form has parts that are not taken, or no file.
    """
    spool = private_directory(settings.spool_dir)
    upload = Upload(Path(tempfile.mkdtemp(prefix=SPOOL_PREFIX, dir=spool)))
    try:
        media_type, options = parse_options_header(request.headers.get("content-type"))
        limit = settings.max_upload_bytes
        with await run_in_threadpool(upload.source.open, "xb") as file:
            if media_type == b"multipart/form-data":
                form = _Form(upload, file, options.get(b"boundary", b""), limit)
                async for block in blocks(request, limit + _FORM_BYTES):
                    await run_in_threadpool(form.feed, block)
                form.finish()
            else:
                upload.media_type = media_type.decode("latin-1")
                async for block in blocks(request, limit):
                    await run_in_threadpool(_append, upload, file, block)
        yield upload
    finally:
        shutil.rmtree(upload.directory)


def forget_leftovers(spool: Path) -> None:
    """Remove what processes that were killed have left: uploads so old that nobody can be at them any more."""
    for directory in private_directory(spool).glob(f"{SPOOL_PREFIX}*"):
        # Another process may remove it at the same time.
        with suppress(FileNotFoundError):
            if directory.stat().st_mtime < time.time() - _LEFTOVER_SECONDS:
                shutil.rmtree(directory, ignore_errors=True)


def _append(upload: Upload, file: IO[bytes], data: bytes) -> None:
    upload.size += len(data)
    upload.digest.update(data)
    file.write(data)


@contextmanager
def _form_errors() -> Iterator[None]:
    try:
        yield
    except FormParserError as error:
        raise MalformedRequestError("the form is broken") from error


class _Form:
    """A multipart/form-data body, read as it comes; the parser limits the parts' headers, this class the rest."""

    def __init__(self, upload: Upload, file: IO[bytes], boundary: bytes, most_bytes: int) -> None:
        if not boundary:
            raise MalformedRequestError("the form's Content-Type has no boundary")
        self._upload = upload
        self._file = file
        self._most_bytes = most_bytes
        self._part = ""
        self._seen: set[str] = set()
        self._headers: dict[bytes, bytes] = {}
        self._header = (bytearray(), bytearray())
        self._value = bytearray()
        self._is_whole = False
        with _form_errors():
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin,
                    "on_header_field": lambda data, start, end: self._header[0].extend(data[start:end]),
                    "on_header_value": lambda data, start, end: self._header[1].extend(data[start:end]),
                    "on_header_end": self._header_end,
                    "on_headers_finished": self._headers_finished,
                    "on_part_data": lambda data, start, end: self._data(data[start:end]),
                    "on_part_end": self._part_end,
                    "on_end": self._end,
                },
            )

    def feed(self, block: bytes) -> None:
        """The next bytes of the body."""
        with _form_errors():
            self._parser.write(block)

    def finish(self) -> None:
        """The body is over: it must have been a whole form with a file."""
        if not self._is_whole:
            raise MalformedRequestError("the form ends before its last boundary")
        if "file" not in self._seen:
            raise InvalidRequestError("the form has no file", [Problem("/file", "the part 'file' is missing")])

    def _begin(self) -> None:
        self._headers = {}
        self._header = (bytearray(), bytearray())
        self._value = bytearray()

    def _header_end(self) -> None:
        name, value = self._header
        self._headers[bytes(name).lower()] = bytes(value)
        self._header = (bytearray(), bytearray())

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition"))
        self._part = options.get(b"name", b"").decode(errors="replace")
        pointer = f"/{self._part[:64]}"
        if self._part not in ("file", *FIELDS):
            raise InvalidRequestError("the form has an unknown part", [Problem(pointer, "this part is not taken")])
        if self._part in self._seen:
            raise InvalidRequestError("the form has a part twice", [Problem(pointer, "this part stands here twice")])
        self._seen.add(self._part)
        if self._part == "file":
            self._upload.file_name = options.get(b"filename", b"").decode(errors="replace") or None
            media_type, _ = parse_options_header(self._headers.get(b"content-type"))
            self._upload.media_type = media_type.decode("latin-1")

    def _data(self, data: bytes) -> None:
        if self._part == "file":
            _append(self._upload, self._file, data)
            if self._upload.size > self._most_bytes:
                raise TooLargeError(f"the file is larger than {self._most_bytes} bytes")
        else:
            self._value.extend(data)
            if len(self._value) > _FIELD_BYTES:
                raise TooLargeError(f"the part '{self._part}' is larger than {_FIELD_BYTES} bytes")

    def _part_end(self) -> None:
        if self._part in FIELDS:
            self._upload.fields[self._part] = self._value.decode(errors="replace")

    def _end(self) -> None:
        self._is_whole = True
