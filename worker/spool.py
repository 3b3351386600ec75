"""Files under way, in a directory of this process alone: attempts, and the last datasets used."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path

from softreg_jobs.blobs import Blob
from softreg_jobs.spool import private_directory

__all__ = ["Spool"]

_KEPT_DATASETS = 4


class Spool:
    """`<base>/worker-<pid>`, mode 0700; leftovers of processes that are gone are removed at the start."""

    def __init__(self, base: Path) -> None:
        _remove_orphans(private_directory(base))
        self.directory = base / f"worker-{os.getpid()}"
        shutil.rmtree(self.directory, ignore_errors=True)
        (self.directory / "datasets").mkdir(mode=0o700, parents=True)
        self.directory.chmod(0o700)
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


def _remove_orphans(base: Path) -> None:
    for path in base.glob("worker-*"):
        number = path.name.removeprefix("worker-")
        if number.isdigit() and not Path(f"/proc/{number}").exists():
            shutil.rmtree(path, ignore_errors=True)
