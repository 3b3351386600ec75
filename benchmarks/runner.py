"""What a job spends in a warm runner, phase by phase; and what two runners on one machine get done together.

    make bench-runner
    OPENBLAS_NUM_THREADS=1 python -m benchmarks.runner [--rounds 15] [--pairs 5] [--folder benchmarks/results]

Phases are processor time of one thread, each job once with datasets kept from the job before and once without, in turn.
Runners side by side are wall-clock: jobs by real runner processes, as a worker starts them, without queue and database.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from benchmarks.report import RESULTS, asked, median, write
from softreg_core.data.parse import parse_sample
from softreg_core.data.table import Table, load_table
from softreg_core.engine import CheckpointDue, EpochEnded, Finished, save_state, train
from softreg_core.evaluate import report as _report  # noqa: F401  a warm runner has it
from softreg_core.export import DataDocument, save_model
from softreg_core.spec import TrainSpec, resolve
from softreg_jobs.settings import Settings
from worker.machine import threads_of_runner, usable_cores
from worker.protocol import FileRef, RunRequest, file_ref, sha256_of_file
from worker.resident import ResidentData
from worker.warm import WarmRunner

ONE_EPOCH = {"training": {"epochs": 1}}
JOBS: dict[str, dict[str, Any]] = {
    "article": ONE_EPOCH,
    "cnn": ONE_EPOCH | {"net": {"kind": "cnn"}, "task": {"input": {"kind": "image"}}},
    "resnet-20": ONE_EPOCH | {"net": {"kind": "resnet"}, "task": {"input": {"kind": "image"}}},
}
SMALL = {"training": {"epochs": 60}, "checkpoints": {"every_epochs": 1000}}
LARGE = {
    "net": {"hidden": [2048, 2048]},
    "training": {"epochs": 8, "batch_size": 256},
    "checkpoints": {"every_epochs": 1000},
}
_PLENTY = 2**31
_SECONDS = 600.0


class Clock:
    """Milliseconds of processor time by phase."""

    def __init__(self) -> None:
        self.found: dict[str, list[float]] = defaultdict(list)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """What is done inside."""
        began = time.process_time()
        yield
        self.found[name].append(1e3 * (time.process_time() - began))


def loaded(ref: FileRef) -> Table:
    """As the runner does it."""
    assert sha256_of_file(Path(ref.path)) == ref.sha256
    return load_table(Path(ref.path))


def one_job(raw: dict[str, Any], dataset: FileRef, resident: ResidentData, directory: Path, clock: Clock) -> None:
    """What worker.runner does for a job, phase by phase."""
    with clock.phase("spec"):
        spec = TrainSpec.model_validate(raw)
    with clock.phase("data: digest, read, prepare"):
        ready = resident.ready(dataset, spec)
    with clock.phase("build net, loss and optimiser"):
        events = train(spec, ready.data)
        next(events)
    while True:
        began = time.process_time()
        event = next(events)
        seconds = time.process_time() - began
        if isinstance(event, EpochEnded):
            clock.found["the epoch"].append(1e3 * seconds)
        elif isinstance(event, CheckpointDue):
            with clock.phase("checkpoint: write, digest"):
                save_state(event.state, directory / "state")
                file_ref(directory / "state")
        elif isinstance(event, Finished):
            clock.found["report on all rows"].append(1e3 * seconds)
            break
    with clock.phase("model: write, digest"):
        data = DataDocument(sha256=dataset.sha256, rows=ready.rows)
        save_model(event.model, directory, event.metrics, event.report, data=data)
        for name in ("model.safetensors", "model.json"):
            file_ref(directory / name)


def phases(folder: Path, dataset: FileRef, rounds: int) -> Iterator[dict[str, Any]]:
    """A row for each job and phase."""
    for name, document in JOBS.items():
        raw = resolve(TrainSpec.model_validate(document), load_table(Path(dataset.path)).report).spec
        clocks = {"kept": Clock(), "anew": Clock()}
        kept = {"kept": ResidentData(_PLENTY, loaded), "anew": ResidentData(0, loaded)}
        for number in range(rounds + 1):
            for which, clock in clocks.items():
                with tempfile.TemporaryDirectory(dir=folder) as directory:
                    # The first of each warms up.
                    one_job(
                        raw.model_dump(mode="json"),
                        dataset,
                        kept[which],
                        Path(directory),
                        clock if number else Clock(),
                    )
        for phase in clocks["anew"].found:
            medians = {which: round(median(clock.found[phase]), 3) for which, clock in clocks.items()}
            yield {"job": name, "phase": phase, "ms, data kept": medians["kept"], "ms, data anew": medians["anew"]}


def steps_per_second(runners: Sequence[WarmRunner], request: RunRequest, folder: Path) -> float:
    """Of all runners together, from the first job's hand-over to the last one's end; each runs the job once."""
    began, left, steps = time.perf_counter(), list(runners), 0
    for runner in runners:
        directory = tempfile.mkdtemp(dir=folder)
        runner.run(RunRequest(directory, "cpu", request.spec, request.dataset))
    while left:
        for runner in list(left):
            message = runner.receive(0.01)
            if message is not None and message["type"] == "failed":
                raise RuntimeError(str(message))
            if message is not None and message["type"] == "finished":
                steps += message["step"]
                left.remove(runner)
    return steps / (time.perf_counter() - began)


def side_by_side(folder: Path, dataset: FileRef, pairs: int) -> Iterator[dict[str, Any]]:
    """One runner alone, two that share the cores, and two of which each takes all cores."""
    alone = {"database_url": "postgresql:///unused", "redis_url": "unix:///unused", "spool_dir": folder}
    apart = Settings.model_validate(alone | {"workers_here": 2})
    whole = Settings.model_validate(alone)
    sites = {"one runner": (whole, 1), "two, sharing the cores": (apart, 2), "two, all cores each": (whole, 2)}
    runners = {name: [WarmRunner(settings, folder) for _ in range(count)] for name, (settings, count) in sites.items()}
    try:
        for runner in chain(*runners.values()):
            runner.start()
            runner.is_ready(_SECONDS, lambda: False)
        for job, document in {"small: the article's": SMALL, "large: 64-2048-2048-10, batch 256": LARGE}.items():
            raw = resolve(TrainSpec.model_validate(document), load_table(Path(dataset.path)).report).spec
            request = RunRequest("", "cpu", raw.model_dump(mode="json"), dataset)
            rates: dict[str, list[float]] = defaultdict(list)
            for number in range(pairs + 1):
                for name, some in runners.items():
                    rate = steps_per_second(some, request, folder)
                    if number:
                        rates[name].append(rate)
            for name, (settings, _count) in sites.items():
                threads = threads_of_runner(settings, usable_cores())
                yield {
                    "job": job,
                    "runners": name,
                    "most threads each": threads,
                    "steps/s together": round(median(rates[name]), 1),
                    "of one alone": round(median(rates[name]) / median(rates["one runner"]), 3),
                }
    finally:
        for runner in chain(*runners.values()):
            runner.end(grace_seconds=1.0)


def main() -> None:
    """Measure and write."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=15)
    arguments.add_argument("--pairs", type=int, default=5)
    arguments.add_argument("--folder", type=Path, default=RESULTS)
    given = arguments.parse_args()
    os.environ.pop("OMP_NUM_THREADS", None)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        parse_sample("digits", folder / "digits")
        dataset = file_ref(folder / "digits")
        rows = list(phases(folder, dataset, given.rounds))
        together = list(side_by_side(folder, dataset, given.pairs))
    of = {(row["job"], row["phase"]): row["ms, data kept"] for row in rows}
    shared = {row["job"]: row["of one alone"] for row in together if row["runners"] == "two, sharing the cores"}
    rows += together
    rows.append(asked("building the article's job", "<= 2", of["article", "build net, loss and optimiser"], "ms"))
    rows += [asked(f"two runners that share the cores over one alone, {job}", ">= 1", shared[job]) for job in shared]
    write(
        "runner",
        rows,
        command="make bench-runner",
        notes=[
            "phases: processor time, medians; the job is sample:digits for one epoch",
            "a warm runner would reuse the last job's network if building one took longer than was asked",
            "side by side: wall-clock, medians; on fewer than two free cores it says nothing",
        ],
        folder=given.folder,
    )


if __name__ == "__main__":
    main()
