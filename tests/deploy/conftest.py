"""The container files as data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml


@pytest.fixture(scope="session")
def compose(root: Path) -> dict[str, Any]:
    """docker-compose.yml, with its anchors merged."""
    return yaml.safe_load((root / "docker-compose.yml").read_text())


@pytest.fixture(scope="session")
def own(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The services that run our code."""
    return {name: service for name, service in compose["services"].items() if "build" in service}


@pytest.fixture(scope="session")
def servers(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The services that run other people's servers."""
    return {name: service for name, service in compose["services"].items() if "build" not in service}


@pytest.fixture(scope="session")
def long_running(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Every service but the one that migrates and ends."""
    return {name: service for name, service in compose["services"].items() if name != "migrate"}


@pytest.fixture(scope="session")
def dockerfile(root: Path) -> list[str]:
    """The Dockerfile's instructions, each one line, without comments."""
    lines = (line for line in (root / "Dockerfile").read_text().splitlines() if not line.lstrip().startswith("#"))
    return [" ".join(line.split()) for line in "\n".join(lines).replace("\\\n", " ").splitlines() if line.strip()]


@pytest.fixture(scope="session")
def stages(dockerfile: list[str]) -> dict[str, list[str]]:
    """The instructions of each stage; the first is its FROM."""
    found: dict[str, list[str]] = {}
    for line in dockerfile:
        if line.startswith("FROM "):
            name = line.split(" AS ")[1]
            found[name] = []
        found[name].append(line)
    return found
