"""The import contracts of pyproject.toml hold, and each of them would notice a breach."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


def _lint(directory: Path) -> str:
    program = Path(sys.executable).with_name("lint-imports")
    # In the directory's own way: the linter looks there for the configuration and, first of all, for the packages.
    arguments = [sys.executable, str(program), "--no-cache"]
    return subprocess.run(arguments, cwd=directory, capture_output=True, text=True, check=False).stdout


def _broken(output: str) -> list[str]:
    return re.findall(r"^(.*) BROKEN\b", output, re.MULTILINE)


def test_every_package_is_under_contract(project: dict[str, Any], packages: list[str]) -> None:
    assert sorted(project["tool"]["importlinter"]["root_packages"]) == sorted(packages)


def test_the_contracts_hold(root: Path, project: dict[str, Any]) -> None:
    output = _lint(root)
    count = len(project["tool"]["importlinter"]["contracts"])
    assert f"Contracts: {count} kept, 0 broken." in output, output


BREACHES = {
    "Layers: softreg; api | worker; softreg_jobs; softreg_core": ("softreg_core/keyed.py", "import softreg_jobs.ids"),
    "The API, the jobs, the job language and the client never import torch": ("softreg_jobs/ids.py", "import torch"),
    "The root of softreg_core stays free of torch": ("softreg_core/__init__.py", "import numpy"),
    "The training core knows no web, database or queue": ("softreg_core/keyed.py", "import sqlalchemy"),
    "Jobs know no HTTP": ("softreg_jobs/ids.py", "import fastapi"),
    "Only the doorbell and the worker know Celery": ("softreg_jobs/ids.py", "import celery"),
    "Migrations know only the tables": ("migrations/env.py", "import softreg_core.errors"),
}


def test_every_contract_has_its_breach(project: dict[str, Any]) -> None:
    assert {contract["name"] for contract in project["tool"]["importlinter"]["contracts"]} == set(BREACHES)


@pytest.fixture(scope="module")
def breached(root: Path, packages: list[str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the linter says of a copy of the project in which every contract is broken once."""
    copy = tmp_path_factory.mktemp("breached")
    shutil.copy(root / "pyproject.toml", copy)
    for package in packages:
        shutil.copytree(root / package, copy / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name, line in BREACHES.values():
        with (copy / name).open("a") as file:
            file.write(f"\n{line}\n")
    return _lint(copy)


@pytest.mark.parametrize("contract", BREACHES)
def test_a_breach_is_noticed(breached: str, contract: str) -> None:
    assert contract in _broken(breached), breached
