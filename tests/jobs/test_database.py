"""Ways to PostgreSQL."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from sqlalchemy import Engine, make_url, select, text

from softreg_jobs.database import UNAVAILABLE, engine_of, listen, session
from softreg_jobs.settings import Settings


@pytest.mark.parametrize("name", ["with space", "per%cent", "ünï 日本", "plus+and&more"])
def test_a_socket_in_an_odd_directory_is_reached_both_ways(settings: Settings, name: str) -> None:
    url = make_url(settings.database_url.get_secret_value())
    odd = Path(tempfile.mkdtemp(prefix="softreg-odd-")) / name
    odd.symlink_to(str(url.query["host"]))
    odd_url = url.update_query_dict({"host": str(odd)}).render_as_string(hide_password=False)
    moved = Settings.model_validate({**settings.model_dump(), "database_url": odd_url})
    engine = engine_of(moved)
    with engine.connect() as connection, session(moved) as own:
        assert connection.execute(select(1)).scalar_one() == 1
        assert own.execute("SELECT 1").fetchone() == (1,)
    engine.dispose()
    shutil.rmtree(odd.parent)


def test_a_notification_arrives(settings: Settings, engine: Engine) -> None:
    with session(settings) as own:
        listen(own, "softreg_job")
        with engine.begin() as connection:
            connection.execute(text("SELECT pg_notify('softreg_job', 'job_1')"))
        assert [notice.payload for notice in own.notifies(timeout=10, stop_after=1)] == ["job_1"]


def test_a_process_stopped_in_a_transaction_loses_its_locks(settings: Settings) -> None:
    short = Settings.model_validate({**settings.model_dump(), "lease_seconds": 0.3, "beat_seconds": 0.05})
    engine = engine_of(short)
    with engine.connect() as stopped, session(settings) as other:
        stopped.execute(text("SELECT 1 FROM tenants FOR UPDATE"))
        # Waits until the server ends the idle holder's session.
        assert other.execute("SELECT id FROM tenants FOR UPDATE").fetchone() == ("ten_default",)
        with pytest.raises(UNAVAILABLE):
            stopped.execute(text("SELECT 1"))
    engine.dispose()
