"""Runs every side in rounds, one after the other, each in a process of its own, and compares what they give.

A side's figure is optimiser steps per second of one model from the second epoch on, validation included. Two sides are
compared round by round, and the median of these ratios is reported: what slows the machine for a while slows both.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report import median
from benchmarks.train.harness import Job
from benchmarks.train.job import Outcome, measure
from benchmarks.train.sides import SIDES, Side

__all__ = ["Failure", "Reading", "compare", "first_steps", "ratio", "rows_of", "tolerances"]

ROOT = Path(__file__).parents[2]
_SECONDS = 600.0
# One thread where it can be set; the sides set their own library's too.
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
    "JAX_PLATFORMS": "cpu",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "CUDA_VISIBLE_DEVICES": "",
    "PYTHONPATH": str(ROOT),
}


@dataclass(frozen=True)
class Reading:
    """One process of one side."""

    steps_per_s: float
    """Of one model: a pack of 64 takes 64 a step."""
    steps_per_cpu_s: float
    """The same by the time of all its threads, which other work on the machine hardly changes."""
    runs_per_s: float
    """Whole runs, the first of the process: compiling and building included, imports not."""
    outcome: Outcome
    astray: float | None = None
    """Of a pack: how far the training loss of a member was from that of its single run, relative, at most."""


@dataclass(frozen=True)
class Failure:
    """A side that could not be measured."""

    reason: str


def compare(
    names: Sequence[str], job: Job, rounds: int, peers_python: Path
) -> tuple[dict[str, list[Reading]], dict[str, str]]:
    """Readings of each side, a round after the other; and why a side has none."""
    readings: dict[str, list[Reading]] = {name: [] for name in names}
    failures: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="softreg-bench-") as folder:
        job_path = Path(folder) / "job.npz"
        job.write(job_path)
        for number in range(rounds):
            for name in names:
                if name in failures:
                    continue
                found = _run(SIDES[name], job, job_path, peers_python)
                if isinstance(found, Failure):
                    failures[name] = found.reason
                    readings[name] = []
                    print(f"  {name}: {found.reason}", file=sys.stderr, flush=True)
                else:
                    readings[name].append(found)
                    print(
                        f"  round {number + 1}, {name}: {found.steps_per_s:,.0f} steps/s", file=sys.stderr, flush=True
                    )
    return readings, failures


def first_steps(epochs: int, rounds: int) -> list[tuple[float, float]] | Failure:
    """Seconds to the end of a compiled job's first epoch, the function on disk and in memory; see first_step."""
    command = [sys.executable, "-m", "benchmarks.train.first_step", str(epochs)]
    found = []
    for _ in range(rounds + 1):
        done = _call(command)
        if isinstance(done, Failure):
            return done
        on_disk, in_memory = map(float, done.split())
        found.append((on_disk, in_memory))
    return found[1:]  # the first fills the cache


def _call(command: Sequence[str]) -> str | Failure:
    """What it prints."""
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=os.environ | _ENVIRONMENT,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Failure(f"not done after {_SECONDS:.0f} s")
    if done.returncode:
        return Failure(_last_word(done.stderr) or f"exit code {done.returncode}")
    return done.stdout


def _run(side: Side, job: Job, job_path: Path, peers_python: Path) -> Reading | Failure:
    python = str(peers_python) if side.is_peer else sys.executable
    if side.is_peer and not peers_python.exists():
        return Failure("its environment is not installed: make bench-train does it")
    result = job_path.with_name("result.npz")
    done = _call([python, "-m", *side.module, str(job_path), str(result), str(side.repeats)])
    if isinstance(done, Failure):
        return done
    with np.load(result, allow_pickle=False) as arrays:
        wall, cpu = np.median(arrays["seconds"], axis=0)
        steps = job.steps_per_epoch * int(arrays["models"])
        weights = (arrays["hidden"], arrays["hidden_bias"], arrays["output"], arrays["output_bias"])
        astray = None
        if "packed_and_single" in arrays:
            packed, single = arrays["packed_and_single"].T
            astray = float(np.abs(packed / single - 1.0).max())
        runs = float(arrays["models"] / arrays["whole_s"])
        return Reading(float(steps / wall), float(steps / cpu), runs, measure(job, weights), astray)


