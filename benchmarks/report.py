"""What a benchmark leaves behind: a JSON file with the machine it ran on, and the same as a Markdown table.

    from benchmarks.report import write
    write("train", rows, command="make bench-train", notes=["medians of 5 rounds"])

Writes benchmarks/results/train.json and train.md, and prints the table. A row is a mapping from column to value; rows
that follow each other and have the same columns make a table.
"""

from __future__ import annotations

import json
import os
import platform
import re
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from itertools import groupby
from pathlib import Path
from typing import Any

__all__ = ["RESULTS", "asked", "machine", "median", "table", "write"]

RESULTS = Path(__file__).parent / "results"
Row = Mapping[str, Any]
# When the benchmark began: at its end the load is its own.
_LOAD_AT_START = os.getloadavg()
_DIGITS = 4


def machine() -> dict[str, Any]:
    """Processor, cores, memory, system, Python and torch; the load before the benchmark began, and the date."""
    found = {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "cores_usable": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": _version("torch"),
        "load_before": [round(load, 2) for load in _LOAD_AT_START],
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    torch = sys.modules.get("torch")  # only where the benchmark uses it: this module is for services too
    if torch is not None and torch.cuda.is_available():
        found["accelerator"] = torch.cuda.get_device_name()
    return found


def write(
    name: str, rows: Iterable[Row], *, command: str, notes: Sequence[str] = (), folder: Path = RESULTS
) -> dict[str, Any]:
    """Write `name`.json and `name`.md, and print the latter.

    Args:
        name: of the benchmark; its files are called so.
        rows: what was measured; units are in the columns' names, numbers are written as they are.
        command: that gives these figures again.
        notes: sentences on how to read them.
        folder: where to; the committed results when not given.

    Returns:
        What the JSON file holds.
    """
    found: dict[str, Any] = {
        "name": name,
        "command": command,
        "machine": machine(),
        "notes": list(notes),
        "rows": [dict(row) for row in rows],
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    text = _page(found)
    (folder / f"{name}.md").write_text(text, encoding="utf-8")
    print(text)
    return found


def asked(what: str, wanted: str, reached: float | None, unit: str = "") -> dict[str, Any]:
    """A row that says whether a bound is kept.

    Args:
        what: is measured.
        wanted: the bound, such as `>= 5` or `<= 1.15`.
        reached: the figure; None where it could not be measured.
        unit: of both.
    """
    sign, _, bound = wanted.partition(" ")
    is_kept = None
    if reached is not None:
        is_kept = reached >= float(bound) if sign == ">=" else reached <= float(bound)
    word = {None: "not measured", True: "yes", False: "NO"}[is_kept]
    return {"what": what, "asked": f"{wanted} {unit}".rstrip(), "reached": reached, "kept": word}


def median(values: Iterable[float]) -> float:
    """The middle one, or the mean of the two."""
    return float(statistics.median(values))


def table(rows: Iterable[Row]) -> str:
    """Markdown; a table for each run of rows with the same columns."""
    tables = []
    for columns, group in groupby(rows, key=tuple):
        lines = [_line(columns), _line(["---"] * len(columns))]
        lines += [_line([_cell(row[column]) for column in columns]) for row in group]
        tables.append("\n".join(lines))
    return "\n\n".join(tables)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.{_DIGITS}g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(_cell(part) for part in value)
    return str(value).replace("|", "\\|")


def _page(found: Mapping[str, Any]) -> str:
    what = found["machine"]
    load = " ".join(f"{value:.2f}" for value in what["load_before"])
    parts = [
        f"# {found['name']}",
        f"`{found['command']}`, {what['date'][:10]}: {what['processor']}, {what['cores_usable']} cores, "
        f"{what['memory_gib']} GiB, {what['system']}, Python {what['python']}, torch {what['torch']}"
        + (f", {what['accelerator']}" if "accelerator" in what else "")
        + f"; load before it began {load}.",
        table(found["rows"]),
    ]
    if found["notes"]:
        parts.append("\n".join(f"- {note}" for note in found["notes"]))
    return "\n\n".join(parts) + "\n"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = re.findall(r"^model name\s*:\s*(.+)$", info.read_text(encoding="utf-8"), re.MULTILINE)
        if names:
            return str(names[0])
    return platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
