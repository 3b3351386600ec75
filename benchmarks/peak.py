"""What this machine can do at most, and what that leaves for a step of the article's job: its floors.

    make bench-peak
    python -m benchmarks.peak [--trials 15] [--seconds 0.3] [--folder benchmarks/results]

GEMM by torch's own library, at the sizes of the job and at large ones; memory bandwidth; what torch takes to call one
operation that has nothing to do. The best of many short trials: a peak is what is possible, not what is usual.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.report import RESULTS, write

BATCH, FEATURES, HIDDEN, CLASSES, MEMBERS = 32, 64, 64, 10, 64
_STREAM_NUMBERS = 2**25
_CACHE_NUMBERS = 2**15
_FLOAT_BYTES = 4


@dataclass(frozen=True)
class Effort:
    """What is spent on each figure."""

    trials: int
    seconds: float


def best_seconds(work: Callable[[], object], effort: Effort) -> float:
    """The shortest mean of one call, over trials that take about `effort.seconds` together."""
    work()
    started = time.perf_counter()
    work()
    calls = max(1, int(effort.seconds / effort.trials / max(time.perf_counter() - started, 1e-7)))
    found = []
    for _ in range(effort.trials):
        started = time.perf_counter()
        for _ in range(calls):
            work()
        found.append((time.perf_counter() - started) / calls)
    return min(found)


def gemm(rows: int, inner: int, columns: int, members: int, effort: Effort) -> float:
    """GFLOP/s of (rows, inner) @ (inner, columns), of `members` such in one call."""
    left, right = torch.randn(members, rows, inner), torch.randn(members, inner, columns)
    out = torch.empty(members, rows, columns)
    if members == 1:
        left, right, out = left[0], right[0], out[0]
    multiply = torch.mm if members == 1 else torch.bmm
    taken = best_seconds(lambda: multiply(left, right, out=out), effort)
    return 2 * members * rows * inner * columns / taken / 1e9


def bandwidth(numbers: int, effort: Effort) -> float:
    """GB/s of a = b + 2 c: two arrays read and one written."""
    first, second, out = torch.ones(numbers), torch.ones(numbers), torch.empty(numbers)
    taken = best_seconds(lambda: torch.add(first, second, alpha=2.0, out=out), effort)
    return 3 * numbers * _FLOAT_BYTES / taken / 1e9


def peaks(effort: Effort) -> list[dict[str, Any]]:
    """A row for each figure, with one thread and with all."""
    sizes = {
        "GEMM of the job's hidden layer": (BATCH, FEATURES, HIDDEN, 1),
        "hidden layers of 64 models in one call": (BATCH, FEATURES, HIDDEN, MEMBERS),
        "GEMM of the job's output layer": (BATCH, HIDDEN, CLASSES, 1),
        "output layers of 64 models in one call": (BATCH, HIDDEN, CLASSES, MEMBERS),
        "GEMM of a layer of 1024, batch 32": (BATCH, 1024, 1024, 1),
        "GEMM of a layer of 4096, batch 32": (BATCH, 4096, 4096, 1),
        "GEMM 1024 x 1024 x 1024": (1024, 1024, 1024, 1),
    }
    rows = []
    for threads in sorted({1, torch.get_num_threads()}):
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        for name, size in sizes.items():
            rows.append(_row(name, size[:3], threads, gemm(*size, effort), "GFLOP/s"))
        rows.append(_row("stream, arrays of 128 MiB", "", threads, bandwidth(_STREAM_NUMBERS, effort), "GB/s"))
        rows.append(_row("stream, arrays of 128 KiB", "", threads, bandwidth(_CACHE_NUMBERS, effort), "GB/s"))
        torch.set_num_threads(before)
    torch.set_num_threads(1)
    one, out = torch.ones(1), torch.empty(1)
    rows.append(_row("an operation on one number", "", 1, best_seconds(lambda: one + one, effort) * 1e6, "us"))
    into = best_seconds(lambda: torch.add(one, one, out=out), effort) * 1e6
    rows.append(_row("the same, into a given tensor", "", 1, into, "us"))
    leaf = torch.ones(1, requires_grad=True)
    rows.append(_row("the same, recorded by autograd", "", 1, best_seconds(lambda: leaf + one, effort) * 1e6, "us"))
    torch.set_num_threads(before)
    return rows


def _row(what: str, size: object, threads: int, value: float, unit: str) -> dict[str, Any]:
    return {"what": what, "size": size, "threads": threads, "reached": value, "unit": unit}


class Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """How many operations reach a kernel."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count and go on."""
        self.calls += 1
        return function(*args, **(kwargs or {}))


