"""`softreg demo`: the whole way on this machine, and a check of the result by a process that knows only the files."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from softreg.detach import start_background, stop
from softreg.errors import LocalError
from softreg.home import Home
from softreg.http import Api

__all__ = ["run_demo"]

_JOB = {"dataset": "sample:digits"}
_POLL_SECONDS = 0.2
_COMPARED = "val.accuracy"


def run_demo(*, keep: bool) -> int:
    """Train on the sample digits, download the model, and check it.

    Args:
        keep: Leave the service and its directory in place.

    Returns:
        The exit status: 0 only if the rebuilt model's accuracy equals the one that the service reported.
    """
    console = Console()
    with _service(console, keep=keep) as (home, api):
        job = _watch(console, api, api.submit(_JOB))
        console.print(_table(job["metrics"]))
        reported = api.model(job["model_id"])["metrics"][_COMPARED]
        directory = home.path / "downloaded"
        directory.mkdir(mode=0o700)
        for name in ("model.safetensors", "model.json"):
            api.download(job["model_id"], name, directory / name)
        rebuilt = _rebuild(directory)
    console.print(
        f"Validation accuracy: the service reported {reported:.6f}; the model rebuilt from model.safetensors and "
        f"model.json in another process has {rebuilt['accuracy']:.6f} on {rebuilt['rows']} rows."
    )
    if rebuilt["accuracy"] != reported:
        console.print("[red]They differ.[/red]")
        return 1
    return 0


@contextmanager
def _service(console: Console, *, keep: bool) -> Iterator[tuple[Home, Api]]:
    """A service of its own in a new directory, whatever the environment says of another one."""
    home = Home(Path(tempfile.mkdtemp(prefix="softreg-demo-")))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SOFTREG_")}
    try:
        started = time.monotonic()
        home.prepare()
        record = start_background(home, port=0, workers=1, environment=environment, dies_with_caller=not keep)
        console.print(f"Service ready after {time.monotonic() - started:.1f} s: {record.base_url}")
        with Api(str(record.base_url), home.api_key_file.read_text().strip()) as api:
            yield home, api
    finally:
        if keep:
            console.print(f"Still there: {home.path} (softreg down --home {home.path})")
        else:
            stop(home)
            shutil.rmtree(home.path)


def _watch(console: Console, api: Api, job: dict[str, Any]) -> dict[str, Any]:
    """Show the job's progress until it ends.

    Raises:
        LocalError: It ended without a model.
    """
    columns = (
        TextColumn("{task.fields[state]:<9}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%  {task.fields[numbers]}"),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=None, state=job["state"], numbers="")
        while True:
            progress = job["progress"] or {}
            bar.update(
                task,
                total=progress.get("total_steps"),
                completed=progress.get("step") or 0,
                state=job["state"],
                numbers=_numbers(progress, job["metrics"]),
            )
            if job["terminal"]:
                break
            time.sleep(_POLL_SECONDS)
            job = api.job(job["id"])
    if job["state"] != "succeeded":
        raise LocalError(f"The job {job['state']}: {(job['error'] or {}).get('message', 'no reason given')}")
    return job


def _numbers(progress: dict[str, Any], metrics: dict[str, Any]) -> str:
    """Loss, accuracy, speed and time left, as far as they are known yet."""
    formats: tuple[tuple[str, Any, Callable[[float], str]], ...] = (
        ("loss", metrics.get("train.loss", {}).get("last"), "{:.4f}".format),
        ("accuracy", metrics.get(_COMPARED, {}).get("last"), "{:.4f}".format),
        ("steps/s", progress.get("steps_per_second"), "{:,.0f}".format),
        ("left", progress.get("seconds_remaining"), "{:.0f} s".format),
    )
    return "  ".join(f"{label} {write(value)}" for label, value, write in formats if value is not None)


def _table(metrics: dict[str, Any]) -> Table:
    table = Table("metric", "last", "best", "best at step")
    for name, values in sorted(metrics.items()):
        table.add_row(
            name,
            *("-" if values.get(field) is None else f"{values[field]:.6g}" for field in ("last", "best", "best_step")),
        )
    return table


def _rebuild(directory: Path) -> dict[str, Any]:
    """What a new process finds that gets the two files and the validation rows."""
    result = subprocess.run(
        [sys.executable, "-P", "-m", "softreg.demo_check", str(directory)], capture_output=True, text=True, check=False
    )
    if result.returncode != 0:
        raise LocalError(f"The downloaded model could not be rebuilt:\n{result.stderr.strip()}")
    found: dict[str, Any] = json.loads(result.stdout)
    return found
