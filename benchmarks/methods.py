"""Where each divergence helped and where it did not, on four small tasks; written into the method cards.

    make bench-methods        # about ten minutes on two cores
    make bench-methods SEEDS=2

Each task has 200 training and 200 validation rows (diabetes 155), and clean test rows that no alpha is chosen by. The
design itself was changed once after a first look at test figures: four rows of `article` with 200 epochs, 8 seeds and
heavier noise on the targets of diabetes, under which the base alone had an R2 of -122. For every seed
(split, noise, initial weights and order) each method is trained at each of its alphas; the alpha with the best
validation metric is taken, and its test metric is compared with that of the base alone in the same seed. What stands in
the cards is the mean of these differences and its 95 % interval (Student t over seeds).
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import json
import math
import os
import statistics
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats

from softreg_core.data.sample import load_sample
from softreg_core.data.table import Table
from softreg_core.data.tabular import Part, PreparedData, prepare
from softreg_core.engine import fit
from softreg_core.spec import TrainSpec, resolve

PLACE = Path(__file__).parents[1] / "docs" / "methods" / "measured.json"
ROWS = 200
EPOCHS = 100
TASKS = {
    "digits": "digits, clean",
    "digits_noisy": "digits, 30 % of the labels redrawn",
    "diabetes": "diabetes, clean",
    "diabetes_noisy": "diabetes, 30 % of the targets with heavy-tailed noise",
}
SQUARED = {"kind": "half_squared_error"}
ENTROPY = {"kind": "cross_entropy"}
GRID = (0.1, 0.5, 2.0)
SMALL = (0.01, 0.1, 0.5)


@dataclasses.dataclass(frozen=True)
class Method:
    """A divergence with its base, the alphas that are tried, and what else of the spec it needs."""

    base: dict[str, Any]
    divergence: dict[str, Any]
    alphas: tuple[float, ...]
    tasks: tuple[str, ...] = tuple(TASKS)
    net: dict[str, Any] = dataclasses.field(default_factory=dict)


OF_CLASSES = ("digits", "digits_noisy")
METHODS = {
    "article": Method(SQUARED, {"kind": "article"}, (0.01, 1.0, 2.6, 3.6)),
    "inflation": Method(SQUARED, {"kind": "inflation"}, (0.5, 2.0, 8.0)),
    "sample_program": Method(SQUARED, {"kind": "sample_program"}, SMALL),
    "gaussian": Method(SQUARED, {"kind": "gaussian"}, GRID),
    "cauchy": Method(SQUARED, {"kind": "cauchy"}, GRID),
    "geman_mcclure": Method(SQUARED, {"kind": "geman_mcclure"}, (0.5, 2.0, 8.0)),
    "welsch": Method(SQUARED, {"kind": "welsch"}, (0.5, 2.0, 8.0)),
    "categorical": Method(ENTROPY, {"kind": "categorical"}, GRID, OF_CLASSES),
    "uniform": Method(ENTROPY, {"kind": "uniform"}, GRID, OF_CLASSES),
    "teacher": Method(ENTROPY, {"kind": "teacher", "source": {"kind": "ema"}}, GRID, OF_CLASSES),
    "twin": Method(ENTROPY, {"kind": "twin"}, GRID, OF_CLASSES, {"dropout": 0.2}),
}
# What a practitioner would try instead, in the same way: the base with a penalty, or with dropout.
RIVALS: dict[str, tuple[float, ...]] = {"l2": (0.001, 0.01, 0.03), "dropout": (0.2, 0.5)}
METHODS |= {name: Method(SQUARED, {}, settings) for name, settings in RIVALS.items()}


@functools.cache
def table_of(task: str) -> Table:
    """The sample behind a task."""
    return load_sample(task.removesuffix("_noisy"))


def spec_of(task: str, method: Method, alpha: float | None, seed: int) -> TrainSpec:
    """A run of 200 rows; without alpha (or what stands in its place for a rival) the base alone."""
    rows = table_of(task).report.rows
    loss: dict[str, Any] = {"base": method.base, "divergence": None}
    net, penalties = {"hidden": [64], **method.net}, {}
    if alpha is not None and method.divergence:
        loss |= {"divergence": method.divergence, "alpha": alpha}
    elif alpha is not None and method is METHODS["l2"]:
        penalties = {"l2": alpha}
    elif alpha is not None:
        net["dropout"] = alpha
    share = ROWS / rows if rows > 2 * ROWS else 0.35
    return TrainSpec.model_validate(
        {
            "loss": loss,
            "net": net,
            "penalties": penalties,
            "split": {"train": share, "validation": share, "test": 1.0 - 2.0 * share, "seed": seed},
            "training": {"epochs": EPOCHS, "seed": seed, "gradient_terms": "none"},
            "checkpoints": {"keep_best": False},
        }
    )


def noisy(part: Part, seed: int, classes: int) -> Part:
    """Labels redrawn, or targets hit by heavy-tailed noise, for three rows in ten."""
    generator = np.random.default_rng(seed)
    target = part.target.numpy().copy()
    hit = generator.random(part.rows) < 0.3
    if classes:
        target[hit] = generator.integers(0, classes, int(hit.sum()))
    else:
        target[hit] += 3.0 * generator.standard_t(3.0, (int(hit.sum()), target.shape[1])).astype(np.float32)
    return dataclasses.replace(part, target=torch.from_numpy(target))


def run(task: str, method: Method, alpha: float | None, seed: int) -> tuple[float, float]:
    """Validation and test metric: accuracy, or R2."""
    torch.set_num_threads(1)
    table = table_of(task)
    spec = resolve(spec_of(task, method, alpha, seed), table.report).spec
    data = prepare(spec, table)
    if task.endswith("_noisy"):
        classes = len(data.preprocessing.labels or ())
        data = PreparedData(
            noisy(data.train, seed, classes),
            noisy(data.validation, seed + 1000, classes),
            data.test,
            data.preprocessing,
        )
    metrics = fit(spec, data).metrics
    name = "accuracy" if "test.accuracy" in metrics else "r2"
    return metrics[f"val.{name}"], metrics[f"test.{name}"]


@functools.cache
def base_alone(task: str, which: str, seed: int) -> float:
    """Test metric without a divergence: of a base, or of a method whose net is its own."""
    method = METHODS[which] if which in METHODS else Method({"kind": which}, {}, ())
    return run(task, method, None, seed)[1]


def measured(task: str, name: str, seeds: int) -> dict[str, Any]:
    """One method on one task: the gain over its base alone, and the alphas that were taken."""
    method = METHODS[name]
    base, gained, chosen = [], [], []
    for seed in range(seeds):
        alone = base_alone(task, name if method.net else method.base["kind"], seed)
        tried = {alpha: run(task, method, alpha, seed) for alpha in method.alphas}
        best = max(tried, key=lambda alpha: tried[alpha][0])
        base.append(alone)
        gained.append(tried[best][1] - alone)
        chosen.append(best)
    half = stats.t.ppf(0.975, seeds - 1) * statistics.stdev(gained) / math.sqrt(seeds) if seeds > 1 else math.nan
    return {
        "task": task,
        "method": name,
        "base": method.base["kind"],
        "metric": "accuracy" if task in OF_CLASSES else "R2",
        "base_alone": statistics.fmean(base),
        "gain": statistics.fmean(gained),
        "half_interval": half,
        "alphas_tried": list(method.alphas),
        "alpha_median": statistics.median(chosen),
        "seeds": seeds,
    }


def main() -> None:
    """Run everything, two processes at a time, and write the file that the cards are made from."""
    seeds = int(os.environ.get("SEEDS", "6"))
    only = sys.argv[1:] or list(METHODS)
    pairs = [(task, name) for name in only for task in METHODS[name].tasks]
    with concurrent.futures.ProcessPoolExecutor(2) as pool:
        futures = [pool.submit(measured, task, name, seeds) for task, name in pairs]
        rows = []
        for future in futures:
            row = future.result()
            rows.append(row)
            print(
                f"{row['method']:<16}{row['task']:<16}{row['base_alone']:8.4f} {row['gain']:+8.4f} "
                f"+- {row['half_interval']:.4f}  alpha {row['alpha_median']:g}",
                flush=True,
            )
    known = json.loads(PLACE.read_text())["rows"] if PLACE.exists() else []
    kept = [row for row in known if row["method"] not in only]
    facts = {
        "date": datetime.now(UTC).date().isoformat(),
        "command": "make bench-methods",
        "tasks": TASKS,
        "epochs": EPOCHS,
    }
    PLACE.write_text(json.dumps({**facts, "rows": kept + rows}, indent=1, allow_nan=False) + "\n")


if __name__ == "__main__":
    main()
