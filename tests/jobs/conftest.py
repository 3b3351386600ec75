"""A job in the ledger without a web or a worker: what the store's tests start from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from softreg_core.data.report import ColumnReport, DatasetReport
from softreg_core.spec import TrainSpec, resolve
from softreg_jobs import store
from softreg_jobs.datasets import add_dataset
from softreg_jobs.keys import DEFAULT_TENANT

REPORT = DatasetReport(
    format="csv",
    rows=100,
    columns=(
        ColumnReport(name="x", kind="numeric", tensor="numbers", position=0, distinct=100),
        ColumnReport(name="target", kind="numeric", tensor="numbers", position=1, distinct=90),
    ),
)


@pytest.fixture
def dataset_id(engine: Engine, tmp_path: Path) -> str:
    """A stored dataset; its bytes are no table, which nothing here reads."""
    path = tmp_path / "table"
    path.write_bytes(b"table")
    return add_dataset(engine, path, tenant_id=DEFAULT_TENANT, name="data.csv", sha256="0" * 64, size=5, report=REPORT)


@pytest.fixture
def submit(engine: Engine, dataset_id: str) -> Callable[..., str]:
    """Submits a job; keyword arguments are those of NewJob, and `device`."""

    def make(*, device: str = "auto", max_queued: int = 1000, **fields: object) -> str:
        spec = TrainSpec.model_validate({"resources": {"device": device}})
        new = store.NewJob(
            tenant_id=DEFAULT_TENANT,
            dataset_id=dataset_id,
            resolution=resolve(spec, REPORT),
            **fields,  # type: ignore[arg-type]
        )
        with engine.begin() as connection:
            return store.submit(connection, new, max_queued=max_queued, alive_seconds=15.0).job.id

    return make


@pytest.fixture
def claim(engine: Engine) -> Callable[..., store.Claim]:
    """Claims a job; fails the test when there is none."""

    def make(worker: str = "wrk_1", kinds: tuple[str, ...] = ("auto", "cpu"), lease: float = 30.0) -> store.Claim:
        with engine.begin() as connection:
            mine = store.claim(connection, worker, kinds, lease_seconds=lease)
        assert mine is not None
        return mine

    return make


@pytest.fixture
def shift_clock(engine: Engine) -> Callable[[float], None]:
    """Moves the database's clock for every connection opened afterwards."""

    def shift(seconds: float) -> None:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            name = connection.execute(text("SELECT current_database()")).scalar_one()
            connection.execute(text(f"ALTER DATABASE {name} SET softreg.shift = '{seconds} seconds'"))
        engine.dispose()

    return shift
