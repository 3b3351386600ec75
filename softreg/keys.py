"""`softreg keys create`: a new key, straight into the database."""

from __future__ import annotations

from softreg.errors import LocalError
from softreg.home import Home
from softreg.masks import is_masked
from softreg.services import own_database_url

__all__ = ["create"]


def create(home: Home, name: str) -> str:
    """Mint a key in the database of `SOFTREG_DATABASE_URL`, or else of the service that runs in `home`.

    Returns:
        The key; only its hash is stored.

    Raises:
        LocalError: There is neither, or it cannot be reached, or the name cannot be kept.
    """
    url = own_database_url() or _url_of(home)
    from softreg.database import known_settings, reachable
    from softreg_jobs.bootstrap import mint_key

    # A key needs no queue, but the settings name one.
    settings = known_settings(database_url=url, redis_url="unix:///nowhere")
    try:
        with reachable():
            return mint_key(settings, name)
    except ValueError as error:
        raise LocalError(f"No key was made: {error}.") from None


def _url_of(home: Home) -> str:
    record = home.running()
    if record is None or record.database_url is None:
        raise LocalError(f"No service runs in {home.path}: start it with `softreg up`, or set SOFTREG_DATABASE_URL.")
    if is_masked(record.database_url):
        raise LocalError("The password of this service's database is not written down: set SOFTREG_DATABASE_URL.")
    return record.database_url
