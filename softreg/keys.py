"""`softreg keys create`: a new key, straight into the database."""

from __future__ import annotations

from softreg.errors import LocalError
from softreg.home import Home
from softreg.services import own_database_url

__all__ = ["create"]


def create(home: Home, name: str) -> str:
    """Mint a key in the database of `SOFTREG_DATABASE_URL`, or else of the service that runs in `home`.

    Returns:
        The key; only its hash is stored.

    Raises:
        LocalError: There is neither.
    """
    from sqlalchemy import create_engine, make_url

    from softreg_jobs.keys import mint

    record = home.running()
    url = own_database_url() or (record and record.database_url)
    if not url:
        raise LocalError(f"No service runs in {home.path}: start it with `softreg up`, or set SOFTREG_DATABASE_URL.")
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"))
    try:
        with engine.begin() as connection:
            return mint(connection, name=name)
    finally:
        engine.dispose()
