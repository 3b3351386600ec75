"""Compiled programs on disk, kept between jobs and processes of one user."""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

__all__ = ["Artifacts", "artifacts_directory"]

_LOG = logging.getLogger(__name__)
_MOST_BYTES = 2 * 2**30
_SWEPT_SECONDS = 24 * 3_600.0


def artifacts_directory() -> Path:
    """`SOFTREG_CACHE_DIRECTORY`, or `softreg` where the user's caches are."""
    given = os.environ.get("SOFTREG_CACHE_DIRECTORY")
    if given:
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "softreg"


class Artifacts:
    """Files by key, verified by their digest when they are read; the longest unused go when there are too many bytes.

    A program is code that this process runs: the directory is ours alone, or it is not used.
    """

    def __init__(self, directory: Path, most_bytes: int | None = None) -> None:
        """Make the directory.

        Args:
            directory: for this alone.
            most_bytes: of all programs together; `SOFTREG_CACHE_BYTES`, or 2 GiB, when not given.

        Raises:
            PermissionError: it belongs to another user, or is none.
        """
        self.directory = _private(directory)
        self._programs = _private(directory / "programs")
        self._most_bytes = int(os.environ.get("SOFTREG_CACHE_BYTES", _MOST_BYTES)) if most_bytes is None else most_bytes

    def find(self, key: str) -> Path | None:
        """The program of a key; one that is torn or was changed is removed with a warning."""
        program, facts = self._programs / f"{key}.pt2", self._programs / f"{key}.json"
        try:
            told = json.loads(facts.read_text())
            is_whole = hashlib.sha256(program.read_bytes()).hexdigest() == told["sha256"]
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError):
            is_whole = False
        if not is_whole:
            _LOG.warning("the compiled program %s is damaged and is made anew", program)
            self.drop(key)
            return None
        with suppress(OSError):
            os.utime(program)
        return program

    def drop(self, key: str) -> None:
        """Forget a program."""
        for suffix in ("json", "pt2"):
            (self._programs / f"{key}.{suffix}").unlink(missing_ok=True)

    def make(self, key: str, write: Callable[[Path], None]) -> Path:
        """The program of a key, written by `write` to the path that it is given unless another process has just done.

        Two processes that want the same wait for each other; a process that was killed leaves nothing that counts.
        """
        with self.locked(key):
            found = self.find(key)
            if found is not None:
                return found
            with tempfile.TemporaryDirectory(dir=self.directory, prefix="making-") as directory:
                written = Path(directory) / f"{key}.pt2"
                write(written)
                digest = hashlib.sha256(written.read_bytes()).hexdigest()
                written.replace(self._programs / written.name)
                # The facts come last: a program without them is none.
                _write(self._programs / f"{key}.json", {"sha256": digest})
            self._sweep()
            self._shrink(key)
        return self._programs / f"{key}.pt2"

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """One process at a time; the lock of a killed one is free."""
        path = self._programs / f"{name}.lock"
        with path.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            try:
                yield
            finally:
                # Removed while held: who waits on it makes the program anew at worst.
                path.unlink(missing_ok=True)

    def read(self, name: str) -> dict[str, Any]:
        """A small document beside the programs; empty where there is none that can be read."""
        try:
            found = json.loads((self.directory / name).read_text())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def write(self, name: str, document: Mapping[str, Any]) -> None:
        """Put one there whole; of two writers the last one's stays."""
        _write(self.directory / name, document)

    def _sweep(self) -> None:
        """Remove what killed processes have left; not what another one may be making."""
        long_ago = time.time() - _SWEPT_SECONDS
        for left in self.directory.glob("making-*"):
            with suppress(OSError):
                if left.stat().st_mtime < long_ago:
                    shutil.rmtree(left, ignore_errors=True)

    def _shrink(self, kept: str) -> None:
        found = []
        for path in self._programs.glob("*.pt2"):
            with suppress(FileNotFoundError):
                status = path.stat()
                found.append((status.st_mtime_ns, status.st_size, path.stem))
        total = sum(size for _, size, _ in found)
        for _, size, key in sorted(found):
            if total <= self._most_bytes:
                return
            if key != kept:
                self.drop(key)
                total -= size


def _write(path: Path, document: Mapping[str, Any]) -> None:
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=".", delete=False) as file:
        written = Path(file.name)
        try:
            json.dump(document, file)
            file.flush()
        except OSError:
            written.unlink(missing_ok=True)
            raise
    written.replace(path)


def _private(directory: Path) -> Path:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = directory.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise PermissionError(f"{directory} is not a directory of this user: compiled programs are not kept there")
    if status.st_mode & 0o077:
        directory.chmod(0o700)
    return directory