def _last_word(errors: str) -> str:
    """The line that names the error; what pydantic says of it is indented below."""
    lines = [line for line in errors.splitlines() if line.strip() and not line.startswith(" ")]
    return lines[-1][:200] if lines else ""


def ratio(
    readings: Mapping[str, Sequence[Reading]], ours: str, theirs: str, quantity: str = "steps_per_s"
) -> float | None:
    """The median over rounds of how many times faster; None where a side was not measured."""
    pairs = list(zip(readings.get(ours, ()), readings.get(theirs, ()), strict=False))
    if not pairs:
        return None
    return median(getattr(our, quantity) / getattr(their, quantity) for our, their in pairs)


def tolerances(job: Job, runs: int = 8) -> dict[bool, tuple[float, float]]:
    """Mean and tolerance of the final training loss: by plain runs, not by hand.

    By whether the order is the same. The same order: runs whose initial weights were moved by one unit in the last
    place. Another order: runs with other permutations. The tolerance is three deviations, and 1 % at least.
    """
    from benchmarks.train.harness import Clock
    from benchmarks.train.peers.plain import train

    generator = np.random.default_rng(0)
    found = {}
    for has_same_order in (True, False):
        losses = []
        for _ in range(runs):
            changed = _moved(job, generator) if has_same_order else _reordered(job, generator)
            losses.append(measure(job, train(changed, Clock())).train_loss)
        mean = statistics.fmean(losses)
        found[has_same_order] = (mean, max(0.01 * mean, 3.0 * statistics.stdev(losses)))
    return found


def _moved(job: Job, generator: np.random.Generator) -> Job:
    def moved(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        toward = np.where(generator.random(array.shape) < 0.5, -np.inf, np.inf).astype(array.dtype)
        there: np.ndarray[Any, Any] = np.nextafter(array, toward)
        return there

    return Job(
        **{
            **vars(job),
            "hidden": moved(job.hidden),
            "output": moved(job.output),
        }
    )


def _reordered(job: Job, generator: np.random.Generator) -> Job:
    return Job(**{**vars(job), "order": generator.permuted(job.order, axis=1)})


def rows_of(
    readings: Mapping[str, Sequence[Reading]], failures: Mapping[str, str], bounds: Mapping[bool, tuple[float, float]]
) -> list[dict[str, Any]]:
    """A row for each side."""
    rows = []
    for name, found in readings.items():
        side = SIDES[name]
        if not found:
            rows.append(dict.fromkeys(_COLUMNS) | {"side": side.title, "same_loss": failures.get(name, "not measured")})
            continue
        speeds = [reading.steps_per_s for reading in found]
        loss = median(reading.outcome.train_loss for reading in found)
        rows.append(
            {
                "side": side.title,
                "steps_per_s": median(speeds),
                "lowest": min(speeds),
                "highest": max(speeds),
                "steps_per_cpu_s": median(reading.steps_per_cpu_s for reading in found),
                "run_s": median(1.0 / reading.runs_per_s for reading in found),
                "train_loss": loss,
                "val_accuracy": median(reading.outcome.validation_accuracy for reading in found),
                "same_loss": _verdict(found, loss, bounds[side.has_same_order]),
            }
        )
    return rows


def _verdict(found: Sequence[Reading], loss: float, bounds: tuple[float, float]) -> str:
    mean, tolerance = bounds
    astray = [reading.astray for reading in found if reading.astray is not None]
    if astray:
        worst, allowed = max(astray), tolerance / mean
        return (
            f"{'yes' if worst <= allowed else 'NO'}: members within {worst:.2%} of single runs, {allowed:.2%} allowed"
        )
    return f"{'yes' if abs(loss - mean) <= tolerance else 'NO'}: {mean:.4f} +- {tolerance:.4f}"


_COLUMNS = (
    "side",
    "steps_per_s",
    "lowest",
    "highest",
    "steps_per_cpu_s",
    "run_s",
    "train_loss",
    "val_accuracy",
    "same_loss",
)
