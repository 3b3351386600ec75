"""What one API process holds: settings, the connections, and the limits on what may run at once."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from typing import TypeVar

import anyio
from fastapi import Request
from fastapi.concurrency import contextmanager_in_threadpool, run_in_threadpool
from redis import Redis
from sqlalchemy import Connection

from api.cursors import Cursors
from softreg_jobs.database import engine_of
from softreg_jobs.queries import cursor_key
from softreg_jobs.settings import Settings

__all__ = ["Runtime", "runtime_of"]

T = TypeVar("T")

POOL_SIZE = 10
# Each may use the memory of one parsing child (softreg_core.data.parse).
PARSES_AT_ONCE = 2


class Runtime:
    """One per application; `close` it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.engine = engine_of(settings, pool_size=POOL_SIZE)
        # The same connections, each statement a transaction of its own.
        self._single = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        self.redis: Redis = Redis.from_url(
            settings.redis_url.get_secret_value(), socket_timeout=2.0, socket_connect_timeout=2.0
        )
        self.parses = anyio.CapacityLimiter(PARSES_AT_ONCE)
        # The first use of a sample is worth one parse, not one for each request that waits for it.
        self.sample_lock = threading.Lock()
        self._connections = anyio.Semaphore(POOL_SIZE, fast_acquire=True)
        self._cursors: Cursors | None = None

    @property
    def alive_seconds(self) -> float:
        """A worker that has not beaten for longer than this counts as gone."""
        return self.settings.silent_seconds

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A connection whose transaction ends with the block.

        Who finds no connection waits here, without a thread: threads blocked in the pool could otherwise keep the
        holders of its connections from running, and everybody would wait for everybody until the pool's timeout.
        """
        async with self._connections, contextmanager_in_threadpool(self.engine.begin()) as connection:
            yield connection

    async def within(self, work: Callable[[Connection], T]) -> T:
        """`work` in a transaction of its own, on one thread from beginning to end: two changes of thread less."""
        return await self._threaded(self.engine.begin, work)

    async def singly(self, query: Callable[[Connection], T]) -> T:
        """The same for statements of which each stands alone: without the trips for BEGIN and COMMIT."""
        return await self._threaded(self._single.connect, query)

    async def _threaded(
        self, connect: Callable[[], AbstractContextManager[Connection]], work: Callable[[Connection], T]
    ) -> T:
        def run() -> T:
            with connect() as connection:
                return work(connection)

        async with self._connections:
            return await run_in_threadpool(run)

    def cursors(self, connection: Connection) -> Cursors:
        """Signs and checks page cursors, with the key of this database."""
        if self._cursors is None:
            self._cursors = Cursors(cursor_key(connection))
        return self._cursors

    def close(self) -> None:
        """Give back every connection."""
        self.redis.close()
        self.engine.dispose()


def runtime_of(request: Request) -> Runtime:
    """The runtime of the application that serves `request`."""
    runtime: Runtime = request.app.state.runtime
    return runtime
