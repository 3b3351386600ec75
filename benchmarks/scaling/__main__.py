"""Steps per second and peak memory over rows, width and pack size: a plot, a table and the fitted growth of each.

make bench-scaling
python -m benchmarks.scaling [--only rows width pack] [--most N] [--seconds 1.5] [--folder FOLDER]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from benchmarks.report import RESULTS, write
from benchmarks.scaling.growth import growth
from benchmarks.scaling.plot import plot

ROOT = Path(__file__).parents[2]
SIZES = {
    "rows": (1_000, 10_000, 100_000, 1_000_000, 10_000_000),
    "width": (64, 128, 256, 512, 1024, 2048, 4096),
    "pack": (1, 2, 4, 8, 16, 32, 64, 128, 256),
}
MEMORY_MIB = 256
"""A file that would take more is streamed: the largest one here."""
FEATURES = 10
_ROWS_PER_GROUP = 1_000_000
_SECONDS = 300.0
# A second thread from some size on would put a step into the curve; and two that wait for each other on cores that
# others use as well take many times as long.
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

NOTES = {
    "rows": (
        f"{FEATURES} float32 columns and a class in a Parquet file; one hidden layer of 64, batch 256, eager; a file "
        f"of more than {MEMORY_MIB} MiB of cells is streamed from disk. read_s: until training can begin, from reading "
        "and learning the scaling to dealing out pieces.",
        "reader_peak_mib: of the confined child that reads a file into memory.",
    ),
    "width": (
        "digits, two hidden layers of the width, batch 32, Adam, the article's loss, eager. "
        "gflop_per_s: 6 x parameters x batch x steps per second.",
    ),
    "pack": (
        "The article's job with so many alphas at once, eager; steps of one model: a pack of 64 takes 64 at a time.",
    ),
}
ALWAYS = (
    "Each point is a process of its own with one thread; peak_mib is its VmHWM, grown_mib what of it came after the "
    "imports, some 90 MiB of which any job takes. Steps per second are of whole epochs, validation included: the "
    "median after the first, or the first where it is long.",
    "Growth is fitted over the longest range in which no point is farther than a fifth from a line in log-log axes.",
)


def make_rows(path: Path, count: int) -> None:
    """Ten classes around ten centres, a million rows at a time."""
    generator = np.random.default_rng(0)
    centers = generator.normal(size=(10, FEATURES)).astype(np.float32)
    schema = pa.schema([*((f"x{index}", pa.float32()) for index in range(FEATURES)), ("target", pa.int64())])
    with parquet.ParquetWriter(path, schema, compression="none", use_dictionary=False) as file:
        for start in range(0, count, _ROWS_PER_GROUP):
            part = min(_ROWS_PER_GROUP, count - start)
            label = generator.integers(0, 10, part)
            values = centers[label] + 2.0 * generator.standard_normal((part, FEATURES), dtype=np.float32)
            columns = [pa.array(np.ascontiguousarray(column)) for column in values.T]
            file.write_table(pa.table([*columns, pa.array(label)], schema=schema))


def child(*arguments: str) -> dict[str, Any]:
    """One point."""
    command = [sys.executable, "-m", "benchmarks.scaling.point", *arguments]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | _ONE_THREAD, capture_output=True, text=True, timeout=_SECONDS, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)}: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure_rows(count: int, seconds: float) -> dict[str, Any]:
    """A file is written, measured and removed."""
    with tempfile.TemporaryDirectory(prefix="softreg-bench-") as folder:
        path = Path(folder) / "rows.parquet"
        make_rows(path, count)
        return child(str(seconds), "rows", str(path), str(MEMORY_MIB))


MEASURES: dict[str, Callable[[int, float], dict[str, Any]]] = {
    "rows": measure_rows,
    "pack": lambda size, seconds: child(str(seconds), "pack", str(size)),
    "width": lambda size, seconds: child(str(seconds), "width", str(size)),
}


def curve(axis: str, sizes: Sequence[int], folder: Path, seconds: float) -> None:
    """Measure one curve, and write its table and its plot."""
    rows = []
    for size in sizes:
        rows.append({axis: size} | MEASURES[axis](size, seconds))
        print(f"  {axis} {size:,}: {rows[-1]['steps_per_s']:,.0f} steps/s", file=sys.stderr, flush=True)
    fitted = {}
    for quantity in ("steps_per_s", "grown_mib", "read_s"):
        if quantity in rows[0]:
            # Streamed points follow another law than those in memory, and there are too few of them for a line.
            points = [row for row in rows if not row.get("is_streamed") and row[quantity] > 0]
            fitted[quantity] = growth([row[axis] for row in points], [row[quantity] for row in points])
    lines = [
        {
            "quantity": quantity,
            "growth": str(found).replace("x", axis) if found else "no range is a line",
            "exponent": found.slope if found else None,
            "from": found.start if found else None,
            "to": found.end if found else None,
        }
        for quantity, found in fitted.items()
    ]
    name = f"scaling-{axis}"
    write(
        name,
        [*rows, *lines],
        command=f"make bench-scaling OPTIONS='--only {axis}'",
        notes=[*NOTES[axis], *ALWAYS],
        folder=folder,
    )
    plot(folder / f"{name}.svg", axis, rows, fitted)


def main(arguments: Sequence[str] | None = None) -> None:
    """All curves, or some of them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling")
    parser.add_argument("--only", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--most", type=int, default=max(map(max, SIZES.values())), help="leave out larger sizes")
    parser.add_argument("--seconds", type=float, default=1.5, help="of training at each point after its first epoch")
    parser.add_argument("--folder", type=Path, help="for the results; benchmarks/results when no size is left out")
    options = parser.parse_args(arguments)
    for axis in options.only:
        sizes = [size for size in SIZES[axis] if size <= options.most]
        folder = options.folder or (RESULTS if len(sizes) == len(SIZES[axis]) else RESULTS / "partial")
        curve(axis, sizes, folder, options.seconds)


if __name__ == "__main__":
    main()
