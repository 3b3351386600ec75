"""PostgreSQL 18 and Valkey 9 as children of this process, reached through private Unix sockets only.

    server = EmbeddedPostgres(Path("/tmp/mine/postgres"))
    url = server.start()      # postgresql+psycopg://postgres@/softreg?host=...
    server.stop()             # the data stays

Each owns its directory (mode 0700) and dies with the process that started it. Run by root, both servers run as the
system user `softreg`; the directory must then lie where that user can go: `tempfile.mkdtemp()` does, pytest's
`tmp_path` does not.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from softreg.account import can_enter, own_directory, server_account
from softreg.errors import LocalError
from softreg.installed import postgres_programs, valkey_program
from softreg.logs import log_tail
from softreg.process import Command, await_end, end, spawn
from softreg.sockets import socket_directory

__all__ = ["EmbeddedPostgres", "EmbeddedServer", "EmbeddedValkey"]

# No variable of the caller reaches the servers: PGDATA and its kin change what they do, and they need no secrets.
_ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
_POLL_SECONDS = 0.01
_INITDB_SECONDS = 120.0  # half a second here; slow disks exist


class EmbeddedServer(ABC):
    """One server: `prepare` its directory, spawn its `command`, and it is ready once it `answers`.

    `start` does all three and `stop` ends it; a supervisor takes the steps by itself.

    Args:
        directory: The server's own; made if need be.
        log: Where its output goes; `<name>.log` in the directory by default.
    """

    name: ClassVar[str]
    longest_socket_name: ClassVar[str]

    def __init__(self, directory: Path, log: Path | None = None) -> None:
        self.directory = directory.absolute()
        self.log = log or self.directory / f"{self.name}.log"
        self.process: subprocess.Popen[bytes] | None = None
        self._account = server_account()
        self._sockets: Path | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """How clients reach it; known after `prepare`."""

    @abstractmethod
    def command(self) -> Command:
        """The server in the foreground."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether it takes commands now."""

    @property
    def pid(self) -> int | None:
        """The running server's process id."""
        return None if self.process is None else self.process.pid

    @property
    def sockets(self) -> Path:
        """The private directory of the server's socket; known after `prepare`."""
        if self._sockets is None:
            raise RuntimeError("prepare() comes first")
        return self._sockets

    def prepare(self) -> None:
        """Make the directories; work that takes long goes on in the background until `command` needs it."""
        own_directory(self.directory, self._account)
        self._sockets = socket_directory(self.directory, self._account, self.longest_socket_name)

    def start(self, timeout_seconds: float = 30.0) -> str:
        """Start the server and wait until it answers.

        Returns:
            Its URL.

        Raises:
            LocalError: It ended, or did not answer in time; the message holds the end of its log.
        """
        self.prepare()
        command = self.command()
        self.process = spawn(command)
        deadline = time.monotonic() + timeout_seconds
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise LocalError(f"The embedded {self.name} did not start:\n{log_tail(self.log)}")
            time.sleep(_POLL_SECONDS)
        return self.url

    def stop(self) -> None:
        """Stop the server, if it runs; its data stays."""
        if self.process is not None:
            command = self.command()
            end(self.process, command.stop_signal, command.grace_seconds)
            self.process = None


