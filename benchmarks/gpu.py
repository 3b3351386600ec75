"""On a GPU: resnet-20 in bfloat16 against a loop tuned by hand, and a small network recorded against one by one.

    make bench-gpu
    python -m benchmarks.gpu [--rounds 5] [--only resnet mlp]

Both sides in one process and in turn. Where there is no GPU it says so, writes nothing, and ends with status 0.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.report import RESULTS, asked, median, write
from softreg_core.data.encode.image import ImageEncoding
from softreg_core.data.part import Part
from softreg_core.data.preprocessing import Preprocessing
from softreg_core.data.report import ColumnReport, DatasetReport
from softreg_core.data.sample import load_sample
from softreg_core.data.tabular import PreparedData, prepare
from softreg_core.engine import EpochEnded, Finished, train
from softreg_core.nets import build_net
from softreg_core.spec import TrainSpec, resolve

COMMAND = "make bench-gpu"
CLASSES, SIDE = 10, 32


class Sizes(NamedTuple):
    """Of the convolutional job; a test takes smaller ones."""

    rows: int = 50_000
    batch: int = 512
    epochs: int = 4
    is_half: bool = True


class Took(NamedTuple):
    """One side in one round."""

    seconds: float
    """Of an epoch, the median over all but the first: by then everything is chosen, recorded or compiled."""
    loss: float
    """Cross-entropy over the first 4096 training rows at the end, in float32 and evaluation."""
    note: str = ""


def images(rows: int) -> tuple[Tensor, Tensor]:
    """uint8 (N, 3, 32, 32) and int64 (N,): a pattern for each class under noise, to be learned."""
    generator = torch.Generator().manual_seed(0)
    target = torch.randint(CLASSES, (rows,), generator=generator)
    patterns = torch.randint(64, 192, (CLASSES, 3, SIDE, SIDE), generator=generator).float()
    found = torch.empty((rows, 3, SIDE, SIDE), dtype=torch.uint8)
    for start in range(0, rows, 4096):
        some = target[start : start + 4096]
        noise = 40.0 * torch.randn((len(some), 3, SIDE, SIDE), generator=generator)
        found[start : start + 4096] = (patterns[some] + noise).clamp(0, 255).to(torch.uint8)
    return found, target


def image_job(sizes: Sizes, engine: str) -> tuple[TrainSpec, PreparedData]:
    """resnet-20 as a spec, and its rows: those of training, and 1000 that are validated after each epoch."""
    validated = min(1000, sizes.rows // 5)
    pixels, target = images(sizes.rows + validated)
    columns = (
        ColumnReport(name="image", kind="image", tensor="image", channels=3, heights=(SIDE, SIDE), widths=(SIDE, SIDE)),
        ColumnReport(
            name="target",
            kind="category",
            tensor="codes",
            position=0,
            distinct=CLASSES,
            levels=tuple(map(str, range(CLASSES))),
            level_counts=tuple(np.bincount(target, minlength=CLASSES).tolist()),
        ),
    )
    report = DatasetReport(format="npz", rows=len(target), columns=columns)
    document = {
        "task": {"target": ["target"]},
        "net": {"kind": "resnet"},
        "loss": {"base": {"kind": "cross_entropy"}, "divergence": None},
        "optimizer": {"kind": "sgd", "learning_rate": 0.1, "momentum": 0.9, "nesterov": True},
        "training": {
            "epochs": sizes.epochs,
            "batch_size": sizes.batch,
            "engine": engine,
            "precision": "bfloat16" if sizes.is_half else "float32",
        },
        "split": {"train": 1.0 - validated / len(target), "validation": validated / len(target), "test": 0.0},
        "checkpoints": {"keep_best": False},
    }
    spec = resolve(TrainSpec.model_validate(document), report).spec
    values = pixels[: sizes.rows].double() / 255.0 if sizes.rows < 4096 else pixels[:4096].double() / 255.0
    encoding = ImageEncoding(
        columns=("image",),
        channels=3,
        height=SIDE,
        width=SIDE,
        pixels="uint8",
        mean=values.mean((0, 2, 3)).numpy(),
        std=values.std((0, 2, 3)).numpy(),
    )
    preprocessing = Preprocessing(encoding, ("target",), None, tuple(map(str, range(CLASSES))))
    part = Part((pixels,), target)
    trained, rest = part.take(slice(0, sizes.rows)), part.take(slice(sizes.rows, None))
    return spec, PreparedData(trained, rest, part.take(slice(0, 0)), preprocessing)


def ours(spec: TrainSpec, data: PreparedData, device: str) -> Took:
    """The engine, with what it does unasked: validation, metrics, each epoch's state."""
    ends = [time.perf_counter()]
    for event in train(spec, data, device=device):
        if isinstance(event, EpochEnded):  # its metrics are numbers: the device has been waited for
            ends.append(time.perf_counter())
        elif isinstance(event, Finished):
            net = build_net(spec.net, data.preprocessing.shape, data.preprocessing.outputs, 0)
            net.load_state_dict(event.model.tensors)
            manifest = event.model.manifest
            tier = "" if manifest is None else manifest.tier
            return Took(median(np.diff(ends)[1:]), _loss(net.to(device), data.train, device), tier)
    raise AssertionError("train ends with Finished")


