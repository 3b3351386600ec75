"""The three services of an installation: how a supervisor starts them, and what they run.

They are named by strings: the client installs without them, and nothing here may import torch or Celery.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

from softreg.home import Home
from softreg.process import Command

__all__ = ["Endpoints", "own_database_url", "run_api", "run_keeper", "run_worker", "service_commands"]


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where the parts of one installation meet."""

    database_url: str
    redis_url: str
    host: str
    port: int

    @property
    def base_url(self) -> str:
        """Where the API answers on this machine."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104  # compared, not bound
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


def own_database_url() -> str | None:
    """The database that the environment names; None: one is embedded."""
    return os.environ.get("SOFTREG_DATABASE_URL") or None


def service_commands(home: Home, endpoints: Endpoints, workers: int) -> Sequence[Command]:
    """The API, the keeper and the workers, in the order of their start."""
    # PGPORT and its kin would change how an embedded database is reached; a database of the user's may need them.
    unwanted = ("PG",) if own_database_url() is None else ()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
    environment |= {
        "SOFTREG_DATABASE_URL": endpoints.database_url,
        "SOFTREG_REDIS_URL": endpoints.redis_url,
        "SOFTREG_HOST": endpoints.host,
        "SOFTREG_PORT": str(endpoints.port),
        "SOFTREG_SPOOL_DIR": str(home.spool),
    }

    def command(name: str, *arguments: str) -> Command:
        # -P: the home is the working directory, and nothing in it may ever be imported.
        return Command(name, (sys.executable, "-P", "-m", *arguments), home.path, home.log_of(name), environment)

    # A worker saves its job before it leaves. Orphaned it need not: its servers are gone too.
    worker = replace(command("worker", "worker"), orphan_signal=signal.SIGQUIT, grace_seconds=30.0)
    further = (f"worker-{number}" for number in range(2, workers + 1))
    return [
        command("api", "softreg", "api"),
        command("keeper", "softreg", "keeper"),
        worker,
        *(replace(worker, name=name, log=home.log_of(name)) for name in further),
    ]


def run_api() -> None:
    """Serve the API in this process until a signal ends it."""
    import uvicorn

    from api.main import uvicorn_options
    from softreg_jobs.settings import load_settings

    uvicorn.run("api.main:app", **uvicorn_options(load_settings()))


def run_keeper() -> None:
    """Run the keeper in this process until a signal ends it."""
    from softreg_jobs import keeper

    keeper.main()


def run_worker(devices: str | None) -> None:
    """Become a worker: this process is replaced.

    Args:
        devices: What it trains on, over the setting `SOFTREG_DEVICES`.
    """
    environment = dict(os.environ)
    if devices is not None:
        environment["SOFTREG_DEVICES"] = devices
    os.execve(sys.executable, [sys.executable, "-P", "-m", "worker"], environment)  # noqa: S606  # no shell is wanted
