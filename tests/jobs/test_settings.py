"""A setting that makes no sense is refused by the name of its variable, and no secret is told."""

from __future__ import annotations

import os

import pytest
from pydantic import ValidationError

from softreg_jobs.settings import Settings, SettingsError, settings_with

GOOD = {"SOFTREG_DATABASE_URL": "postgresql://me:secret@host/db", "SOFTREG_REDIS_URL": "redis://:secret@host"}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment with what is required and no other setting."""
    for name in [name for name in os.environ if name.startswith("SOFTREG_")]:
        monkeypatch.delenv(name)
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SOFTREG_DEVICE", "gpu7"),
        ("SOFTREG_DEVICE", "cuda:"),
        ("SOFTREG_LOG_LEVEL", "chatty"),
        ("SOFTREG_PORT", "eight thousand"),
        ("SOFTREG_PORT", "65536"),
        ("SOFTREG_BEAT_SECONDS", "0"),
        ("SOFTREG_BEAT_SECONDS", "nan"),
        ("SOFTREG_LEASE_SECONDS", "inf"),
        ("SOFTREG_MAX_BODY_BYTES", "-1"),
        ("SOFTREG_DATABASE_URL", "mysql://me:secret@host/db"),
        ("SOFTREG_DATABASE_URL", "secret"),
        ("SOFTREG_DATABASE_URL", "postgresql://me:secret@host:port/db"),
        ("SOFTREG_REDIS_URL", "https://:secret@host"),
        ("SOFTREG_REDIS_URL", "redis://:secret@host:port/0"),
        ("SOFTREG_FIRST_KEY", "secret"),
    ],
)
def test_nonsense_is_refused_by_name(environment: pytest.MonkeyPatch, variable: str, value: str) -> None:
    environment.setenv(variable, value)
    with pytest.raises(SettingsError) as caught:
        settings_with()
    told = str(caught.value)
    assert told.startswith(variable)
    assert "secret" not in told
    with pytest.raises(ValidationError) as raw:
        Settings()
    assert "secret" not in str(raw.value)


def test_every_problem_is_told_at_once(environment: pytest.MonkeyPatch) -> None:
    environment.delenv("SOFTREG_REDIS_URL")
    environment.setenv("SOFTREG_PORT", "x")
    with pytest.raises(SettingsError, match=r"SOFTREG_REDIS_URL: is not set.*SOFTREG_PORT: "):
        settings_with()


def test_a_lease_must_outlive_three_beats(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("SOFTREG_LEASE_SECONDS", "14.9")
    with pytest.raises(SettingsError, match=r"SOFTREG_LEASE_SECONDS \(14.9\).*3 times SOFTREG_BEAT_SECONDS \(5\)"):
        settings_with()
    environment.setenv("SOFTREG_LEASE_SECONDS", "15")
    assert settings_with().lease_seconds == settings_with().silent_seconds == 15.0


def test_what_the_caller_knows_stands_over_the_environment(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("SOFTREG_DATABASE_URL", "nonsense")
    environment.setenv("SOFTREG_LOG_LEVEL", "WARNING")
    settings = settings_with(database_url="postgresql:///mine")
    assert settings.database_url.get_secret_value() == "postgresql:///mine"
    assert settings.log_level == "warning"


def test_an_empty_variable_is_none(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("SOFTREG_DEVICE", "")
    environment.setenv("SOFTREG_FIRST_KEY", "")
    assert (settings_with().device, settings_with().first_key) == ("auto", None)
