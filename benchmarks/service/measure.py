"""What is measured of the service, each figure with its peer's in the same rounds."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from benchmarks.report import asked, median
from benchmarks.service.load import run_apart
from benchmarks.service.mlflow_server import Mlflow
from benchmarks.service.ours import Service, to_the_end
from benchmarks.service.processes import megabytes, peak_mebibytes, reset_peak

__all__ = ["alternate", "beside", "inside", "jobs", "one_epoch", "ratio", "requests", "start_and_memory", "transfers"]

CLIENTS = 8
FILES_A_ROUND = 2
_JOBS_A_ROUND = 5
_REST_SECONDS = 2.0
# Each question takes the api about a millisecond: of a long job they would be counted as its own.
_LONG_POLL_SECONDS = 0.02
# No worker of this machine takes it, so that it waits.
_WAITING = {"dataset": "sample:digits", "resources": {"device": "cuda:99"}}
Readings = list[tuple[float, float]]
Row = dict[str, Any]


def alternate(rounds: int, ours: Callable[[], float], theirs: Callable[[], float]) -> Readings:
    """Both sides in turn; the first round warms up and is not counted."""
    return [(ours(), theirs()) for _ in range(rounds + 1)][1:]


def ratio(readings: Readings, *, is_rate: bool) -> float:
    """How many times better we are: of rates ours over theirs, of times theirs over ours."""
    return median(ours / theirs if is_rate else theirs / ours for ours, theirs in readings)


def beside(what: str, unit: str, readings: Readings, peer: str) -> Row:
    """A row of both sides' medians."""
    ours, theirs = (median(side) for side in zip(*readings, strict=True))
    return {"figure": what, "unit": unit, "softreg": ours, "peer": theirs, "of": peer}


def _alone(what: str, unit: str, value: float) -> Row:
    return {"figure": what, "unit": unit, "softreg": value, "peer": None, "of": ""}


def one_epoch(service: Service) -> float:
    """Seconds from submit to done of a job of one epoch; of a few the median."""
    body = {"dataset": "sample:digits", "training": {"epochs": 1}}
    return median(to_the_end(service.client, body)[0] for _ in range(_JOBS_A_ROUND))


def jobs(service: Service, rounds: int) -> Iterator[Row]:
    """Start, submit to done, pick-up, and memory at rest."""
    yield _alone("start of a service in an empty home", "s", service.start_seconds)
    one_epoch(service)
    taken, picked = [], []
    for _ in range(rounds * _JOBS_A_ROUND):
        seconds, job = to_the_end(service.client, {"dataset": "sample:digits", "training": {"epochs": 1}})
        taken.append(1000 * seconds)
        picked.append(1000 * job["durations"]["queued_seconds"])
    yield _alone("submit to done of a one-epoch job, warm worker", "ms", median(taken))
    yield _alone("pick-up: submit to the start of the attempt", "ms", median(picked))
    time.sleep(_REST_SECONDS)
    yield asked("memory of api, keeper, supervisor and a warm runner", "<= 700", megabytes(service.processes), "MB")


def start_and_memory(service: Service, peer: str, start_seconds: float, processes: Sequence[int]) -> Iterator[Row]:
    """What a peer takes to start and to be there, and we."""
    yield beside("start", "s", [(service.start_seconds, start_seconds)], peer)
    yield beside("memory at rest", "MB", [(megabytes(service.processes), megabytes(processes))], peer)


def inside(service: Service, rounds: int, epochs: int) -> Iterator[Row]:
    """A job over the same training in a process of its own."""
    body = {"dataset": "sample:digits", "training": {"epochs": epochs, "engine": "eager"}}
    command = [sys.executable, "-m", "benchmarks.service.inside", "eager"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}  # as the runner: for a net of this size more are slower
    child = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2], env=environment
    )
    stdin, stdout = _pipe(child.stdin), _pipe(child.stdout)

    def in_process() -> float:
        stdin.write(f"{epochs}\n".encode())
        stdin.flush()
        return float(stdout.readline())

    try:
        stdout.readline()
        readings = alternate(rounds, lambda: to_the_end(service.client, body, _LONG_POLL_SECONDS)[0], in_process)
    finally:
        child.kill()
        child.wait()
    yield beside(f"{epochs} epochs of the digits, eager", "s", readings, "the same in process")
    what = f"{epochs} epochs through HTTP, queue, worker and database over the same in process"
    yield asked(what, "<= 1.25", 1.0 / ratio(readings, is_rate=False), "x")


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None  # asked for above
    return stream