class EmbeddedPostgres(EmbeddedServer):
    """PostgreSQL 18 with one database, `softreg`, and no password: the socket's directory is the lock."""

    name = "postgres"
    longest_socket_name = ".s.PGSQL.5432.lock"

    def __init__(self, directory: Path, log: Path | None = None) -> None:
        super().__init__(directory, log)
        self._initdb: subprocess.Popen[bytes] | None = None
        self._has_database = False

    @property
    def url(self) -> str:
        """A SQLAlchemy URL."""
        return f"postgresql+psycopg://postgres@/softreg?host={self.sockets}"

    @property
    def _data(self) -> Path:
        return self.directory / "data"

    @property
    def _unfinished(self) -> Path:
        """Where initdb writes: renamed when it is done, so that an interrupted one is never taken for a cluster."""
        return self.directory / "data.unfinished"

    def prepare(self) -> None:
        """Make the directories and, at the first start, begin to make the cluster."""
        super().prepare()
        self._programs = postgres_programs(self.directory, self._account)
        if self._data.is_dir() or self._initdb is not None:
            return
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self._unfinished)
        options = ("--username=postgres", "--auth=trust", "--encoding=utf8", "--locale=C.UTF-8")
        self._initdb = spawn(self._run("initdb", "-D", str(self._unfinished), *options))

    def command(self) -> Command:
        """The server; waits for the cluster to be made.

        Raises:
            LocalError: The cluster could not be made.
        """
        if self._initdb is not None:
            if await_end(self._initdb, _INITDB_SECONDS) != 0:
                self._initdb = None
                raise LocalError(f"The database could not be created:\n{log_tail(self.log)}{self._hint()}")
            self._unfinished.rename(self._data)
            self._initdb = None
        settings = {
            "listen_addresses": "",
            "port": "5432",
            "unix_socket_directories": str(self.sockets),
            "unix_socket_permissions": "0700",
            "shared_buffers": "128MB",
            "max_connections": "100",
            "timezone": "UTC",
            "log_timezone": "UTC",
        }
        return self._run("postgres", "-D", str(self._data), *(f"--{key}={value}" for key, value in settings.items()))

    def answers(self) -> bool:
        """Whether it takes connections; makes the database when it is missing."""
        import psycopg

        try:
            with psycopg.connect(
                host=str(self.sockets),
                port=5432,
                user="postgres",
                dbname="postgres",
                autocommit=True,
                connect_timeout=2,  # a server that hangs takes connections and never answers
            ) as connection:
                if connection.execute("SELECT 1 FROM pg_database WHERE datname = 'softreg'").fetchone() is None:
                    connection.execute("CREATE DATABASE softreg")
        except psycopg.OperationalError:
            return False
        return True

    def _run(self, program: str, *arguments: str) -> Command:
        return Command(
            name=self.name,
            arguments=(str(self._programs / program), *arguments),
            directory=self.directory,
            log=self.log,
            environment=_ENVIRONMENT,
            account=self._account,
            # SIGINT is the "fast" stop: SIGTERM would wait for every client to leave.
            stop_signal=signal.SIGINT,
            orphan_signal=signal.SIGINT,
            grace_seconds=20.0,
        )

    def _hint(self) -> str:
        if self._account is None or can_enter(self.directory, self._account):
            return ""
        return (
            f"\nThe servers run as the user {self._account.name!r}, who cannot reach {self.directory}: "
            "choose a place such as /var/lib/softreg."
        )


class EmbeddedValkey(EmbeddedServer):
    """Valkey 9 that writes every command to disk and never evicts a key."""

    name = "valkey"
    longest_socket_name = "valkey.sock"

    @property
    def url(self) -> str:
        """A redis-py URL."""
        return f"unix://{self._socket}"

    @property
    def _socket(self) -> Path:
        return self.sockets / "valkey.sock"

    def prepare(self) -> None:
        """Make the directories."""
        super().prepare()
        self._program = valkey_program(self.directory, self._account)

    def command(self) -> Command:
        """The server."""
        settings = {
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "dir": str(self.directory),
            "appendonly": "yes",
            "save": "",
            "maxmemory-policy": "noeviction",
        }
        options = (part for key, value in settings.items() for part in (f"--{key}", value))
        return Command(
            name=self.name,
            arguments=(str(self._program), *options),
            directory=self.directory,
            log=self.log,
            environment=_ENVIRONMENT,
            account=self._account,
        )

    def answers(self) -> bool:
        """Whether it answers PING: while it loads its file it does not."""
        try:
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(2.0)
                client.connect(str(self._socket))
                client.sendall(b"PING\r\n")
                return client.recv(64).startswith(b"+PONG")
        except OSError:
            return False
