"""What must run where torch is not installed does: the API, the ledger, the keeper, the client, the worker's parent.

The import linter draws no edge from a module to the `__init__` of its package, so this is tried for real: one process,
in which every attempt to import torch fails and is written down.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

WHOLE = ("api", "softreg", "softreg_core.data.formats", "softreg_core.spec", "softreg_jobs", "worker")
"""Packages of which every module is free of torch, until it runs."""
SINGLE = (
    "migrations",
    "softreg_core",
    "softreg_core.curves",
    "softreg_core.data.parse",
    "softreg_core.data.prepare",
    "softreg_core.data.read",
    "softreg_core.data.report",
    "softreg_core.data.splits",
    "softreg_core.data.target",
    "softreg_core.data.table",
    "softreg_core.errors",
    "softreg_core.evaluate.document",
    "softreg_core.lifeline",
)

_PROBE = """
import importlib, json, sys

attempts = []

class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            attempts.append(name)
            raise ModuleNotFoundError("torch is not installed here", name=name)
        return None

sys.meta_path.insert(0, NoTorch())
found = {}
for name in json.load(sys.stdin):
    attempts.clear()
    try:
        importlib.import_module(name)
        problem = "tries to import torch" if attempts else None
    except Exception as error:
        problem = repr(error)
    found[name] = problem
json.dump(found, sys.stdout)
"""


def _modules(root: Path) -> list[str]:
    names = list(SINGLE)
    for package in WHOLE:
        directory = root / package.replace(".", "/")
        for path in sorted(directory.rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            if parts[-1] != "__main__":  # importing it would run it
                names.append(".".join(parts).removesuffix(".__init__"))
    return names


MODULES = _modules(Path(__file__).parents[2])


@pytest.fixture(scope="module")
def problems(root: Path) -> dict[str, str | None]:
    """For every module what is wrong with it, or None."""
    # Nothing connects while it is imported.
    environment = os.environ | {
        "SOFTREG_DATABASE_URL": "postgresql://127.0.0.1:1/none",
        "SOFTREG_REDIS_URL": "redis://127.0.0.1:1/0",
        "SOFTREG_DEVICE": "cpu",  # a worker that is to find a GPU looks whether torch is there
    }
    outcome = subprocess.run(
        [sys.executable, "-c", _PROBE],
        cwd=root,
        env=environment,
        input=json.dumps(MODULES),
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(json.loads(outcome.stdout))


def test_the_walk_finds_the_entries_of_every_process() -> None:
    entries = {
        "api.main",
        "softreg.cli",
        "softreg_jobs.keeper",
        "softreg_jobs.store",
        "softreg_core.spec",
        "worker.app",
    }
    assert entries <= set(MODULES)


@pytest.mark.parametrize("module", MODULES)
def test_it_is_imported_without_torch(problems: dict[str, str | None], module: str) -> None:
    assert problems[module] is None


def test_the_probe_notices_torch(root: Path) -> None:
    outcome = subprocess.run(
        [sys.executable, "-c", _PROBE],
        cwd=root,
        input=json.dumps(["softreg_core.losses.registry", "softreg_core.errors"]),
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(outcome.stdout)
    assert "torch is not installed here" in found["softreg_core.losses.registry"]
    assert found["softreg_core.errors"] is None


def test_the_api_starts_without_numpy(root: Path) -> None:
    program = "import sys, api.main; print({'numpy', 'pyarrow', 'PIL', 'sklearn'} & set(sys.modules))"
    outcome = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    assert outcome.stdout.strip() == "set()"
