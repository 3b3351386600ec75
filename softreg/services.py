"""The three services of an installation: how a supervisor starts them, and what they run.

They are named by strings: the client installs without them, and nothing here may import torch or Celery.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

from softreg.errors import LocalError
from softreg.home import Home
from softreg.process import Command

__all__ = [
    "Endpoints",
    "own_database_url",
    "own_host",
    "own_redis_url",
    "run_api",
    "run_keeper",
    "run_worker",
    "service_commands",
]


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


def own_redis_url() -> str | None:
    """The queue's server that the environment names; None: one is embedded."""
    return os.environ.get("SOFTREG_REDIS_URL") or None


def own_host() -> str:
    """Where the API listens."""
    return os.environ.get("SOFTREG_HOST") or "127.0.0.1"


def service_commands(home: Home, endpoints: Endpoints, workers: int) -> Sequence[Command]:
    """The API, the keeper and the workers, in the order of their start.

    Raises:
        LocalError: There are fewer devices than the environment demands.
    """
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

    def worker(number: int, device: str) -> Command:
        plain = command("worker" if number == 1 else f"worker-{number}", "worker")
        return replace(
            plain,
            environment={
                "SOFTREG_COMPILE_CACHE_DIRECTORY": str(home.path / "compiled"),
                "SOFTREG_WORKERS_HERE": str(workers),
                **environment,
                "SOFTREG_DEVICE": device,
            },
            # A worker saves its job before it leaves. Orphaned it need not: its servers are gone too.
            orphan_signal=signal.SIGQUIT,
            grace_seconds=30.0,
        )

    return [
        command("api", "softreg", "api"),
        command("keeper", "softreg", "keeper"),
        *(worker(number, device) for number, device in enumerate(_devices(workers), start=1)),
    ]


def _devices(workers: int) -> list[str]:
    """What each worker trains on, unless the environment says it: a GPU of its own, or the CPU if none is left.

    Raises:
        LocalError: The environment demands more GPUs than there are.
    """
    wanted = os.environ.get("SOFTREG_DEVICE") or "auto"
    if workers > 1 and wanted.startswith("cuda:"):
        raise LocalError(f"SOFTREG_DEVICE={wanted} is one device, and {workers} workers would share it.")
    if workers == 1 or wanted == "cpu":
        return [wanted] * workers
    from worker.devices import cuda_devices

    count = cuda_devices()
    if wanted == "cuda" and workers > count:
        raise LocalError(f"SOFTREG_DEVICE=cuda, but {workers} workers would share {count} usable CUDA devices.")
    return [f"cuda:{number}" if number < count else "cpu" for number in range(workers)]


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


def run_worker(device: str | None) -> None:
    """Become a worker: this process is replaced.

    Args:
        device: What it trains on, over the setting `SOFTREG_DEVICE`.
    """
    environment = dict(os.environ)
    if device is not None:
        environment["SOFTREG_DEVICE"] = device
    os.execve(sys.executable, [sys.executable, "-P", "-m", "worker"], environment)  # noqa: S606  # no shell is wanted
