"""Settings, read from the environment (`SOFTREG_...`) or from files of the same name in a secrets directory."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

__all__ = ["Settings", "load_settings"]

_SECRETS = Path(os.environ.get("SOFTREG_SECRETS_DIR", "/run/secrets"))
Seconds = Annotated[float, Field(gt=0)]


class Settings(BaseSettings):
    """Every setting of every process; each has its unit in its name.

    A secret may come as a file: `/run/secrets/softreg_database_url` (or under `SOFTREG_SECRETS_DIR`) instead of the
    variable `SOFTREG_DATABASE_URL`.
    """

    model_config = SettingsConfigDict(
        env_prefix="SOFTREG_",
        extra="ignore",
        frozen=True,
        secrets_dir=_SECRETS if _SECRETS.is_dir() else None,
        use_attribute_docstrings=True,
    )

    database_url: SecretStr
    """PostgreSQL 18, as `postgresql://user:password@host/database`."""
    redis_url: SecretStr
    """Redis 8.6.3 or newer, or Valkey 9: `redis://host:6379/0`, or `unix:///path/to/socket`."""
    first_key: SecretStr | None = None
    """An API key to install when there is none; `softreg migrate` does it."""

    host: str = "127.0.0.1"
    """The address that the API listens on."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    spool_dir: Path = Path("/tmp/softreg")  # noqa: S108  # created 0700 and refused when another user owns it
    """Files under way: uploads being parsed, datasets and checkpoints of running attempts."""
    log_level: str = "info"

    devices: str = "auto"
    """What a worker trains on: `auto`, `cpu`, `cuda`, or `cuda:N`. One worker has one slot."""
    lease_seconds: Seconds = 30.0
    beat_seconds: Seconds = 5.0
    keeper_poll_seconds: Seconds = 0.25
    """The longest that the keeper sleeps when no notification wakes it."""
    ring_again_seconds: Seconds = 5.0
    """How often doorbells are rung anew for jobs that wait although a worker is free."""
    metrics_flush_seconds: Seconds = 0.5
    cancel_grace_seconds: Seconds = 5.0
    """How long a runner may take to reach a step boundary before it is killed."""
    runner_jobs: Annotated[int, Field(ge=1)] = 500
    """A warm runner is replaced after this many jobs."""
    runner_memory_bytes: Annotated[int, Field(ge=2**28)] = 8 * 2**30
    """A warm runner that holds more than this after a job is replaced."""

    max_body_bytes: Annotated[int, Field(ge=1)] = 2**20
    max_upload_bytes: Annotated[int, Field(ge=1)] = 256 * 2**20
    max_parameters: Annotated[int, Field(ge=1)] = 100_000_000
    max_queued_jobs: Annotated[int, Field(ge=1)] = 10_000
    """Per tenant."""


@cache
def load_settings() -> Settings:
    """The settings of this process, read once."""
    return Settings()  # the required fields come from the environment
