"""What the command line says when the environment makes no sense, and what it does not import."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

COMMANDS = [
    ("softreg", "api"),
    ("softreg", "keeper"),
    ("softreg", "worker"),
    ("softreg", "migrate"),
    ("softreg", "up", "--home", "HOME"),
    ("softreg", "up", "--detach", "--home", "HOME"),
    ("softreg", "keys", "create", "--home", "HOME"),
    ("softreg_jobs.health", "keeper"),
    ("worker",),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_says_it_in_one_line(command: tuple[str, ...], place: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SOFTREG_")}
    environment |= {"SOFTREG_DATABASE_URL": "postgresql://h/d", "SOFTREG_REDIS_URL": "redis://h"}
    environment |= {"SOFTREG_BEAT_SECONDS": "never"}
    arguments = [str(place / "home") if word == "HOME" else word for word in command]
    result = subprocess.run(
        [sys.executable, "-P", "-m", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=environment,
    )
    assert result.returncode == 1
    assert result.stderr.startswith("Error: SOFTREG_BEAT_SECONDS: ")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("device", ["gpu7", "cuda:99"])
def test_a_device_that_cannot_be_is_refused_and_the_option_stands_over_the_variable(device: str) -> None:
    environment = {**os.environ, "SOFTREG_DATABASE_URL": "postgresql://h/d", "SOFTREG_REDIS_URL": "redis://h"}
    result = subprocess.run(
        [sys.executable, "-P", "-m", "softreg", "worker", "--device", device],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**environment, "SOFTREG_DEVICE": "cpu"},
    )
    assert result.returncode == 1
    assert result.stderr.startswith("Error: SOFTREG_DEVICE: ")
    assert result.stderr.count("\n") == 1


def test_help_imports_no_server_and_no_torch() -> None:
    program = (
        "import sys; from typer.testing import CliRunner; from softreg.cli import app\n"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0\n"
        "print(sorted({'torch', 'sqlalchemy', 'celery', 'fastapi', 'psycopg', 'httpx'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"
