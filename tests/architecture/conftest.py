"""The sources, as paths and as syntax trees."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def packages(project: dict[str, Any]) -> list[str]:
    """The packages of the wheel."""
    return list(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])


@pytest.fixture(scope="session")
def modules(root: Path, packages: list[str]) -> list[Path]:
    """Every module of the wheel."""
    return [path for package in packages for path in sorted((root / package).rglob("*.py"))]


@pytest.fixture(scope="session")
def trees(root: Path, modules: list[Path]) -> dict[Path, ast.Module]:
    """The syntax tree of every module."""
    return {path.relative_to(root): ast.parse(path.read_text(), str(path)) for path in modules}
