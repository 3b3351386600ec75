"""The API as an ASGI application: `uvicorn api.main:app --factory`.

This package knows HTTP. What a job is stands in softreg_jobs, what a spec means in softreg_core; torch stands in
neither, and none of it is ever imported here.
"""

from __future__ import annotations

import gc
import ipaddress
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from sqlalchemy import Engine
from sqlalchemy import exc as database_errors

from api import errors, openapi
from api.access import AccessLog
from api.routes import checkpoints, datasets, health, job_records, jobs, models
from api.runtime import Runtime
from api.uploads import forget_leftovers
from softreg_core import __version__
from softreg_jobs.database import engine_of
from softreg_jobs.keys import any_key
from softreg_jobs.logs import configure_logs
from softreg_jobs.settings import Settings, load_settings

__all__ = ["app", "create_app", "uvicorn_options"]


def app() -> FastAPI:
    """The application with this process's settings; what uvicorn calls.

    Raises:
        SystemExit: it would listen to the network without a single key.
    """
    settings = load_settings()
    configure_logs(settings.log_level)
    _refuse_without_key(settings)
    application = create_app(settings)
    # What the imports have made stays for good. A full collection over it takes tens of milliseconds, in which no
    # request is served.
    gc.collect()
    gc.freeze()
    return application


def create_app(settings: Settings) -> FastAPI:
    """An application of its own: nothing in it is shared with another one of this process."""
    runtime = Runtime(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        forget_leftovers(settings.spool_dir)
        yield
        runtime.close()

    # Their pages load scripts from outside; and a slash too many is a 404, not a redirect that drops a body.
    application = FastAPI(
        title="softreg",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    application.state.runtime = runtime
    application.add_middleware(AccessLog)
    errors.install(application)
    for module in (jobs, job_records, checkpoints, models, datasets, health):
        application.include_router(module.router)
    openapi.install(application)
    return application


def uvicorn_options(settings: Settings) -> dict[str, Any]:
    """How uvicorn is to serve the application: `uvicorn.run("api.main:app", **uvicorn_options(settings))`."""
    return {
        "factory": True,
        "host": settings.host,
        "port": settings.port,
        "log_level": settings.log_level.lower(),
        # The application's own lines say more, and configure_logs has set up the format.
        "access_log": False,
        "log_config": None,
        "server_header": False,
        # A proxy's headers are believed by nobody here, so they are not read.
        "proxy_headers": False,
        "ws": "none",
        "limit_concurrency": 1000,
        "timeout_keep_alive": 30,
        "timeout_graceful_shutdown": 5,
    }


def _refuse_without_key(settings: Settings) -> None:
    """On loopback a service without keys answers 401 until there is one; on a network it does not start."""
    if _is_loopback(settings.host):
        return
    engine = engine_of(settings, pool_size=1)
    try:
        if not _has_key(engine):
            raise SystemExit(
                f"softreg api: refusing to listen on {settings.host} without an API key. "
                "Set SOFTREG_FIRST_KEY and run `softreg migrate`, or listen on 127.0.0.1."
            )
    finally:
        engine.dispose()


def _has_key(engine: Engine) -> bool:
    try:
        with engine.connect() as connection:
            return any_key(connection)
    except database_errors.ProgrammingError:
        return False
    except database_errors.OperationalError:
        raise SystemExit("softreg api: PostgreSQL does not answer at SOFTREG_DATABASE_URL.") from None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
