"""An API over the test's own database, a client with a key, and a worker's hand on the ledger."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import anyio.from_thread
import httpx
import pytest
from fastapi import FastAPI
from safetensors.numpy import save_file
from sqlalchemy import Engine, insert

from api.main import create_app
from softreg_core.data.report import ColumnReport, DatasetReport
from softreg_jobs import store
from softreg_jobs.blobs import Blob, upload
from softreg_jobs.datasets import add_dataset
from softreg_jobs.ids import new_id
from softreg_jobs.keys import DEFAULT_TENANT, mint
from softreg_jobs.settings import Settings
from softreg_jobs.tables import tenants
from softreg_jobs.workers import announce, takes


class Client:
    """A blocking client of an application in this process, with every request in one event loop."""

    def __init__(self, portal: anyio.from_thread.BlockingPortal, app: FastAPI, key: str | None) -> None:
        self.key = key
        self.app = app
        self._portal = portal
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        self._client = httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers)

    def request(self, method: str, url: str, **options: Any) -> httpx.Response:
        return self._portal.call(functools.partial(self._client.request, method, url, **options))

    def get(self, url: str, **options: Any) -> httpx.Response:
        return self.request("GET", url, **options)

    def post(self, url: str, **options: Any) -> httpx.Response:
        return self.request("POST", url, **options)

    def submit(self, **fields: Any) -> dict[str, Any]:
        """A job that is accepted."""
        response = self.post("/v1/jobs", json={"dataset": "sample:digits", **fields})
        assert response.status_code == 201, response.text
        return response.json()

    def close(self) -> None:
        self._portal.call(self._client.aclose)


class Hand:
    """Moves the ledger as a worker would."""

    def __init__(self, engine: Engine, directory: Path) -> None:
        self.engine = engine
        self.directory = directory
        self.worker_id = new_id("wrk")

    def announce(self, device: str = "cpu") -> None:
        with self.engine.begin() as connection:
            announce(connection, new_id("wrk"), takes(device))

    def claim(self, device: str = "cpu") -> store.Claim:
        with self.engine.begin() as connection:
            claim = store.claim(connection, self.worker_id, takes(device), lease_seconds=30, device=device)
        assert claim is not None
        return claim

    def blob(self, data: bytes) -> Blob:
        path = self.directory / new_id("file")
        path.write_bytes(data)
        return upload(self.engine, path)

    def checkpoint(self, mine: store.Claim, step: int, *, is_best: bool = False, data: bytes = b"weights") -> str:
        new = store.NewCheckpoint(self.blob(data), step, 1, {"val.accuracy": 0.5}, {}, is_best)
        with self.engine.begin() as connection:
            return store.publish_checkpoint(connection, mine, new, keep_last=10)

    def record(self, mine: store.Claim, series: dict[str, tuple[list[int], list[float]]]) -> None:
        with self.engine.begin() as connection:
            store.record_metrics(connection, mine, series, {"step": 1})

    def beat(self, mine: store.Claim, progress: dict[str, Any], metrics: dict[str, Any]) -> None:
        with self.engine.begin() as connection:
            told = {"progress": progress, "metrics": metrics}
            store.beat(connection, mine, lease_seconds=30, step=progress["step"], progress=told)

    def succeed(
        self,
        mine: store.Claim,
        files: dict[str, bytes],
        metrics: Mapping[str, float | None] = {"val.accuracy": 0.9},
        report: dict[str, Any] | None = None,
    ) -> str:
        stored = [store.ModelFile(name, self.blob(data), "application/octet-stream") for name, data in files.items()]
        result = store.Result(new_id("mdl"), stored, dict(metrics), "completed", report=report)
        with self.engine.begin() as connection:
            store.succeed(connection, mine, result, store.AttemptFacts())
        return result.model_id

    def fail(self, mine: store.Claim, error: dict[str, Any]) -> None:
        with self.engine.begin() as connection:
            store.fail(connection, mine, error, store.AttemptFacts())


DIGITS = DatasetReport(
    format="sample",
    rows=100,
    columns=(
        ColumnReport(name="a", kind="numeric", tensor="numbers", position=0, distinct=90, minimum=0.0, maximum=1.0),
        ColumnReport(name="b", kind="numeric", tensor="numbers", position=1, distinct=80, minimum=0.0, maximum=1.0),
        ColumnReport(
            name="target",
            kind="numeric",
            integral=True,
            tensor="numbers",
            position=2,
            distinct=2,
            levels=("0", "1"),
            level_counts=(50, 50),
        ),
    ),
)


def put_dataset(engine: Engine, directory: Path, report: DatasetReport, **values: Any) -> str:
    import numpy as np

    table = directory / new_id("table")
    save_file({"numbers": np.zeros((report.rows, len(report.columns)))}, table)
    given = {"tenant_id": DEFAULT_TENANT, "name": "table", **values}
    digest = hashlib.sha256(table.read_bytes()).hexdigest()
    return add_dataset(engine, table, sha256=digest, size=table.stat().st_size, report=report, **given)


@pytest.fixture(scope="session")
def portal() -> Iterator[anyio.from_thread.BlockingPortal]:
    with anyio.from_thread.start_blocking_portal() as portal:
        yield portal


@pytest.fixture
def new_app(settings: Settings) -> Iterator[Callable[..., FastAPI]]:
    """Makes an application over the test's database; keyword arguments are other settings."""
    made: list[FastAPI] = []

    def make(**overrides: Any) -> FastAPI:
        made.append(create_app(settings.model_copy(update=overrides)))
        return made[-1]

    yield make
    for app in made:
        app.state.runtime.close()


@pytest.fixture
def app(new_app: Callable[..., FastAPI]) -> FastAPI:
    return new_app()


@pytest.fixture
def dataset(engine: Engine, tmp_path: Path) -> Callable[..., str]:
    """Puts a dataset with the given report into the database; the default one stands in for `sample:digits`."""

    def put(report: DatasetReport = DIGITS, **values: Any) -> str:
        return put_dataset(engine, tmp_path, report, **values)

    put(DIGITS, tenant_id=None, name="sample:digits", dataset_id="sample:digits")
    return put


@pytest.fixture
def new_key(engine: Engine) -> Callable[..., str]:
    """Mints a key; a `tenant_id` that does not exist is made."""

    def make(tenant_id: str = DEFAULT_TENANT, scopes: tuple[str, ...] = ("read", "write")) -> str:
        with engine.begin() as connection:
            if tenant_id != DEFAULT_TENANT:
                connection.execute(insert(tenants).values(id=tenant_id, name=tenant_id))
            return mint(connection, name="test", tenant_id=tenant_id, scopes=scopes)

    return make


@pytest.fixture
def new_client(portal: anyio.from_thread.BlockingPortal, app: FastAPI) -> Iterator[Callable[..., Client]]:
    """Makes a client; with another `app` if one is given."""
    made: list[Client] = []

    def make(key: str | None = None, app: FastAPI = app) -> Client:
        made.append(Client(portal, app, key))
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.fixture
def client(new_client: Callable[..., Client], new_key: Callable[..., str], dataset: Callable[..., str]) -> Client:
    """A client with a key that may read and write; `sample:digits` is there, small, without being parsed."""
    return new_client(new_key())


@pytest.fixture
def worker(engine: Engine, tmp_path: Path) -> Hand:
    """A living worker on a CPU."""
    hand = Hand(engine, tmp_path)
    hand.announce()
    return hand
