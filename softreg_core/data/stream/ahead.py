"""Reading ahead: the next thing is made by a thread while the one before it is used; torch-free."""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

__all__ = ["ahead"]

Thing = TypeVar("Thing")


def ahead(source: Iterator[Thing], depth: int = 1) -> Iterator[Thing]:
    """What `source` gives, in its order, made by a thread that is at most `depth` things ahead.

    The thread begins with the first thing asked for. It ends when the source is exhausted, when it fails, whose error
    is raised here in place of the thing, and when this generator is closed or forgotten.
    """
    reader = _Reader(source, depth)
    try:
        yield from reader
    finally:
        reader.close()


class _Reader(Generic[Thing]):
    def __init__(self, source: Iterator[Thing], depth: int) -> None:
        self._source = source
        self._depth = depth
        self._made: deque[Thing] = deque()
        self._changed = threading.Condition()
        self._error: BaseException | None = None
        self._is_over = self._is_closed = False
        # A daemon: a process that is told to end need not wait for a disk.
        self._thread = threading.Thread(target=self._read, name="softreg-ahead", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[Thing]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._made or self._is_over)
                if not self._made:
                    break
                thing = self._made.popleft()
                self._changed.notify_all()
            yield thing
            del thing  # not kept while the next one is waited for
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """End the thread, and wait until it has ended: it may stand in files that are about to be removed."""
        with self._changed:
            self._is_closed = True
            self._made.clear()
            self._changed.notify_all()
        if not sys.is_finalizing():  # then the thread does not run any more
            self._thread.join()

    def _read(self) -> None:
        try:
            while self._wait() and (found := next(self._source, self)) is not self:
                with self._changed:
                    self._made.append(found)  # type: ignore[arg-type]  # not the mark of the end
                    self._changed.notify_all()
                del found
        except BaseException as error:  # noqa: BLE001  raised again where the things are used
            self._error = error
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def _wait(self) -> bool:
        """Until there is room for one more; False when nobody wants it."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._made) < self._depth or self._is_closed)
            return not self._is_closed
