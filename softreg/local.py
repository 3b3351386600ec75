"""`softreg up`: the whole service on one machine, from an empty directory to a ready API, and down again."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from softreg.embedded import EmbeddedPostgres, EmbeddedServer, EmbeddedValkey
from softreg.errors import LocalError
from softreg.home import Home, ProcessRecord, Record, State
from softreg.logs import keep_small
from softreg.masks import masked
from softreg.process import Command, end_stranger, identity
from softreg.readiness import free_port, is_api_ready
from softreg.services import Endpoints, own_database_url, own_host, own_redis_url, service_commands
from softreg.signals import SignalWatch
from softreg.supervisor import ProcessSupervisor, StopRequestedError

if TYPE_CHECKING:
    from softreg.database import Database

__all__ = ["LocalService", "end_leftovers"]

_log = logging.getLogger(__name__)
_SERVERS_TIMEOUT_SECONDS = 60.0  # a database that was killed reads its log first
_READY_TIMEOUT_SECONDS = 120.0
_LEFTOVER_GRACE_SECONDS = 10.0


class _Servers(NamedTuple):
    """The two servers; None where the environment names one of the user's."""

    postgres: EmbeddedPostgres | None
    valkey: EmbeddedValkey | None

    @property
    def embedded(self) -> list[EmbeddedServer]:
        return [server for server in self if server is not None]


def _open_database(home: Home, endpoints: Endpoints) -> Database:
    from softreg.database import open_database

    return open_database(home, endpoints)


class LocalService:
    """One service and its processes, from `run` to the signal that ends it.

    Args:
        home: Prepared and locked by the caller.
        port: Of the API; 0 picks a free one.
        workers: How many worker processes.
        commands: The services to supervise.
        open_database: What prepares the database.
    """

    def __init__(
        self,
        home: Home,
        port: int,
        workers: int,
        commands: Callable[[Home, Endpoints, int], Sequence[Command]] = service_commands,
        open_database: Callable[[Home, Endpoints], Database] = _open_database,
    ) -> None:
        self._home = home
        self._port = port
        self._workers = workers
        self._commands = commands
        self._open_database = open_database
        self._state: State = "starting"
        self._endpoints: Endpoints | None = None
        self._is_noted = False

    def run(self, announce: Callable[[Record, str | None], None]) -> None:
        """Start everything, keep it alive, and stop it in reverse order when a signal asks for it.

        Args:
            announce: Called once when the service is ready, with the first key if this start minted it.

        Raises:
            LocalError: A setting makes no sense, or something could not start; whatever had started is stopped again.
        """
        from softreg.database import check_environment

        check_environment()
        end_leftovers(self._home)
        host = own_host()
        port = free_port(host, self._port)
        with SignalWatch() as signals, contextlib.ExitStack() as at_end:
            self._supervisor = ProcessSupervisor(signals, self._note)
            for step in (self._home.forget, self._supervisor.stop, self._note_the_end):  # the last one first
                at_end.callback(step)
            with contextlib.suppress(StopRequestedError):
                self._note()
                endpoints = self._start_servers(host, port)
                key = self._start_services(endpoints)
                self._state = "running"
                self._note()
                announce(self._record(), key)
                self._supervisor.run(self._look)

    def _start_servers(self, host: str, port: int) -> Endpoints:
        home, database_url, redis_url = self._home, own_database_url(), own_redis_url()
        servers = _Servers(
            None if database_url else EmbeddedPostgres(home.path / "postgres", home.log_of("postgres")),
            None if redis_url else EmbeddedValkey(home.path / "valkey", home.log_of("valkey")),
        )
        for server in servers.embedded:
            server.prepare()
        if servers.valkey is not None:
            self._supervisor.start(servers.valkey.command())
        if servers.postgres is not None:
            self._supervisor.start(servers.postgres.command())
        self._supervisor.start_up(
            {server.name: server.answers for server in servers.embedded}, _SERVERS_TIMEOUT_SECONDS
        )
        return Endpoints(
            database_url=database_url or servers.embedded[0].url,
            redis_url=redis_url or servers.embedded[-1].url,
            host=host,
            port=port,
        )

    def _start_services(self, endpoints: Endpoints) -> str | None:
        self._endpoints = endpoints
        database = self._open_database(self._home, endpoints)
        try:
            key = database.prepare(self._home.api_key_file)
            for command in self._commands(self._home, endpoints, self._workers):
                self._supervisor.start(command)
            is_ready = {
                "api": lambda: is_api_ready(endpoints.base_url),
                "keeper": database.has_keeper,
                "worker": database.has_worker,
            }
            self._supervisor.start_up(is_ready, _READY_TIMEOUT_SECONDS)
        finally:
            database.close()
        return key

    def _look(self) -> None:
        """What is due now and then while the service runs."""
        for log in self._home.logs.glob("*.log"):
            try:
                keep_small(log)
            except OSError as error:
                _log.warning("%s cannot be kept small: %s", log, error)
        if not self._is_noted:
            self._note()

    def _note_the_end(self) -> None:
        self._state = "stopping"
        self._note()

    def _note(self) -> None:
        """Write down what runs now; a full disk does not end a service that runs, and is told one that starts."""
        self._is_noted = False
        try:
            self._home.write(self._record())
        except OSError as error:
            if self._state == "starting":
                raise LocalError(f"{self._home.path} cannot be written: {error.strerror}.") from error
            _log.warning("The state of the service cannot be written down: %s", error)
        else:
            self._is_noted = True

    def _record(self) -> Record:
        state = self._state
        if state == "running" and not self._supervisor.is_complete:
            state = "degraded"
        record = Record(
            state=state,
            supervisor=ProcessRecord("supervisor", os.getpid(), identity(os.getpid()) or ""),
            processes=self._supervisor.processes,
        )
        if self._endpoints is not None:
            record = replace(
                record,
                base_url=self._endpoints.base_url,
                database_url=masked(self._endpoints.database_url),
                redis_url=masked(self._endpoints.redis_url),
            )
        return record


def end_leftovers(home: Home) -> None:
    """End the children of a supervisor that was killed.

    They are dying already (the kernel told them), but two servers must never share one directory.
    """
    record = home.read()
    if record is None or record.supervisor.is_alive:
        return
    for process in reversed(record.processes):
        stop_signal = signal.SIGINT if process.name == EmbeddedPostgres.name else signal.SIGTERM
        end_stranger(process.pid, process.identity, stop_signal, _LEFTOVER_GRACE_SECONDS)
    home.forget()
