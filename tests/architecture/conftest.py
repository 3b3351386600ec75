"""The project's sources, as paths and as syntax trees."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's directory."""
    return ROOT


@pytest.fixture(scope="session")
def project() -> dict[str, Any]:
    """pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture(scope="session")
def packages(project: dict[str, Any]) -> list[str]:
    """The packages of the wheel."""
    return list(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])


@pytest.fixture(scope="session")
def modules(packages: list[str]) -> list[Path]:
    """Every module of the wheel."""
    return [path for package in packages for path in sorted((ROOT / package).rglob("*.py"))]


@pytest.fixture(scope="session")
def trees(modules: list[Path]) -> dict[Path, ast.Module]:
    """The syntax tree of every module."""
    return {path.relative_to(ROOT): ast.parse(path.read_text(), str(path)) for path in modules}
