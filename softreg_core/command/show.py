"""What a person sees while a model is trained, and what is printed in the end."""

from __future__ import annotations

import json
import math
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from softreg_core.command.folder import Folder
from softreg_core.engine import EpochEnded, Finished, Started

__all__ = ["Display", "closing"]

_SHOWN = ("val.loss", "val.accuracy", "val.r2")


class Display:
    """A bar on standard error; a line for each tenth of the epochs where that is no terminal."""

    def __init__(self, *, is_shown: bool) -> None:
        console = Console(stderr=True)
        self._lines = console if is_shown and not console.is_terminal else None
        self._bar = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%  {task.fields[numbers]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not is_shown or not console.is_terminal,
        )
        self._console = console
        self._warned: set[str] = set()
        self._task: TaskID | None = None
        self._epochs = 1

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def began(self, event: Started) -> None:
        """The first event."""
        self._epochs = event.epochs
        self._task = self._bar.add_task("", total=event.total_steps, epoch="0", numbers="")
        self.advanced(event.start_step)

    def advanced(self, step: int) -> None:
        """So many steps are done."""
        if self._task is not None:
            self._bar.update(self._task, completed=step)

    def measured(self, event: EpochEnded) -> None:
        """An epoch ended; each kind of warning is told once."""
        for advice in event.advice:
            if advice.code not in self._warned:
                self._warned.add(advice.code)
                text = f"Warning: epoch {event.epoch}: {advice.pointer}: {advice.message}"
                self._console.print(text, highlight=False, markup=False, soft_wrap=True)
        names = ["train.loss", *(name for name in _SHOWN if name in event.metrics)]
        numbers = "  ".join(f"{name} {event.metrics[name]:.4g}" for name in names)
        if self._task is not None:
            self._bar.update(self._task, completed=event.step, epoch=f"{event.epoch}/{self._epochs}", numbers=numbers)
        if self._lines is not None and event.epoch % max(1, self._epochs // 10) == 0:
            self._lines.print(f"epoch {event.epoch}/{self._epochs}  {numbers}", highlight=False)


def closing(outcome: Finished, folder: Folder, *, as_json: bool) -> str:
    """The delivered model's metrics and where it lies."""
    if as_json:
        metrics = {name: value if math.isfinite(value) else None for name, value in outcome.metrics.items()}
        facts = {"directory": str(folder.path), "reason": outcome.reason, "step": outcome.step, "epoch": outcome.epoch}
        return json.dumps({**facts, "best_step": outcome.best_step, "metrics": metrics}, indent=2)
    table = Table("metric", "delivered model")
    for name, value in sorted(outcome.metrics.items()):
        table.add_row(name, f"{value:.6g}")
    console = Console(width=80)
    with console.capture() as capture:
        console.print(table)
    return f"{capture.get()}Model in {folder.path}: softreg_core.load({str(folder.path)!r})"
