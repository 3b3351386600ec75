"""The directory of one local service: its data, logs, key and state, readable by nobody else."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from softreg.account import own_directory, server_account
from softreg.errors import LocalError
from softreg.process import identity

__all__ = ["Home", "ProcessRecord", "Record", "State", "default_home"]

State = Literal["stopped", "starting", "running", "degraded", "stopping"]


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    """A process, recognisable after its number was given to another one."""

    name: str
    pid: int
    identity: str

    @property
    def is_alive(self) -> bool:
        """Whether that very process still runs."""
        return identity(self.pid) == self.identity


@dataclass(frozen=True, slots=True)
class Record:
    """What the supervisor last wrote down about itself and its children."""

    state: State
    supervisor: ProcessRecord
    base_url: str | None = None
    database_url: str | None = None
    redis_url: str | None = None
    processes: tuple[ProcessRecord, ...] = ()


def default_home() -> Path:
    """Root: /var/lib/softreg, where the servers' user can go; others: the data directory of the XDG standard."""
    if os.geteuid() == 0:
        return Path("/var/lib/softreg")
    data = os.environ.get("XDG_DATA_HOME", "")
    return (Path(data) if data.startswith("/") else Path.home() / ".local" / "share") / "softreg"


class Home:
    """Where everything of one local service lies; nothing is created before `prepare`."""

    def __init__(self, path: Path) -> None:
        try:
            self.path = path.expanduser().absolute()
        except RuntimeError as error:  # ~ of nobody, or of somebody without a home directory
            raise LocalError(f"{path} cannot be the service's home: {error}") from error
        self.logs = self.path / "logs"
        self.spool = self.path / "spool"
        self.api_key_file = self.path / "api_key"
        self._lock_file = self.path / "lock"
        self._record_file = self.path / "state.json"

    @property
    def is_prepared(self) -> bool:
        """Whether a service was started here before."""
        try:
            return self._lock_file.exists()
        except OSError as error:
            raise self._refusal(error) from error

    def prepare(self) -> None:
        """Make the directories, mode 0700.

        Run by root, the home belongs to the servers' user, who must pass through it to reach the data; what is in
        the home belongs to root except for the servers' own directories.

        Raises:
            LocalError: The path cannot be a home, or it holds files, but none of a local service.
        """
        try:
            if self.path.is_dir() and not self._lock_file.exists() and any(self.path.iterdir()):
                raise LocalError(f"{self.path} holds files that are not softreg's: choose a new or an empty directory.")
            if self.path.exists() and not self.path.is_dir():
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
            own_directory(self.path, server_account())
            self._lock_file.touch(mode=0o600)
            own_directory(self.logs, None)
            own_directory(self.spool, None)
        except OSError as error:
            raise self._refusal(error) from error

    def _refusal(self, error: OSError) -> LocalError:
        reason = (error.strerror or str(error)).lower()
        return LocalError(f"{self.path} cannot be the service's home: {reason}.")

    @contextlib.contextmanager
    def locked(self) -> Iterator[bool]:
        """Hold the home's lock inside the block; the value is False when another process holds it."""
        descriptor = os.open(self._lock_file, os.O_RDWR | os.O_CLOEXEC)
        try:
            yield _try_lock(descriptor)
        finally:
            os.close(descriptor)

    def log_of(self, name: str) -> Path:
        """The log of one process."""
        return self.logs / f"{name}.log"

    def write(self, record: Record) -> None:
        """Replace the record in one step: a reader sees the old one or the new one."""
        draft = self._record_file.with_suffix(".draft")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(asdict(record), file, indent=1)
        draft.replace(self._record_file)

    def forget(self) -> None:
        """Remove the record: nothing runs any more."""
        self._record_file.unlink(missing_ok=True)

    def read(self) -> Record | None:
        """The last record, which may be about processes that are long gone; None when there is none."""
        try:
            fields = json.loads(self._record_file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except PermissionError as error:
            raise LocalError(f"{self.path} belongs to another user.") from error
        except OSError as error:
            raise self._refusal(error) from error
        except json.JSONDecodeError:  # the machine lost power: nothing that the record was about still runs
            return None
        supervisor = ProcessRecord(**fields.pop("supervisor"))
        processes = tuple(ProcessRecord(**process) for process in fields.pop("processes"))
        return Record(supervisor=supervisor, processes=processes, **fields)

    def running(self) -> Record | None:
        """The record, if the supervisor that wrote it is alive."""
        record = self.read()
        return record if record is not None and record.supervisor.is_alive else None


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
