"""The last datasets of a warm runner: their tables, and the rows made of them, ready to train on.

What comes out is shared by jobs, one after another, so nobody may change it: tables are read-only, and rows that were
written to since they were made are made anew. Only the runner's process may call it; torch is imported when it is.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from softreg_core.data.table import Table
from softreg_core.errors import is_out_of_memory
from softreg_core.spec.train import TrainSpec
from worker.protocol import FileRef

if TYPE_CHECKING:
    from torch import Tensor

    from softreg_core.data.tabular import PreparedData

__all__ = ["ReadyData", "ResidentData"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class ReadyData:
    """A dataset as a job trains on it."""

    data: PreparedData
    rows: int
    """Of the whole dataset."""


@dataclass(frozen=True, slots=True, eq=False)
class _Kept:
    thing: Any
    size: int
    versions: tuple[int, ...]
    """torch counts how often a tensor, or a view of it, was written to."""


class ResidentData:
    """Within a budget; the least recently used goes first.

    Args:
        most_bytes: what tables and rows may take together; 0 keeps nothing.
        load: reads the table of a file, once its digest is seen to be right.
    """

    def __init__(self, most_bytes: int, load: Callable[[FileRef], Table]) -> None:
        self._most_bytes = most_bytes
        self._load = load
        self._kept: OrderedDict[tuple[str, ...], _Kept] = OrderedDict()

    @property
    def size(self) -> int:
        """Bytes of what is kept."""
        return sum(kept.size for kept in self._kept.values())

    def ready(self, dataset: FileRef, spec: TrainSpec) -> ReadyData:
        """The rows that `spec` trains on, made anew where none are kept.

        Args:
            dataset: its digest stands for it: of a dataset that is kept, the file is not read again.
            spec: resolved against the dataset.

        Raises:
            SoftregError: the data cannot be read or does not fit the spec.
            MemoryError: it does not fit memory, even with nothing else kept.
        """
        from softreg_core.data.tabular import prepare, what_prepares

        def make() -> ReadyData:
            table = self._table(dataset)
            return ReadyData(prepare(spec, table), table.report.rows)

        key = (dataset.sha256, what_prepares(spec))
        return self._had(key, lambda: self._unless_full(make), lambda ready: tuple(_tensors(ready.data)))

    def clear(self) -> None:
        """Keep nothing: memory is short."""
        self._kept.clear()

    def _table(self, dataset: FileRef) -> Table:
        def make() -> Table:
            table = self._load(dataset)
            for array in table.tensors.values():
                array.flags.writeable = False
            return table

        return self._had((dataset.sha256,), make, lambda table: tuple(table.tensors.values()))

    def _unless_full(self, make: Callable[[], T]) -> T:
        try:
            return make()
        except (MemoryError, RuntimeError) as error:
            if not self._kept or not is_out_of_memory(error):
                raise
        self.clear()
        return make()

    def _had(self, key: tuple[str, ...], make: Callable[[], T], parts: Callable[[T], tuple[Any, ...]]) -> T:
        kept = self._kept.pop(key, None)
        if kept is None or _versions(parts(kept.thing)) != kept.versions:
            thing = make()
            of = parts(thing)
            kept = _Kept(thing, sum(part.nbytes for part in of), _versions(of))
        if kept.size > self._most_bytes:
            return kept.thing  # type: ignore[no-any-return]
        self._kept[key] = kept
        size = self.size
        while size > self._most_bytes:
            _, oldest = self._kept.popitem(last=False)
            size -= oldest.size
        return kept.thing  # type: ignore[no-any-return]


def _tensors(data: PreparedData) -> Iterator[Tensor]:
    for part in (data.train, data.validation, data.test):
        yield from part.inputs  # type: ignore[union-attr]  # the service streams nothing
        yield part.target
        if part.weight is not None:
            yield part.weight


def _versions(parts: tuple[Any, ...]) -> tuple[int, ...]:
    return tuple(getattr(part, "_version", 0) for part in parts)
