"""MLflow's own server on a PostgreSQL like ours, asked over the same kind of connections."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Self

import httpx

from benchmarks.service.load import exchange
from benchmarks.service.processes import end_tree, family
from softreg.embedded import EmbeddedPostgres
from softreg.readiness import free_port

__all__ = ["Mlflow"]

_START_SECONDS = 180.0
_API = "/api/2.0/mlflow"


class Mlflow:
    """Started by `with`, stopped at its end.

    Args:
        python: of the environment that has it.
    """

    def __init__(self, python: Path) -> None:
        self._python = python

    def __enter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="mlflow-bench-"))
        self._postgres = EmbeddedPostgres(Path(tempfile.mkdtemp(prefix="mlflow-bench-pg-")))
        self._postgres.start()
        self.port = free_port("127.0.0.1", 0)
        started = time.perf_counter()
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                self._command(), cwd=self._folder, stdout=log, stderr=log, env=_environment(), start_new_session=True
            )
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=300, trust_env=False)
        try:
            self._await_ready()
        except BaseException:
            self.__exit__()
            raise
        self.start_seconds = time.perf_counter() - started
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        end_tree(self._process)
        self._postgres.stop()
        shutil.rmtree(self._folder, ignore_errors=True)
        shutil.rmtree(self._postgres.directory, ignore_errors=True)

    @property
    def processes(self) -> list[int]:
        """All of them."""
        return family(self._process.pid)

    def create_plan(self) -> dict[str, Any]:
        """How to create a run."""
        body = {"experiment_id": "0", "start_time": 1, "run_name": "run"}
        return {"port": self.port, "method": "POST", "path": f"{_API}/runs/create", "body": body, "status": 200}

    def get_plan(self) -> dict[str, Any]:
        """How to get a run."""
        run = self.client.post(f"{_API}/runs/create", json={"experiment_id": "0", "start_time": 1}).json()["run"]
        path = f"{_API}/runs/get?run_id={run['info']['run_id']}"
        return {"port": self.port, "method": "GET", "path": path, "status": 200}

    def put(self, data: bytes, name: str) -> None:
        """Store an artifact."""
        status, _ = exchange(self.port, "PUT", self._artifact(name), {}, data)
        if status != 200:
            raise SystemExit(f"MLflow's artifact put: {status}")

    def get(self, name: str) -> int:
        """Fetch an artifact and drop it; its bytes."""
        status, received = exchange(self.port, "GET", self._artifact(name), {})
        if status != 200:
            raise SystemExit(f"MLflow's artifact get: {status}")
        return received

    def _artifact(self, name: str) -> str:
        return f"/api/2.0/mlflow-artifacts/artifacts/bench/{name}"

    def _command(self) -> list[str]:
        store = f"postgresql+psycopg2://postgres@/softreg?host={self._postgres.sockets}"
        places = ["--backend-store-uri", store, "--artifacts-destination", str(self._folder / "artifacts")]
        return [str(self._python), "-m", "mlflow", "server", *places, "--host", "127.0.0.1", "--port", str(self.port)]

    def _await_ready(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                if self.client.get("/health").status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.05)
        raise RuntimeError(f"MLflow did not start:\n{(self._folder / 'log').read_text()[-2000:]}")


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