def by_hand(spec: TrainSpec, data: PreparedData, device: str, how: str) -> Took:
    """A loop tuned by hand: the same network from the same weights, rows on the device, channels last, autocast, a
    fused optimiser, cuDNN free to choose its kernels; no validation, no metrics.

    Args:
        spec: of the job.
        data: its rows.
        device: where.
        how: `plain`, `compile`, or `graph`: the whole step recorded.
    """
    shape, statistics = data.preprocessing.shape, data.preprocessing.statistics
    net = build_net(spec.net, shape, data.preprocessing.outputs, spec.training.seed, statistics).to(device)
    net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    loop = _Loop(spec, net, data.train.to(torch.device(device)), how)
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    try:
        ends = [time.perf_counter()]
        for epoch in range(spec.training.epochs):
            loop.epoch(epoch)
            if device != "cpu":
                torch.cuda.synchronize()
            ends.append(time.perf_counter())
    finally:
        torch.backends.cudnn.benchmark = before
    return Took(median(np.diff(ends)[1:]), _loss(net, data.train, device))


class _Loop:
    def __init__(self, spec: TrainSpec, net: nn.Module, rows: Part, how: str) -> None:
        self._rows, self._size = rows, int(spec.training.batch_size)
        self._device = rows.target.device
        self._is_half = spec.training.precision == "bfloat16"
        self._net = net.train()
        self._called = torch.compile(net) if how == "compile" else net
        self._optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, nesterov=True, fused=True)
        self._given = rows.take(slice(0, self._size))
        self._replay = self._recorded() if how == "graph" else None

    def epoch(self, epoch: int) -> None:
        generator = torch.Generator(self._device).manual_seed(epoch)
        order = torch.randperm(self._rows.rows, generator=generator, device=self._device)
        for start in range(0, self._rows.rows, self._size):
            some = order[start : start + self._size]
            pixels, target = self._rows.inputs[0][some], self._rows.target[some]
            if self._replay is None or len(some) < self._size:
                self._step(pixels, target)
            else:
                self._given.inputs[0].copy_(pixels)
                self._given.target.copy_(target)
                self._replay()

    def _step(self, pixels: Tensor, target: Tensor) -> None:
        self._optimizer.zero_grad()
        with torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=self._is_half):
            prediction = self._called(pixels)
        F.cross_entropy(prediction.float(), target).backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()

    def _recorded(self) -> Callable[[], None]:
        """After PyTorch's notes on CUDA graphs, for a whole network."""
        kept = {name: tensor.clone() for name, tensor in self._net.state_dict().items()}
        self._given = Part(tuple(t.clone() for t in self._given.inputs), self._given.target.clone())
        work = partial(self._step, self._given.inputs[0], self._given.target)
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                work()
        torch.cuda.current_stream().wait_stream(stream)
        self._optimizer.zero_grad()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            work()
        self._net.load_state_dict(kept)
        for state in self._optimizer.state.values():
            state["momentum_buffer"].zero_()
        return graph.replay


@torch.no_grad()
def _loss(net: nn.Module, rows: Part, device: str) -> float:
    some = rows.take(slice(0, 4096)).to(torch.device(device))
    return float(F.cross_entropy(net.eval()(*some.inputs), some.target))


def small_job(engine: str, epochs: int = 20) -> tuple[TrainSpec, PreparedData]:
    """The article's job: digits, one hidden layer of 64, batches of 32, Adam."""
    table = load_sample("digits")
    document = {
        "loss": {"base": {"kind": "half_squared_error"}, "alpha": 0.01, "divergence": {"kind": "article"}},
        "training": {"epochs": epochs, "batch_size": 32, "engine": engine},
        "checkpoints": {"keep_best": False},
    }
    spec = resolve(TrainSpec.model_validate(document), table.report).spec
    return spec, prepare(spec, table)


