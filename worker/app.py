"""Celery's entry: one prefork child is one slot; its supervisor lives as long as the child.

The Celery task is only a doorbell. Signals: the parent tells its child to drain, the child dies with its parent.
"""

from __future__ import annotations

import mmap
import os
from typing import Any

from celery import signals

from softreg_core.lifeline import die_with_parent
from softreg_jobs.logs import configure_logs
from softreg_jobs.queue import DOORBELL, celery_app
from softreg_jobs.settings import load_settings
from softreg_jobs.workers import takes
from worker.devices import DeviceError, choose_device, hold_device
from worker.supervisor import Supervisor

__all__ = ["app", "main"]

_settings = load_settings()
try:
    _device = choose_device(_settings.device)
except DeviceError as error:
    raise SystemExit(f"Error: SOFTREG_DEVICE: {error}") from None
# Known and made before the fork, so that parent and child share them.
_parent = os.getpid()
# One shared byte and no lock: a child that is killed while it holds a lock would leave it held for ever.
_draining = mmap.mmap(-1, 1)
_supervisor: Supervisor | None = None

app = celery_app(_settings, takes(_device))


@signals.setup_logging.connect
def _set_up_logging(**_: Any) -> None:
    configure_logs(_settings.log_level)


@signals.worker_shutting_down.connect
def _drain(**_: Any) -> None:
    """In the parent, at SIGTERM: a running job is saved and given back; Celery by itself would wait for its end."""
    _draining[0] = 1


@signals.worker_process_init.connect
def _begin(**_: Any) -> None:
    global _supervisor  # noqa: PLW0603  # the slot of this process; Celery's signals leave no other place
    die_with_parent(_parent)
    _supervisor = Supervisor(_settings, _device, lambda: _draining[0] == 1)
    _supervisor.start()


@signals.worker_process_shutdown.connect
def _finish(**_: Any) -> None:
    if _supervisor is not None:
        _supervisor.stop()


@app.task(name=DOORBELL)
def doorbell() -> None:
    """Look at the ledger."""
    if _supervisor is not None:
        _supervisor.work()


def main() -> None:
    """Run a worker with one slot until SIGTERM."""
    try:
        hold_device(_device, _settings.spool_dir)
    except DeviceError as error:
        raise SystemExit(f"Error: SOFTREG_DEVICE: {error}") from None
    options = ["--pool=prefork", "--concurrency=1", "--without-gossip", "--without-mingle", "--without-heartbeat"]
    app.worker_main(["worker", *options, f"--hostname=softreg-{os.getpid()}@%h", f"--loglevel={_settings.log_level}"])
