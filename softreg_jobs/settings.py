"""Settings, read from the environment (`SOFTREG_...`) or from files of the same name in a secrets directory."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from softreg_jobs.keys import is_well_formed

__all__ = ["Settings", "SettingsError", "load_settings", "settings_with"]

_SECRETS = Path(os.environ.get("SOFTREG_SECRETS_DIR", "/run/secrets"))
_LONGEST_SECONDS = 7 * 86_400
_SILENT_BEATS = 3


def _database_url(secret: SecretStr) -> SecretStr:
    problem = ValueError("should be a URL such as postgresql://user:password@host/database")
    try:
        driver = make_url(secret.get_secret_value()).drivername
    except (ArgumentError, ValueError):
        raise problem from None
    if driver.partition("+")[0] not in ("postgres", "postgresql"):
        raise problem
    return secret


def _redis_url(secret: SecretStr) -> SecretStr:
    problem = ValueError("should be a URL such as redis://host:6379/0 or unix:///path/to/socket")
    try:
        parts = urlsplit(secret.get_secret_value())
        parts.port  # noqa: B018  # raises for what is no number
    except ValueError:
        raise problem from None
    if parts.scheme not in ("redis", "rediss", "unix"):
        raise problem
    return secret


def _key(secret: SecretStr) -> SecretStr:
    if not is_well_formed(secret.get_secret_value()):
        raise ValueError("should have the form sk_<16 hex digits>_<43 url-safe characters>")
    return secret


DatabaseUrl = Annotated[SecretStr, AfterValidator(_database_url)]
RedisUrl = Annotated[SecretStr, AfterValidator(_redis_url)]
Key = Annotated[SecretStr, AfterValidator(_key)]
LogLevel = Annotated[
    Literal["debug", "info", "warning", "error", "critical"],
    BeforeValidator(lambda value: value.lower() if isinstance(value, str) else value),
]
Seconds = Annotated[float, Field(gt=0, le=_LONGEST_SECONDS)]


class SettingsError(ValueError):
    """A setting is missing or makes no sense; the message names its variable and tells no secret."""


class Settings(BaseSettings):
    """Every setting of every process; each has its unit in its name.

    A secret may come as a file: `/run/secrets/softreg_database_url` (or under `SOFTREG_SECRETS_DIR`) instead of the
    variable `SOFTREG_DATABASE_URL`. An empty variable counts as none.
    """

    model_config = SettingsConfigDict(
        env_prefix="SOFTREG_",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,  # a URL holds a password
        secrets_dir=_SECRETS if _SECRETS.is_dir() else None,
        use_attribute_docstrings=True,
    )

    database_url: DatabaseUrl
    """PostgreSQL 18, as `postgresql://user:password@host/database`."""
    redis_url: RedisUrl
    """Redis 8.6.3 or newer, or Valkey 9: `redis://host:6379/0`, or `unix:///path/to/socket`."""
    first_key: Key | None = None
    """An API key to install when there is none; `softreg migrate` does it."""

    host: str = "127.0.0.1"
    """The address that the API listens on."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    spool_dir: Path = Path("/tmp/softreg")  # noqa: S108  # created 0700 and refused when another user owns it
    """Files under way: uploads being parsed, datasets and checkpoints of running attempts."""
    log_level: LogLevel = "info"

    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda|cuda:[0-9]{1,3})$")] = "auto"
    """What a worker trains on: `auto`, `cpu`, `cuda`, or `cuda:N`. One worker has one slot."""
    lease_seconds: Seconds = 30.0
    """How long a job is its worker's without a beat; at least three beats."""
    beat_seconds: Seconds = 5.0
    keeper_poll_seconds: Seconds = 0.25
    """The longest that the keeper sleeps when no notification wakes it."""
    ring_again_seconds: Seconds = 5.0
    """How often doorbells are rung anew for jobs that wait although a worker is free."""
    metrics_flush_seconds: Seconds = 0.5
    cancel_grace_seconds: Seconds = 4.0
    """How long a runner may take to reach a step boundary before it is killed."""
    export_seconds: Seconds = 600.0
    """How long the building of one file of a model may take before it is given up."""
    runner_jobs: Annotated[int, Field(ge=1)] = 500
    """A warm runner is replaced after this many jobs."""
    runner_memory_bytes: Annotated[int, Field(ge=2**28)] = 8 * 2**30
    """A warm runner that holds more than this after a job is replaced."""
    runner_data_bytes: Annotated[int, Field(ge=0)] = 512 * 2**20
    """Of the last datasets that a warm runner keeps, ready to train on; never more than a quarter of the machine's
    memory, shared by its workers. 0: none."""
    workers_here: Annotated[int, Field(ge=1)] = 1
    """Workers that share this machine, each with an even share of its cores; `softreg up` says it to its workers."""
    threads_per_job: Annotated[int, Field(ge=1)] | None = None
    """The most threads of a job instead of that share; a job too small for two uses one."""
    compile_cache_directory: Path | None = None
    """Where compiled training steps are kept between jobs, 0700; by default `compiled` in spool_dir."""
    compile_cache_bytes: Annotated[int, Field(ge=0)] = 2 * 2**30
    """Of all programs kept there; the longest unused go first."""

    max_body_bytes: Annotated[int, Field(ge=1)] = 2**20
    max_upload_bytes: Annotated[int, Field(ge=1)] = 256 * 2**20
    max_parameters: Annotated[int, Field(ge=1)] = 100_000_000
    max_batch_bytes: Annotated[int, Field(ge=1)] = 32 * 2**30
    """Of one batch in the largest layer of its network; a job that takes more would only kill its runner."""
    max_prepared_bytes: Annotated[int, Field(ge=1)] = 16 * 2**30
    """Of all rows of a job's images or sounds, decoded to the size that it asks for."""
    max_queued_jobs: Annotated[int, Field(ge=1)] = 10_000
    """Per tenant."""

    @property
    def compiled_dir(self) -> Path:
        """`compile_cache_directory`, or its default."""
        return self.compile_cache_directory or self.spool_dir / "compiled"

    @property
    def silent_seconds(self) -> float:
        """A worker that has not beaten for longer than this counts as gone."""
        return _SILENT_BEATS * self.beat_seconds

    @model_validator(mode="after")
    def _lease_outlives_late_beats(self) -> Self:
        """A lease that ends between two beats would take every job from a worker that is well."""
        if self.lease_seconds < self.silent_seconds:
            raise ValueError(
                f"SOFTREG_LEASE_SECONDS ({self.lease_seconds:g}) should be at least {_SILENT_BEATS} times "
                f"SOFTREG_BEAT_SECONDS ({self.beat_seconds:g})"
            )
        return self


def settings_with(**known: Any) -> Settings:
    """The settings of the environment, with those that the caller knows over them.

    Raises:
        SettingsError: One is missing or makes no sense.
    """
    try:
        return Settings(**known)
    except ValidationError as error:
        raise SettingsError("; ".join(_described(error.errors(include_url=False)))) from None


@cache
def load_settings() -> Settings:
    """The settings of this process, read once from the environment; the process ends if they make no sense."""
    try:
        return settings_with()
    except SettingsError as error:
        raise SystemExit(f"Error: {error}") from None


def _described(errors: Iterable[Any]) -> Iterator[str]:
    """Variable and reason, never the value: it may be a secret, or a secret in the wrong place."""
    for error in errors:
        reason = "is not set" if error["type"] == "missing" else error["msg"].removeprefix("Value error, ")
        yield f"SOFTREG_{str(error['loc'][0]).upper()}: {reason}" if error["loc"] else reason
