"""One point of a curve, measured in a process of its own, so that its peak memory is its own.

    python -m benchmarks.scaling.point SECONDS width 1024
    python -m benchmarks.scaling.point SECONDS rows FILE.parquet MEMORY_MIB

Prints a JSON object. Steps per second are those of whole epochs, validation included, by the wall and by the processor
time of all threads.
"""

from __future__ import annotations

import json
import re
import resource
import sys
import tempfile
import time
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.report import median
from benchmarks.train.job import article
from benchmarks.train.packs import members_of
from softreg_core.command.source import open_source
from softreg_core.data.streamed import StreamedPart
from softreg_core.engine import EpochEnded, Failed, Started, TrainEvent, train, train_packed
from softreg_core.spec import TrainSpec, resolve
from softreg_core.spec.parameters import COUNTS

__all__ = ["pack", "rows", "steps_per_second", "width"]

ROWS_BATCH = 256
_LONG = 10
_MOST_EPOCHS = 1_000_000


def steps_per_second(events: Iterable[TrainEvent | Failed], seconds: float, models: int = 1) -> dict[str, float]:
    """Of each model: the median over epochs after the first, in which things are built; or the first if it is long.

    Args:
        events: of one run, or of the last member of a pack.
        seconds: after the first epoch, for the others.
        models: that step together.
    """
    marks: list[tuple[float, float]] = []
    steps_per_epoch = 1
    for event in events:
        if isinstance(event, Started):
            steps_per_epoch = event.steps_per_epoch
        if isinstance(event, (Started, EpochEnded)):
            marks.append((time.perf_counter(), time.process_time()))
            if len(marks) > 1 and (marks[-1][0] - marks[1][0] > seconds or marks[1][0] - marks[0][0] > _LONG * seconds):
                break
    found = {}
    for name, clock in (("steps_per_s", 0), ("steps_per_cpu_s", 1)):
        lengths = [after[clock] - before[clock] for before, after in pairwise(marks)]
        found[name] = models * steps_per_epoch / median(lengths[1:] or lengths)
    return found


def width(size: int, seconds: float) -> dict[str, Any]:
    """The article's job with two hidden layers of this width, batch 32."""
    net = {"kind": "mlp", "hidden": [size, size]}
    spec, data = article(_MOST_EPOCHS, net=net, training={"engine": "eager"})
    parameters = COUNTS[spec.net.kind](spec.net, data.preprocessing.shape, data.preprocessing.outputs)
    speed = steps_per_second(train(spec, data), seconds)
    # Forward, and twice that backward: two operations for each weight and row each time.
    gflop = 6 * parameters * 32 / 1e9
    return speed | {"gflop_per_s": gflop * speed["steps_per_s"], "parameters": parameters}


def pack(size: int, seconds: float) -> dict[str, Any]:
    """So many of the article's jobs at once, which differ in alpha."""
    specs, data = members_of("alphas", size, _MOST_EPOCHS)
    last = (event for member, event in train_packed(specs, data) if member == size - 1)
    return steps_per_second(last, seconds, size)


def rows(path: Path, memory_mib: float, seconds: float) -> dict[str, Any]:
    """One hidden layer of 64 on a file that is read into memory, or streamed when it takes more than `memory_mib`."""
    started = time.perf_counter()
    source = open_source(str(path), int(memory_mib * 2**20))
    asked = {"training": {"epochs": _MOST_EPOCHS, "batch_size": ROWS_BATCH, "engine": "eager"}}
    spec = resolve(TrainSpec.model_validate(asked), source.report).spec
    with tempfile.TemporaryDirectory(prefix="softreg-bench-") as scratch:
        data = source.prepare(spec, Path(scratch))
        read_s = time.perf_counter() - started
        speed = steps_per_second(train(spec, data), seconds)
        is_streamed = isinstance(data.train, StreamedPart)
    return speed | {"read_s": read_s, "is_streamed": is_streamed}


def peak_mib() -> float:
    """The largest resident set of this process so far."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return (int(found[1]) if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) / 1024


def main() -> None:
    """Measure one point and print it; `grown_mib` is the peak above what the imports took."""
    seconds, axis, what, *more = sys.argv[1:]
    before = peak_mib()
    limit = float(seconds)
    if axis == "rows":
        found = rows(Path(what), float(more[0]), limit)
    else:
        found = {"width": width, "pack": pack}[axis](int(what), limit)
    reader = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    found |= {"peak_mib": peak_mib(), "grown_mib": peak_mib() - before, "reader_peak_mib": reader}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
