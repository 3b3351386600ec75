"""The service in figures, beside MLflow, Ray Jobs and the same training without a service.

make bench-service                      # installs the peers into .venv-bench-service, then:
python -m benchmarks.service [--rounds 5] [--requests 100] [--only jobs inside mlflow ray] [--folder FOLDER]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.report import RESULTS, asked, write
from benchmarks.service import measure
from benchmarks.service.mlflow_server import Mlflow
from benchmarks.service.ours import Service
from benchmarks.service.ray_jobs import Ray

ROOT = Path(__file__).parents[2]
PARTS = ("jobs", "inside", "mlflow", "ray")
NOTES = (
    "Medians over rounds, our side and the peer's in turn; a ratio is the median of the rounds' ratios, so that what "
    "slows the machine for a while slows both.",
    "Rates: 8 connections that stay open, from a process of its own with nothing but sockets. Our jobs are submitted "
    "for a device that no worker has, so that they wait and training takes nothing from either side; they are "
    "cancelled after each round, which is not timed.",
    "submit to done: a poll every 5 ms (of the long job every 20 ms) until the reply says so. "
    "Pick-up is what the job's own history says, from its "
    "submit to its start, in whole milliseconds.",
    "Transfers: MiB/s over one connection, two files a round; the api's memory is its peak resident size during all of "
    "them over what it held before. An upload is read and checked by a confined child and stored as a table in "
    "PostgreSQL before it is answered; MLflow stores the bytes in a file.",
    "Memory: resident, what processes share divided among them (PSS); ours without PostgreSQL and Valkey, after a job, "
    "at rest.",
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.service")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=100, help="of each of the 8 clients in a round")
    parser.add_argument("--epochs", type=int, default=100, help="of the job that is compared with the same in process")
    parser.add_argument("--mebibytes", type=int, default=128, help="of an upload")
    parser.add_argument("--hidden", type=int, nargs=2, default=(4096, 8192), help="of the model that is downloaded")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--peers", type=Path, default=ROOT / ".venv-bench-service", help="environment of the peers")
    parser.add_argument("--folder", type=Path, help="for the result; benchmarks/results when everything is measured")
    options = parser.parse_args(arguments)
    rows = list(_rows(options))
    folder = options.folder or (RESULTS if len(options.only) == len(PARTS) else RESULTS / "partial")
    rows.sort(key=lambda row: "asked" in row)  # what is asked for stands in one table at the end
    write("service", rows, command="make bench-service", notes=NOTES, folder=folder)


def _rows(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    peer = options.peers.absolute() / "bin" / "python"
    with Service() as ours:
        parts: dict[str, Callable[[], Iterator[dict[str, Any]]]] = {
            "jobs": lambda: measure.jobs(ours, options.rounds),
            "inside": lambda: measure.inside(ours, options.rounds, options.epochs),
            "mlflow": lambda: _beside_mlflow(ours, options, peer),
            "ray": lambda: _beside_ray(ours, options.rounds, peer),
        }
        for part in options.only:
            print(f"{part} ...", file=sys.stderr, flush=True)
            yield from parts[part]()


def _beside_mlflow(ours: Service, options: argparse.Namespace, python: Path) -> Iterator[dict[str, Any]]:
    with Mlflow(python) as peer:
        yield from measure.start_and_memory(ours, "MLflow", peer.start_seconds, peer.processes)
        yield from measure.requests(ours, peer, options.rounds, options.requests)
        yield from measure.transfers(ours, peer, options.rounds, options.mebibytes, tuple(options.hidden))


def _beside_ray(ours: Service, rounds: int, python: Path) -> Iterator[dict[str, Any]]:
    with Ray(python) as peer:
        yield from measure.start_and_memory(ours, "Ray", peer.start_seconds, peer.processes)
        readings = measure.alternate(rounds, lambda: measure.one_epoch(ours), peer.true_seconds)
        yield measure.beside("submit to done: a one-epoch job / `true`", "s", readings, "Ray Jobs")
        what = "submit to done of a one-epoch job over Ray's of `true`, times faster"
        yield asked(what, ">= 5", measure.ratio(readings, is_rate=False), "x")


if __name__ == "__main__":
    main()