def requests(service: Service, peer: Mlflow, rounds: int, count: int) -> Iterator[Row]:
    """Submit against create run, get against get run."""
    ours = {"port": service.port, "headers": service.headers, "clients": CLIENTS, "requests": count}
    theirs = {"clients": CLIENTS, "requests": max(count // 4, 1)}
    submit = {**ours, "method": "POST", "path": "/v1/jobs", "body": _WAITING, "status": 201, "cancel": True}
    plans = submit, {**submit, "with_key": True}, {**peer.create_plan(), **theirs}
    found = [[run_apart(plan) for plan in plans] for _ in range(rounds + 1)]
    plain, keyed, created = (list(side) for side in zip(*found[1:], strict=True))
    for name, side in (("submit", plain), ("submit with an Idempotency-Key", keyed)):
        for figure, unit in (("rate", "1/s"), ("p50_ms", "ms"), ("p99_ms", "ms")):
            readings = [(one[figure], other[figure]) for one, other in zip(side, created, strict=True)]
            yield beside(
                f"{name}, {CLIENTS} clients, {figure.removesuffix('_ms')}", unit, readings, "MLflow create run"
            )
    rates = [(one["rate"], other["rate"]) for one, other in zip(plain, created, strict=True)]
    yield asked("submit rate over MLflow's create run, 8 clients", ">= 5", ratio(rates, is_rate=True), "x")
    yield asked("submit p99, 8 clients", "<= 60", median(one["p99_ms"] for one in plain), "ms")
    yield from _gets(service, peer, rounds, ours, theirs)


def _gets(service: Service, peer: Mlflow, rounds: int, ours: Row, theirs: Row) -> Iterator[Row]:
    _, job = to_the_end(service.client, {"dataset": "sample:digits", "training": {"epochs": 1}})
    get = {**ours, "method": "GET", "path": f"/v1/jobs/{job['id']}", "status": 200}
    get_run = {**peer.get_plan(), **theirs}
    readings = alternate(rounds, lambda: run_apart(get)["rate"], lambda: run_apart(get_run)["rate"])
    yield beside(f"get by id, {CLIENTS} clients", "1/s", readings, "MLflow get run")


def transfers(service: Service, peer: Mlflow, rounds: int, mebibytes: int, hidden: tuple[int, ...]) -> Iterator[Row]:
    """A model down against an artifact of the same size, a dataset up against an artifact of the same bytes."""
    training = {"epochs": 1, "batch_size": 1437, "engine": "eager"}
    net = {"kind": "mlp", "hidden": list(hidden)}
    _, job = to_the_end(service.client, {"dataset": "sample:digits", "training": training, "net": net})
    path = f"/v1/models/{job['model_id']}/files/model.safetensors"
    model = np.random.default_rng(0).bytes(service.fetch(path))
    peer.put(model, "model.bin")
    data = _npz(mebibytes)

    def theirs_up() -> float:
        return _rate(len(data), lambda: peer.put(data, "data.npz"))

    sides = {
        "model download": (
            lambda: _rate(len(model), lambda: service.fetch(path)),
            lambda: _rate(len(model), lambda: peer.get("model.bin")),
            "MLflow artifact get",
        ),
        "dataset upload": (lambda: _rate(len(data), lambda: service.upload(data)), theirs_up, "MLflow artifact put"),
    }
    for what, (ours, theirs, of) in sides.items():
        before = megabytes([service.api]) * 1e6 / 2**20
        reset_peak(service.api)
        readings = alternate(rounds, ours, theirs)
        grown = peak_mebibytes(service.api) - before
        yield beside(what, "MiB/s", readings, of)
        yield asked(f"{what} over {of}", ">= 2", ratio(readings, is_rate=True), "x")
        total = (rounds + 1) * FILES_A_ROUND * (len(model) if what == "model download" else len(data)) / 2**30
        yield asked(f"memory growth of the api, {what} of {total:.2f} GiB", "<= 64", grown, "MiB")


def _rate(size: int, action: Callable[[], object]) -> float:
    """MiB/s of a round's files, one after another."""
    started = time.perf_counter()
    for _ in range(FILES_A_ROUND):
        action()
    return FILES_A_ROUND * size / 2**20 / (time.perf_counter() - started)


def _npz(mebibytes: int) -> bytes:
    """A table of 64 columns of float32 and a target."""
    rows = mebibytes * 2**20 // (65 * 4)
    random = np.random.default_rng(0)
    file = io.BytesIO()
    np.savez(file, features=random.random((rows, 64), np.float32), target=random.random(rows, np.float32))
    return file.getvalue()
