"""The project's own files; and real servers: one PostgreSQL and one Valkey per session, a fresh database per test.

`settings` is what most tests want. A fixture of a wider scope calls `new_database` itself:

    @pytest.fixture(scope="module")
    def shared(new_database: Callable[..., Settings]) -> Settings:
        return new_database()

Nothing beyond pytest is imported before a fixture needs it: tests/gpu runs where only softreg_core is installed.
"""

from __future__ import annotations

import itertools
import shutil
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from softreg.embedded import EmbeddedServer
    from softreg_jobs.settings import Settings

    NewDatabase = Callable[..., Settings]

_TEMPLATE = "softreg"


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's directory."""
    return Path(__file__).parents[1]


@pytest.fixture(scope="session")
def project(root: Path) -> dict[str, Any]:
    """pyproject.toml."""
    return tomllib.loads((root / "pyproject.toml").read_text())


def _run(server: EmbeddedServer) -> Iterator[str]:
    try:
        yield server.start()
    finally:
        server.stop()
        shutil.rmtree(server.directory, ignore_errors=True)


@pytest.fixture(scope="session")
def valkey_url() -> Iterator[str]:
    """A running Valkey 9, for all tests of the session."""
    from softreg.embedded import EmbeddedValkey

    yield from _run(EmbeddedValkey(Path(tempfile.mkdtemp(prefix="softreg-test-valkey-"))))


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A running PostgreSQL 18, for all tests of the session; its database `softreg` is empty."""
    from softreg.embedded import EmbeddedPostgres

    yield from _run(EmbeddedPostgres(Path(tempfile.mkdtemp(prefix="softreg-test-postgres-"))))


@pytest.fixture(scope="session")
def _administrator(postgres_url: str, valkey_url: str) -> Iterator[Engine]:
    """The server's administrator, outside any test's database; the template is migrated."""
    from sqlalchemy import create_engine, make_url, text

    from softreg_jobs.bootstrap import migrate
    from softreg_jobs.settings import Settings

    administrator = create_engine(make_url(postgres_url).set(database="postgres"), isolation_level="AUTOCOMMIT")
    with administrator.connect() as connection:
        # The data lives as long as the session: nothing is gained by waiting for the disk.
        connection.execute(text("ALTER SYSTEM SET fsync = off"))
        connection.execute(text("SELECT pg_reload_conf()"))
    migrate(Settings(database_url=postgres_url, redis_url=valkey_url))
    yield administrator
    administrator.dispose()


@pytest.fixture(scope="session")
def new_database(_administrator: Engine, postgres_url: str, valkey_url: str) -> Iterator[NewDatabase]:
    """Makes a fresh migrated database and returns settings for it; keyword arguments are further settings."""
    from sqlalchemy import make_url, text

    from softreg_jobs.settings import Settings

    numbers = itertools.count()
    spools: list[Path] = []

    def make(**overrides: object) -> Settings:
        name = f"test_{next(numbers)}"
        with _administrator.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE}"))
        spools.append(Path(tempfile.mkdtemp(prefix="softreg-test-spool-")))
        url = make_url(postgres_url).set(database=name).render_as_string(hide_password=False)
        values = {"database_url": url, "redis_url": valkey_url, "spool_dir": spools[-1], **overrides}
        return Settings.model_validate(values)

    yield make
    for spool in spools:
        shutil.rmtree(spool, ignore_errors=True)


@pytest.fixture
def settings(new_database: NewDatabase, _administrator: Engine) -> Iterator[Settings]:
    """Settings with a fresh migrated database, which is gone after the test."""
    from sqlalchemy import make_url, text

    settings = new_database()
    yield settings
    name = make_url(settings.database_url.get_secret_value()).database
    with _administrator.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    shutil.rmtree(settings.spool_dir, ignore_errors=True)


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    """An engine on the test's fresh database."""
    from softreg_jobs.database import engine_of

    engine = engine_of(settings)
    yield engine
    engine.dispose()