def resnet(rounds: int, device: str, sizes: Sizes, hows: Sequence[str]) -> list[dict[str, Any]]:
    """Ours, in each engine, and the loop by hand in each way, in turn."""
    jobs = {engine: image_job(sizes, engine) for engine in ("auto", "eager")}
    sides: dict[str, Callable[[], Took]] = {f"softreg {e}": partial(ours, *job, device) for e, job in jobs.items()}
    sides |= {f"by hand, {how}": partial(by_hand, *jobs["eager"], device, how) for how in hows}
    found = _in_turn(sides, rounds)
    rows = [_row("resnet-20", side, took, sizes.rows) for side, took in found.items()]
    own = found["softreg auto"]
    best = min((t for s, t in found.items() if s.startswith("by hand") and t), key=_seconds, default=[])
    ratio = _seconds(own) / _seconds(best) if own and best else None
    rows.append(asked("resnet-20, an epoch over that of the fastest loop by hand", "<= 1.15", ratio))
    return [*rows, asked("resnet-20, training loss apart from the loop's", "<= 0.25", _apart(own, best))]


def _apart(own: Sequence[Took], best: Sequence[Took]) -> float | None:
    """By how much of itself; losses near nothing are equal, whatever their ratio."""
    if not own or not best:
        return None
    one, other = own[-1].loss, best[-1].loss
    return 0.0 if max(one, other) < 0.05 else abs(one / other - 1.0)


def mlp(rounds: int, device: str, epochs: int = 20) -> list[dict[str, Any]]:
    """The article's job, recorded and one by one."""
    jobs = {engine: small_job(engine, epochs) for engine in ("cudagraph", "eager")}
    found = _in_turn({f"softreg {engine}": partial(ours, *job, device) for engine, job in jobs.items()}, rounds)
    rows = [_row("small mlp", side, took, 1438) for side, took in found.items()]
    recorded, single = found["softreg cudagraph"], found["softreg eager"]
    is_recorded = bool(recorded) and recorded[-1].note == "cudagraph"
    ratio = _seconds(single) / _seconds(recorded) if is_recorded and single else None
    return [*rows, asked("small mlp, cudagraph over eager", ">= 3", ratio)]


def _in_turn(sides: Mapping[str, Callable[[], Took]], rounds: int) -> dict[str, list[Took]]:
    """A side that cannot run here is left out, and it is said why."""
    found: dict[str, list[Took]] = {side: [] for side in sides}
    broken: set[str] = set()
    for number in range(rounds):
        for side, run in sides.items():
            if side in broken:
                continue
            try:
                found[side].append(run())
            except Exception as error:  # noqa: BLE001  a compiler that is not there, say
                broken.add(side)
                print(f"{side}: {type(error).__name__}: {str(error)[:300]}", file=sys.stderr)
                continue
            print(f"round {number + 1}, {side}: {found[side][-1]}", file=sys.stderr)
    return found


def _seconds(took: Sequence[Took]) -> float:
    return median(one.seconds for one in took)


def _row(job: str, side: str, took: Sequence[Took], rows: int) -> dict[str, Any]:
    seconds = _seconds(took) if took else None
    return {
        "job": job,
        "side": side,
        "tier": took[-1].note if took else "could not run",
        "epoch_ms": None if seconds is None else 1000.0 * seconds,
        "rows_per_s": None if seconds is None else rows / seconds,
        "loss_at_end": took[-1].loss if took else None,
    }


NOTES = [
    "An epoch's time is the median over all but a run's first, then over rounds; sides in turn, in one process.",
    "softreg does what it does unasked: validation of 1000 rows (small mlp: 360), metrics, each epoch's state, "
    "deterministic algorithms. The loop by hand does none of it, and lets cuDNN choose among all its kernels.",
    "Synthetic images: a pattern for each class under noise.",
]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=["resnet", "mlp"], default=["resnet", "mlp"])
    parser.add_argument("--folder", type=Path, help="where to write; by default benchmarks/results/")
    options = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        print("no CUDA device on this machine: nothing to measure")
        return 0
    rows: list[dict[str, Any]] = []
    if "resnet" in options.only:
        rows += resnet(options.rounds, "cuda", Sizes(), ("plain", "compile", "graph"))
    if "mlp" in options.only:
        rows += mlp(options.rounds, "cuda")
    is_whole = options.rounds >= 5 and len(options.only) == 2
    folder = options.folder or (RESULTS if is_whole else RESULTS / "partial")
    write("gpu", rows, command=COMMAND, notes=NOTES, folder=folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
