"""Versions with known holes are refused by pyproject.toml, and are not what is installed."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

FLOORS = {"celery": "5.7", "kombu": "5.7", "python-multipart": "0.0.32", "starlette": "1.3.1", "torch": "2.10"}


@pytest.fixture(scope="module")
def requirements(project: dict[str, Any]) -> list[Requirement]:
    """What the project and its extras need, other than its own extras."""
    described = project["project"]
    texts = [
        *described["dependencies"],
        *(text for extra in described["optional-dependencies"].values() for text in extra),
    ]
    return [needed for needed in map(Requirement, texts) if needed.name != described["name"]]


@pytest.mark.parametrize(("name", "floor"), FLOORS.items())
def test_the_floor_is_demanded_and_installed(requirements: list[Requirement], name: str, floor: str) -> None:
    demanded = [
        Version(specifier.version)
        for needed in requirements
        if needed.name == name
        for specifier in needed.specifier
        if specifier.operator == ">="
    ]
    assert demanded
    assert min(demanded) >= Version(floor)
    assert Version(version(name)) >= Version(floor)


def test_every_requirement_is_pinned_to_a_version_that_it_admits(root: Path, requirements: list[Requirement]) -> None:
    lines = (root / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    pinned = {canonicalize_name(name): number for name, number in pins.items()}
    for needed in requirements:
        assert needed.specifier.contains(pinned[canonicalize_name(needed.name)]), needed
