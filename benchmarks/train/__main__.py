"""The article's job by every trainer that a user would pick, side by side.

make bench-train                                  # installs the peers into .venv-bench, then:
python -m benchmarks.train [--rounds 5] [--epochs 40] [--only plain eager ...] [--folder FOLDER]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.report import RESULTS, asked, median, write
from benchmarks.train.compare import ROOT, Failure, compare, first_steps, ratio, rows_of, tolerances
from benchmarks.train.job import make_job
from benchmarks.train.sides import ASKED, SIDES

NOTES = (
    "digits, 1437 x 64 training rows, 360 validation rows, Dense 64 relu, Dense 10, batch 32, Adam 0.001, "
    "the loss of the article's section 4 with alpha 0.01; float32, one thread wherever it can be set.",
    "steps_per_s: optimiser steps of one model, from the second epoch on, validation of each epoch included (the bare "
    "loop has none); medians over rounds, each side in a process of its own, sides in turn. steps_per_cpu_s: the same "
    "by the processor time of all its threads. run_s: the first whole run of a process, from the call to the end of "
    "the last epoch; what is built or compiled counts, imports do not.",
    "Ratios are taken in each round; the median is given.",
    "train_loss and val_accuracy are computed here, in float64, of the last weights that a side hands back. same_loss: "
    "the mean of 8 plain runs +- three deviations, 1 % at least; started one unit in the last place apart where a side "
    "sees the rows in the same order, each in an order of its own where it shuffles by itself.",
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.train")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--only", nargs="+", choices=list(SIDES), default=list(SIDES), metavar="SIDE")
    parser.add_argument("--peers", type=Path, default=ROOT / ".venv-bench", help="environment of the peers")
    parser.add_argument("--folder", type=Path, help="for the result; benchmarks/results when all sides run")
    options = parser.parse_args(arguments)
    if options.epochs < 2:
        parser.error("the first epoch is not timed: two at least")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    job = make_job(options.epochs)
    print(f"{options.epochs} epochs, {options.rounds} rounds of {', '.join(options.only)}", file=sys.stderr, flush=True)
    bounds = tolerances(job)
    torch.set_num_threads(threads)
    readings, failures = compare(options.only, job, options.rounds, options.peers / "bin" / "python")
    rows = rows_of(readings, failures, bounds)
    for line in ASKED:
        quantities = ("runs_per_s", "runs_per_s") if line.is_whole else ("steps_per_s", "steps_per_cpu_s")
        by_wall, by_cpu = (ratio(readings, line.ours, line.theirs, quantity) for quantity in quantities)
        rows.append(asked(line.what, line.wanted, by_wall, "x") | {"by_cpu_time": by_cpu})
    if readings.get("compiled"):
        rows += _first_steps(options.epochs, options.rounds)
    more = f"{options.rounds} rounds of {options.epochs} epochs."
    folder = options.folder or (RESULTS if len(options.only) == len(SIDES) else RESULTS / "partial")
    write("train", rows, command="make bench-train", notes=[*NOTES, more], folder=folder)


def _first_steps(epochs: int, rounds: int) -> list[dict[str, Any]]:
    found = first_steps(epochs, rounds)
    if isinstance(found, Failure):
        raise SystemExit(found.reason)
    return [
        asked(f"first epoch of a compiled job in a warm process, its function {where}", "<= 1.5", median(seconds), "s")
        for where, seconds in zip(("on disk", "in memory"), zip(*found, strict=True), strict=True)
    ]


if __name__ == "__main__":
    main()