def operations_of_a_step() -> int:
    """Of the bare loop: forward, the article's loss, backward and fused Adam."""
    from benchmarks.train.peers.plain import soft_loss

    net = nn.Sequential(nn.Linear(FEATURES, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, CLASSES))
    optimizer = torch.optim.Adam(net.parameters(), fused=True)
    x, y = torch.randn(BATCH, FEATURES), torch.zeros(BATCH, CLASSES)

    def step() -> None:
        loss: Tensor = soft_loss(net(x), y)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()

    step()
    counter = Counter()
    with counter:
        step()
    return counter.calls


def floors(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Least microseconds of one step of one model, by what bounds it; one thread."""

    def of(what: str) -> float:
        return float(next(row["reached"] for row in rows if row["what"] == what and row["threads"] == 1))

    weights = FEATURES * HIDDEN + HIDDEN * CLASSES
    parameters = weights + HIDDEN + CLASSES
    # Forward, and the gradients of weights and of the hidden layer: the first layer's input needs none.
    hidden_flop = 2 * 2 * BATCH * FEATURES * HIDDEN
    output_flop = 3 * 2 * BATCH * HIDDEN * CLASSES
    hidden_rate, output_rate = (of(f"{layer} layers of 64 models in one call") for layer in ("hidden", "output"))
    arithmetic = hidden_flop / hidden_rate / 1e3 + output_flop / output_rate / 1e3
    # Adam reads parameter, gradient and both moments and writes three of them; products read the weights twice and
    # write the gradient. All of it stays in the cache.
    step_bytes = _FLOAT_BYTES * (7 * parameters + 3 * weights + BATCH * (FEATURES + 4 * HIDDEN + 6 * CLASSES))
    cached = "arrays of 128 KiB"
    calls = operations_of_a_step()
    dispatch = calls * of("an operation on one number")
    found = [
        ("arithmetic", f"{hidden_flop + output_flop:,} FLOP at the GEMM rates of 64 in one call", arithmetic),
        ("bytes", f"{step_bytes:,} B at the rate of {cached}", step_bytes / of(f"stream, {cached}") / 1e3),
        ("calls", f"{calls} operations of a bare torch step, each as long as one on one number", dispatch),
    ]
    return [
        {"floor": name, "of": text, "us_per_step": value, "steps_per_s": 1e6 / value} for name, text, value in found
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peak")
    parser.add_argument("--trials", type=int, default=15, help="of which the best is taken")
    parser.add_argument("--seconds", type=float, default=0.3, help="for all trials of a figure")
    parser.add_argument("--folder", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    rows = peaks(Effort(options.trials, options.seconds))
    notes = (
        f"The best of {options.trials} trials each.",
        "Floors are of one step of one model of the article's job: Dense 64 relu, Dense 10, batch 32, Adam, float32. "
        "An eager step is bounded by its calls, a compiled one by the sum of arithmetic and bytes, a pack's share of a "
        "step likewise, plus its calls divided by its members.",
    )
    write("peak", [*rows, *floors(rows)], command="make bench-peak", notes=notes, folder=options.folder)


if __name__ == "__main__":
    main()
