"""Files under way, in a directory of this process alone: attempts, and the last datasets used."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path

from softreg_jobs.blobs import Blob
from softreg_jobs.spool import private_directory

__all__ = ["Spool"]

_KEPT_DATASETS = 4
_PREFIX = "worker-"
_YOUNG_SECONDS = 60.0


class Spool:
    """`<base>/worker-<id>`, mode 0700; leftovers of processes that are gone are removed at the start.

    A lock on a file inside, which ends with its process, tells the living from the dead; process ids would not where
    containers share the base.
    """

    def __init__(self, base: Path) -> None:
        _remove_orphans(private_directory(base))
        self.directory = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))
        self._lock = _locked(self.directory)
        (self.directory / "datasets").mkdir(mode=0o700)
        self._datasets: OrderedDict[str, Path] = OrderedDict()

    @contextlib.contextmanager
    def attempt(self, name: str) -> Iterator[Path]:
        """A directory for one attempt's files, gone afterwards."""
        directory = self.directory / name
        directory.mkdir(mode=0o700)
        try:
            yield directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    def dataset(self, blob: Blob, fetch: Callable[[Blob, Path], None]) -> Path:
        """The file of a dataset, fetched unless it was used lately."""
        path = self._datasets.pop(blob.sha256, None)
        if path is None:
            path = self.directory / "datasets" / blob.sha256
            fetch(blob, path)
        self._datasets[blob.sha256] = path
        while len(self._datasets) > _KEPT_DATASETS:
            _, oldest = self._datasets.popitem(last=False)
            oldest.unlink(missing_ok=True)
        return path

    def forget_datasets(self) -> None:
        """Fetch every dataset anew: a kept file was found damaged."""
        for path in self._datasets.values():
            path.unlink(missing_ok=True)
        self._datasets.clear()

    def remove(self) -> None:
        """Remove everything."""
        shutil.rmtree(self.directory, ignore_errors=True)
        os.close(self._lock)


def _locked(directory: Path) -> int:
    """A descriptor that holds the directory's lock.

    Raises:
        BlockingIOError: a living process holds it.
    """
    descriptor = os.open(directory / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _remove_orphans(base: Path) -> None:
    for path in base.glob(f"{_PREFIX}*"):
        # A directory this young may belong to a worker that is just about to lock it.
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _YOUNG_SECONDS:
                os.close(_locked(path))
                shutil.rmtree(path, ignore_errors=True)
